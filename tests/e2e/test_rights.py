"""The operator with the chart's own roles on the real cluster: features that are off, and verbs that are taken away."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from e2e.limited import ACCOUNT, limit
from testbed.mailserver import MailServer
from testbed.sandbox import MAIL_SERVER_TLS, PATIENCE, condition_of

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.installation import Installation

pytestmark = pytest.mark.cluster

ROLES = "roles.rbac.authorization.k8s.io"


def apply(installation: Installation, **workload: Any) -> None:
    """Ask for all that needs rights: pods told in some way, and a probe by a Service."""
    told = {"kind": "StatefulSet", "name": "postfix", **workload}
    installation.apply(workloads=[told], probe={"from": ["Pods", "Service"]})


def condition(installation: Installation, kind: str, reason: str) -> str:
    """Wait until a condition is False for this reason; gives its message."""
    seen = installation.sandbox.wait_for_condition(MAIL_SERVER_TLS, "mx", kind, status="False", reason=reason)
    found = condition_of(seen, kind)
    assert found is not None
    return str(found["message"])


@pytest.mark.parametrize(
    ("off", "workload"),
    [(("exec", "services"), {"preset": "postfix"}), (("restarts",), {"updateStrategy": "Restart"})],
    ids=["exec and services", "restarts"],
)
def test_feature_that_is_off_is_told_by_name_and_nothing_forbidden_is_tried(
    installation: Installation, tmp_path: Path, off: tuple[str, ...], workload: dict[str, str]
) -> None:
    """The certificate is issued, the resource says what it does not get, and why; the workload is left as it is."""
    MailServer(installation.sandbox, installation.zone.host("mx")).deploy()
    limit(installation, tmp_path, *(f"features.{each}=false" for each in off))
    operator = installation.start()
    apply(installation, **workload)
    assert f"features.{off[0]} is false" in condition(installation, "RolledOut", "FeatureDisabled")
    assert condition_of(installation.get(), "Issued")["status"] == "True"  # type: ignore[index]
    template = installation.sandbox.get("statefulsets.apps", "postfix")["spec"]["template"]["metadata"]
    assert "annotations" not in template
    for each in off[1:]:
        installation.sandbox.delete("statefulsets.apps", "postfix")  # what reads the Secret at its start has it now
        MailServer(installation.sandbox, installation.zone.host("mx")).deploy()
        assert f"features.{each} is false" in condition(installation, "Verified", "FeatureDisabled")
    assert "orbidden" not in operator.text()


@dataclass(frozen=True, slots=True)
class Taken:
    """A verb, and by what its lack is told: in the resource's status, or in the operator's log."""

    resource: str
    verb: str
    told: str


TAKEN = (
    # first: the same reason makes a few Events in an hour
    Taken("events", "create", 'cannot create resource "events"'),
    Taken("secrets", "get", 'cannot get resource "secrets"'),
    Taken("secrets", "patch", 'cannot patch resource "secrets"'),
    Taken("pods", "list", "may not list pods"),
    Taken("pods", "patch", "may not patch pods"),
    Taken("pods/exec", "get", "may not get and create pods/exec"),
    Taken("services", "list", "may not list services"),
    Taken("statefulsets", "get", "may not get statefulsets"),
    Taken("mailservertls", "get", 'cannot get resource "mailservertls"'),
    Taken("mailservertls/status", "patch", 'cannot patch resource "mailservertls/status"'),
)
AT_THE_START = (
    Taken("mailservertls", "list", "RBAC forbids the operator to list mailservertls"),
    Taken("secrets", "list", "RBAC forbids the operator to list secrets"),
    Taken("statefulsets", "list", "RBAC forbids the operator to list statefulsets"),
    Taken("mailservertls", "watch", 'cannot watch resource "mailservertls"'),
    Taken("secrets", "watch", 'cannot watch resource "secrets"'),
    Taken("statefulsets", "watch", 'cannot watch resource "statefulsets"'),
)


def without(role: dict[str, Any], taken: Taken) -> list[dict[str, Any]]:
    """The rules of a role without one verb on one resource."""
    rules = []
    for rule in role["rules"]:
        others = [each for each in rule["resources"] if each != taken.resource]
        if others:
            rules.append(rule | {"resources": others})
        if taken.resource in rule["resources"]:
            left = [verb for verb in rule["verbs"] if verb != taken.verb]
            if left:
                rules.append(rule | {"resources": [taken.resource], "verbs": left})
    return rules


def take(installation: Installation, taken: Taken) -> list[dict[str, Any]]:
    """Take a verb away; gives the roles as they were. The operator's own namespace is the one that it serves."""
    whole = [installation.sandbox.get(ROLES, name) for name in (ACCOUNT, f"{ACCOUNT}-operator")]
    for role in whole:
        installation.sandbox.patch(ROLES, role["metadata"]["name"], {"rules": without(role, taken)})
    await_allowed(installation, taken, allowed=False)
    return whole


