"""Evictions that a budget refuses for a while, and the only place that an installation has for rollouts."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from e2e.served import served_fingerprint
from testbed.mailserver import PORTS, MailServer
from testbed.sandbox import MAIL_SERVER_TLS, PATIENCE, condition_of

if TYPE_CHECKING:
    from e2e.installation import Installation
    from testbed.api import Object

pytestmark = pytest.mark.cluster

ONE_AT_A_TIME = {"MAILTLS_MAX_CONCURRENT_ROLLOUTS": "1"}
MIN_READY = 8
OTHER, OTHER_SECRET = "other", "other-tls"
BUDGETS, STATEFUL_SETS = "poddisruptionbudgets.policy", "statefulsets.apps"


def test_evictions_wait_for_their_budget_and_keep_the_only_place_until_they_are_done_or_deleted(
    installation: Installation,
) -> None:
    """The budget is named and no pod goes; once it allows, all come back one by one, and then the other rolls out."""
    sandbox = installation.sandbox
    installation.more = ONE_AT_A_TIME
    postfix = MailServer(sandbox, installation.zone.host("mx"), replicas=2, keeps=True).deploy()
    sandbox.patch(STATEFUL_SETS, postfix.name, {"spec": {"minReadySeconds": MIN_READY}})
    other = deploy_other(installation)
    set_budget(installation, postfix, minAvailable=2)
    before = uids(postfix)
    installation.start()
    installation.apply(workloads=[{"kind": postfix.kind, "name": postfix.name, "updateStrategy": "Evict"}])
    assert "postfix-budget" in rolled_out(installation, "mx", "EvictionBlocked")
    apply_other(installation, other)
    assert "rollout.maxConcurrent of the installation allows (1)" in rolled_out(installation, OTHER, "RolloutQueued")
    await_reconciled(installation, "mx")
    assert "postfix-budget" in rolled_out(installation, "mx", "EvictionBlocked")
    await_reconciled(installation, OTHER)
    rolled_out(installation, OTHER, "RolloutQueued")
    assert uids(postfix) == before

    set_budget(installation, postfix, maxUnavailable=1)
    rolled_out(installation, "mx", "RolledOut")
    rolled_out(installation, OTHER, "RolledOut")
    assert set(uids(postfix).values()).isdisjoint(before.values())
    assert served(installation, postfix) == {installation.fingerprint()}
    assert served(installation, other) == {installation.fingerprint(OTHER_SECRET)}
    first, second = sorted(pod["metadata"]["creationTimestamp"] for pod in postfix.pods())
    assert seconds(second) - seconds(first) >= MIN_READY

    set_budget(installation, postfix, minAvailable=2)
    installation.renew("with the budget")
    rolled_out(installation, "mx", "EvictionBlocked")
    installation.renew("behind it", OTHER)
    rolled_out(installation, OTHER, "RolloutQueued")
    installation.delete()
    rolled_out(installation, OTHER, "RolledOut")
    assert served(installation, other) == {installation.fingerprint(OTHER_SECRET)}


def test_place_of_a_resource_that_waits_for_a_person_is_free_once_its_operator_is_killed(
    installation: Installation,
) -> None:
    """The next operator lets the other one roll out, and the first still says what the person has to do."""
    installation.more = ONE_AT_A_TIME
    postfix = MailServer(installation.sandbox, installation.zone.host("mx"), sub_path=True, replicas=1).deploy()
    on_delete = {"type": "OnDelete", "rollingUpdate": None}
    installation.sandbox.patch(STATEFUL_SETS, postfix.name, {"spec": {"updateStrategy": on_delete}})
    other = deploy_other(installation)
    installation.start()
    installation.apply(workloads=[{"kind": postfix.kind, "name": postfix.name, "updateStrategy": "Restart"}])
    rolled_out(installation, "mx", "RollingOut", "yourself")
    apply_other(installation, other)
    rolled_out(installation, OTHER, "RolloutQueued")
    installation.replica().kill()
    installation.start()
    rolled_out(installation, OTHER, "RolledOut")
    assert served(installation, other) == {installation.fingerprint(OTHER_SECRET)}
    rolled_out(installation, "mx", "RollingOut", "yourself")


def set_budget(installation: Installation, server: MailServer, **allowed: int) -> None:
    """Give the pods of a server a PodDisruptionBudget, and wait until its controller has counted them."""
    name = f"{server.name}-budget"
    spec: dict[str, Any] = {"selector": {"matchLabels": {"app": server.name}}, **allowed}
    installation.sandbox.delete(BUDGETS, name)
    installation.sandbox.apply(
        {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name}, "spec": spec}
    )

    def is_counted(seen: Object | None) -> bool:
        status = (seen or {}).get("status", {})
        wanted = int("maxUnavailable" in allowed)
        return bool((status.get("expectedPods"), status.get("disruptionsAllowed")) == (server.replicas, wanted))

    installation.sandbox.wait_for(BUDGETS, name, is_counted)


def deploy_other(installation: Installation) -> MailServer:
    """Give what has to wait a pod that needs its turn.

    Without a sub path Postfix reads the renewed file by itself once the kubelet has written it, which may be at once.
    """
    host = installation.zone.host(OTHER)
    return MailServer(installation.sandbox, host, name=OTHER, secret=OTHER_SECRET, sub_path=True, replicas=1).deploy()


def apply_other(installation: Installation, other: MailServer) -> None:
    """Apply the resource that has to wait."""
    workloads = [{"kind": other.kind, "name": other.name, "updateStrategy": "Restart"}]
    installation.apply(OTHER, name=OTHER, secret=OTHER_SECRET, workloads=workloads)


def rolled_out(installation: Installation, name: str, reason: str, words: str = "", *, within: float = PATIENCE) -> str:
    """Wait until the rollout has ended, or stands still, for this reason; gives the message."""

    def stands(seen: Object | None) -> bool:
        found = condition_of(seen, "RolledOut")
        return found is not None and found["reason"] == reason and words in found["message"]

    found = condition_of(installation.sandbox.wait_for(MAIL_SERVER_TLS, name, stands, within=within), "RolledOut")
    assert found is not None
    return str(found["message"])


def await_reconciled(installation: Installation, name: str) -> None:
    """Wait until a probe that is requested now was made."""
    installation.sandbox.annotate(MAIL_SERVER_TLS, name, mailtls_dev__probe="now")

    def is_done(seen: Object | None) -> bool:
        return bool((seen or {}).get("status", {}).get("lastHandledProbe") == "now")

    installation.sandbox.wait_for(MAIL_SERVER_TLS, name, is_done)


def uids(server: MailServer) -> dict[str, str]:
    """The uid of each pod, by its name."""
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in server.pods()}


def served(installation: Installation, server: MailServer) -> set[str]:
    """What all ports of all pods serve."""
    return {
        served_fingerprint(address, port, server.host, installation.pebble.root())
        for address in server.addresses().values()
        for port in PORTS.values()
    }


def seconds(written: str) -> float:
    """A time of the API server."""
    return datetime.fromisoformat(written).timestamp()
