"""Rollouts of Argo: whose pods they are, what has been restarted, and Deployments that only lend their template."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from builders import kube
from builders.rolling import NEW, NOW, OLD, SMTP, evidence, progress
from builders.rolling import seen as probed
from fakes.cluster import FakeCluster
from mailtls.api.reading.document import Json
from mailtls.api.workload import Daemon, UpdateStrategy, Workload, WorkloadKind
from mailtls.kube.workload import WorkloadState
from mailtls.kube.workloads import observe, restart_workload
from mailtls.probe.target import Endpoint
from mailtls.reasons.reason import Reason
from mailtls.rollout.policy import next_roll
from mailtls.rollout.steps import RestartWorkload, RolledOut, RolloutFailed, WaitForPods

PLACE = "/apis/argoproj.io/v1alpha1/namespaces/mail/rollouts/postfix"
DEPLOYMENT = "/apis/apps/v1/namespaces/mail/deployments/postfix"
ROLLOUT = Workload(WorkloadKind.ROLLOUT, "postfix", UpdateStrategy.RESTART, (Daemon("postfix", (SMTP,)),))
LABELS = {"app": "postfix", "rollouts-pod-template-hash": "5d4f"}
MARK = "mailtls.dev/restarted-for.mx-tls"


def rollout(**changes: Any) -> Json:
    """Make a Rollout with a template of its own, whose pod is available."""
    body = kube.workload(replicas=1, **changes)
    body["metadata"]["annotations"] = {}
    return body | {"status": {"observedGeneration": "3", "availableReplicas": 1}}


def pods(made: str = "2026-05-01T11:00:00Z", owner: str = "postfix-5d4f") -> dict[str, Json]:
    """Make one pod of the Rollout's ReplicaSet, and one of another's."""
    mine = kube.pod("mine", owner=("ReplicaSet", owner, "u"), labels=LABELS, creationTimestamp=made)
    other = kube.pod("other", owner=("ReplicaSet", "relay-5d4f", "u"), labels=LABELS, creationTimestamp=made)
    return {f"/api/v1/namespaces/mail/pods/{each['metadata']['name']}": each for each in (mine, other)}


def one_serves(sha256: str) -> list[Endpoint]:
    """Make the verdict on the pod's only port."""
    return [probed("mine", SMTP, sha256)]


def seen(cluster: FakeCluster, of: Workload = ROLLOUT) -> WorkloadState:
    """Observe it."""
    return observe(cluster, "mail", of, "mx-tls")


def test_rollout_is_restarted_by_its_own_field_and_awaited_until_its_controller_is_done() -> None:
    """One patch, no new revision; pods that were made later have the certificate, and older ones are awaited."""
    cluster = FakeCluster({PLACE: rollout(), **pods()})
    before = seen(cluster)
    assert ([each.name for each in before.pods], before.rolled, before.finding) == (["mine"], True, None)
    stale = evidence(one_serves(OLD))
    assert isinstance(next_roll([before], stale, NEW, progress(), NOW), RestartWorkload)
    assert restart_workload(cluster, "mail", before, NEW, "mx-tls", now=NOW.replace(microsecond=7)) is None
    patch = {"metadata": {"uid": before.uid, "annotations": {MARK: NEW}}, "spec": {"restartAt": "2026-05-01T12:00:01Z"}}
    assert cluster.requests[-1] == ("merge", PLACE, patch)
    begun = progress().after(RestartWorkload(ROLLOUT), None, NOW)
    under_way = seen(cluster)
    assert (under_way.template_sha256, under_way.pods[0].template_sha256, under_way.rolled) == (NEW, None, False)
    assert isinstance(next_roll([under_way], stale, NEW, begun, NOW), WaitForPods)
    cluster.objects |= pods("2026-05-01T12:00:01Z")
    cluster.objects[PLACE]["status"]["restartedAt"] = "2026-05-01T12:00:01Z"
    done = seen(cluster)
    assert (done.pods[0].template_sha256, done.rolled) == (NEW, True)
    assert next_roll([done], evidence(one_serves(NEW)), NEW, begun, NOW) == RolledOut()


def test_rollout_whose_restart_is_taken_back_is_asked_once() -> None:
    """Its annotation stays."""
    body = rollout()
    body["metadata"]["annotations"] = {MARK: NEW}
    state = seen(FakeCluster({PLACE: body, **pods()}))
    found = next_roll([state], evidence(one_serves(OLD)), NEW, progress(), NOW)
    assert isinstance(found, RolloutFailed)
    assert found.finding.reason is Reason.TEMPLATE_REVERTED


@pytest.mark.parametrize(
    "status",
    [
        {"observedGeneration": "2", "availableReplicas": 1},
        {"observedGeneration": "3", "availableReplicas": 0},
        {"observedGeneration": "3", "availableReplicas": 1, "restartedAt": "2026-05-01T11:00:00Z"},
        {},
    ],
)
def test_rollout_is_not_done_before_its_controller_says_so(status: Json) -> None:
    """Of this generation, with all pods available, and none left to restart."""
    assert not seen(FakeCluster({PLACE: rollout() | {"status": status}})).rolled


def test_template_may_be_a_deployments() -> None:
    """Then it is judged there, and the Deployment itself says who makes the pods."""
    lent = kube.workload(replicas=0)
    body = rollout(workloadRef={"apiVersion": "apps/v1", "kind": "Deployment", "name": "postfix"})
    del body["spec"]["template"], body["spec"]["selector"]
    cluster = FakeCluster({PLACE: body, DEPLOYMENT: lent, **pods()})
    assert (seen(cluster).finding, [each.name for each in seen(cluster).pods]) == (None, ["mine"])
    named = seen(cluster, replace(ROLLOUT, kind=WorkloadKind.DEPLOYMENT))
    assert named.finding is not None
    assert (named.finding.reason, "kind: Rollout" in named.finding.message) == (Reason.NO_PODS, True)
    assert isinstance(next_roll([named], {}, NEW, progress(), NOW), RolloutFailed)
    lent["spec"]["template"]["spec"] = {"containers": [{"name": "postfix"}]}
    unmounted = seen(FakeCluster({PLACE: body, DEPLOYMENT: lent})).finding
    assert unmounted is not None
    assert unmounted.reason is Reason.SECRET_NOT_MOUNTED


def test_rollout_and_its_template_may_be_gone() -> None:
    """Neither is an error of ours."""
    gone = seen(FakeCluster()).finding
    body = rollout(workloadRef={"kind": "Deployment", "name": "postfix"})
    del body["spec"]["template"], body["spec"]["selector"]
    lost = seen(FakeCluster({PLACE: body}))
    assert gone is not None
    assert (gone.reason, "Rollout/postfix" in gone.message) == (Reason.WORKLOAD_NOT_FOUND, True)
    assert (lost.finding.reason if lost.finding else None) is Reason.WORKLOAD_NOT_FOUND


def test_time_of_a_restart_is_a_whole_second_to_come() -> None:
    """A pod of this very second may have been made before the certificate was stored."""
    cluster = FakeCluster({PLACE: rollout()})
    late = datetime(2026, 5, 1, 11, 59, 59, 999_999, tzinfo=UTC)
    restart_workload(cluster, "mail", seen(cluster), NEW, "mx-tls", now=late)
    assert cluster.objects[PLACE]["spec"]["restartAt"] == "2026-05-01T12:00:00Z"