def give_back(installation: Installation, taken: Taken, whole: list[dict[str, Any]]) -> None:
    """Make the roles what they were."""
    for role in whole:
        installation.sandbox.patch(ROLES, role["metadata"]["name"], {"rules": role["rules"]})
    await_allowed(installation, taken, allowed=True)


def await_allowed(installation: Installation, taken: Taken, *, allowed: bool) -> None:
    """Wait until the API server goes by the roles."""
    sandbox = installation.sandbox
    resource, _, subresource = taken.resource.partition("/")
    group = {"mailservertls": "mailtls.dev", "statefulsets": "apps"}.get(resource, "")
    asked = {"namespace": sandbox.name, "group": group, "resource": resource, "verb": taken.verb}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": f"system:serviceaccount:{sandbox.name}:{ACCOUNT}",
            "resourceAttributes": asked | ({"subresource": subresource} if subresource else {}),
        },
    }
    deadline = time.monotonic() + PATIENCE
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    while sandbox.api.request("POST", path, body=review)["status"]["allowed"] is not allowed:
        assert time.monotonic() < deadline, taken
        time.sleep(0.1)


def await_told(installation: Installation, taken: Taken, since: int) -> None:
    """Wait until the resource or the operator's log says which verb is missing."""
    deadline = time.monotonic() + PATIENCE
    while True:
        status = json.dumps(installation.get().get("status", {}), ensure_ascii=False).replace('\\"', '"')
        log = installation.replica().text()[since:].replace('\\"', '"')
        if taken.told in status or taken.told in log:
            return
        assert time.monotonic() < deadline, f"nobody says {taken.told!r}: {status}\n{log[-3000:]}"
        time.sleep(0.2)


def test_each_verb_that_is_taken_away_is_named(installation: Installation, tmp_path: Path) -> None:
    """One after the other, each given back afterwards: the resource is Ready again, without a restart."""
    MailServer(installation.sandbox, installation.zone.host("mx")).deploy()
    limit(installation, tmp_path)
    operator = installation.start()
    apply(installation, preset="postfix")
    installation.await_ready()
    for number, taken in enumerate(TAKEN):
        since = len(operator.text())
        whole = take(installation, taken)
        installation.renew(f"{number}-without")
        await_told(installation, taken, since)
        give_back(installation, taken, whole)
        installation.renew(f"{number}-with")
        installation.await_renewed(f"{number}-with")


def test_eviction_that_is_taken_away_is_named_with_what_else_can_be_done(
    installation: Installation, tmp_path: Path
) -> None:
    """No pod goes; with the right given back all pods are made anew, without a restart of the operator."""
    server = MailServer(installation.sandbox, installation.zone.host("mx"), replicas=1).deploy()
    before = server.pods()[0]["metadata"]["uid"]
    limit(installation, tmp_path)
    taken = Taken("pods/eviction", "create", "may not create pods/eviction")
    whole = take(installation, taken)
    installation.start()
    apply(installation, updateStrategy="Evict")
    said = condition(installation, "RolledOut", "Forbidden")
    assert taken.told in said
    assert said.endswith("Or delete pod postfix-0 yourself.")
    assert server.pods()[0]["metadata"]["uid"] == before
    give_back(installation, taken, whole)
    installation.renew("with the right")
    installation.await_renewed("with the right")
    assert server.pods()[0]["metadata"]["uid"] != before


@pytest.mark.parametrize("taken", AT_THE_START, ids=lambda each: f"{each.verb} {each.resource}")
def test_verb_that_is_missing_at_the_start_is_named_in_the_log(
    installation: Installation, tmp_path: Path, taken: Taken
) -> None:
    """Nothing can be told in a resource that is not heard of."""
    limit(installation, tmp_path)
    take(installation, taken)
    operator = installation.start()
    deadline = time.monotonic() + PATIENCE
    while taken.told not in operator.text().replace('\\"', '"'):
        assert time.monotonic() < deadline, operator.text()
        time.sleep(0.2)
