"""What `mailtls check-installation` says of an operator, part by part."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner

from fakes.cluster import FakeCluster
from mailtls.api.installation import Feature, Features
from mailtls.api.reading.document import Json
from mailtls.api.resource import API
from mailtls.cli.app import app
from mailtls.cli.check_installation import installation_lines
from mailtls.cli.results import Line, Verdict
from mailtls.kube.interface import ApiError, Unreachable
from mailtls.kube.rights import Right
from mailtls.settings import Settings

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KNOWN = {API: {"resources": [{"name": "mailservertls"}, {"name": "mailservertls/status"}]}}
LEASE = "/apis/coordination.k8s.io/v1/namespaces/mailtls/leases/mailtls"
OURS = Settings(namespace="mailtls", identity="test", http01_service="mailtls-http01")


def lease(age: timedelta) -> Json:
    """A Lease that was renewed so long ago."""
    times = {"renewTime": (NOW - age).isoformat(), "leaseDurationSeconds": 15}
    return {"metadata": {"name": "mailtls"}, "spec": {"holderIdentity": "mailtls-0", **times}}


class Reviewing(FakeCluster):
    """Answers access reviews: all is granted but `denied` (in its namespace); the API server keeps no reviews."""

    def __init__(self, denied: set[tuple[str, Right]] | None = None, objects: dict[str, Json] | None = None) -> None:
        super().__init__({**KNOWN, LEASE: lease(timedelta(seconds=2)), **(objects or {})})
        self.denied, self.reviewed = denied or set(), set[tuple[str, Right]]()

    def create(self, path: str, body: Json) -> Json:
        """Answer a review."""
        if "create" in self.refuse:
            raise self.refuse["create"]
        assert path == "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        asked: dict[str, Any] = body["spec"]["resourceAttributes"]
        names = [asked["resource"], *([asked["subresource"]] if "subresource" in asked else [])]
        right = (asked["namespace"], Right(asked["group"], "/".join(names), asked["verb"]))
        self.reviewed.add(right)
        return {"status": {"allowed": right not in self.denied}}


def said(cluster: FakeCluster, settings: Settings = OURS, metrics: str | None = None) -> dict[str, Line]:
    """The lines by topic."""
    return {line.topic: line for line in installation_lines(cluster, settings, metrics, NOW)}


def test_whole_installation_is_well() -> None:
    """Every part is looked at; rights in all namespaces and in the operator's own."""
    cluster = Reviewing()
    lines = said(cluster)
    assert {topic: line.verdict for topic, line in lines.items()} == dict.fromkeys(
        ("CRD", "rights", "leader"), Verdict.OK
    )
    assert ("", Right("", "pods/exec", "create")) in cluster.reviewed
    assert ("mailtls", Right("discovery.k8s.io", "endpointslices", "patch")) in cluster.reviewed


@pytest.mark.parametrize(
    ("denied", "words"),
    [
        (("", Right("", "pods/exec", "create")), "create pods/exec"),
        (("mailtls", Right("coordination.k8s.io", "leases", "update")), "update leases in mailtls"),
    ],
)
def test_missing_right_is_named_with_its_namespace(denied: tuple[str, Right], words: str) -> None:
    """Whoever reads it can grant just that."""
    line = said(Reviewing({denied}))["rights"]
    assert line.verdict is Verdict.FAIL
    assert words in line.message


def test_rights_of_watched_namespaces_alone_are_needed() -> None:
    """And none that a feature which is off would need."""
    cluster = Reviewing({("", Right("", "secrets", "get")), ("mail", Right("", "pods/exec", "create"))})
    off = Features(frozenset({Feature.EXEC}))
    few = Settings("mailtls", "test", watch_namespaces=("mail", "lists"), disabled_features=off)
    assert said(cluster, few)["rights"].verdict is Verdict.OK
    assert {namespace for namespace, _ in cluster.reviewed} == {"mail", "lists", "mailtls"}


@pytest.mark.parametrize(
    ("there", "verdict", "words"),
    [
        ({"spec": {"holderIdentity": ""}}, Verdict.FAIL, "No replica leads"),
        (lease(timedelta(hours=1)), Verdict.WARN, "mailtls-0 led last, 3600 seconds ago"),
    ],
)
def test_leader_that_is_gone_is_said(there: Json, verdict: Verdict, words: str) -> None:
    """A Lease outlives the replica that held it."""
    line = said(Reviewing(objects={LEASE: {"metadata": {"name": "mailtls"}, **there}}))["leader"]
    assert line.verdict is verdict
    assert words in line.message


def test_missing_definition_is_said_with_what_installs_it() -> None:
    """The commonest fault of a GitOps installation."""
    line = said(Reviewing(objects={API: {"resources": []}}))["CRD"]
    assert line.verdict is Verdict.FAIL
    assert "crds.enabled" in line.message


@pytest.mark.parametrize("failure", [Unreachable("no answer"), ApiError(403, "Forbidden", "you may not")])
def test_part_that_cannot_be_seen_keeps_no_other_from_being_looked_at(failure: Exception) -> None:
    """Each is said to be unknown, and why."""
    cluster = Reviewing()
    cluster.refuse = {"get": failure, "create": failure}
    assert {line.verdict for line in said(cluster).values()} == {Verdict.UNKNOWN}


def test_metrics_that_nobody_serves_are_said() -> None:
    """Where they were to be looked at."""
    line = said(Reviewing(), metrics="127.0.0.1:9")["metrics"]
    assert line.verdict is Verdict.FAIL
    assert "http://127.0.0.1:9/metrics does not answer" in line.message


def test_who_runs_it_elsewhere_is_led_to_helm_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a laptop the operator's settings are missing, and to set them all there is not what is meant."""
    monkeypatch.setenv("MAILTLS_LOG_LEVEL", "loud")
    done = CliRunner().invoke(app, ["check-installation"])
    assert done.exit_code == 2
    assert done.stderr.endswith(
        "This command runs in the operator's pod: use `helm test mailtls --namespace mailtls --logs`.\n"
    )
