"""Rollouts of Argo: which pods are theirs, and how they are asked to replace them.

Not by the pod template, which may begin a canary of many steps, but by `spec.restartAt`, as `kubectl argo rollouts
restart` does: the controller then replaces, one by one, each pod that was made before that time.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from mailtls.api.reading.document import Json
from mailtls.api.workload import WorkloadKind
from mailtls.kube.interface import Cluster
from mailtls.kube.pods import children, time_of
from mailtls.kube.workload import PodState, WorkloadState
from mailtls.reasons.reason import Finding, Reason

TEMPLATE_HASH: Final = "rollouts-pod-template-hash"


def with_template(cluster: Cluster, namespace: str, rollout: Json) -> Json | None:
    """Return a Rollout with its pod template, which may stand in the Deployment that its `workloadRef` names.

    None where it stands nowhere that is known here.
    """
    own = {name: value for name, value in rollout["spec"].items() if value}
    reference = own.get("workloadRef") or {}
    if reference.get("kind") == "Deployment":
        found = cluster.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/{reference.get('name')}")
        lent = found["spec"] if found else {}
        own = {name: lent[name] for name in ("selector", "template") if name in lent} | own
    return {**rollout, "spec": own} if "selector" in own and "template" in own else None


def restart_patch(annotations: Mapping[str, str], now: datetime) -> Json:
    """Write the patch that has all present pods replaced, and says for which certificate."""
    return {"metadata": {"annotations": dict(annotations)}, "spec": {"restartAt": _written(now)}}


def judged(state: WorkloadState, body: Json, pods: list[Json]) -> WorkloadState:
    """Correct what was read as if Kubernetes' own controllers made the pods, where a Rollout of Argo makes them.

    Pods made after `restartAt` get the mark that a pod template would have given them.
    """
    if state.workload.kind is WorkloadKind.DEPLOYMENT and not state.pods:
        return replace(state, finding=made_by_a_rollout(str(state.workload), pods) or state.finding)
    if state.workload.kind is not WorkloadKind.ROLLOUT:
        return state
    restart_at = time_of(body["spec"].get("restartAt"))
    sha256 = state.restarted_sha256 if restart_at else None
    marked = (_marked(pod, restart_at, sha256) for pod in state.pods)
    return replace(state, template_sha256=sha256, pods=tuple(marked), by_hand="")


def _marked(pod: PodState, restart_at: datetime | None, sha256: str | None) -> PodState:
    is_fresh = restart_at is not None and pod.made_at is not None and pod.made_at >= restart_at
    return replace(pod, template_sha256=sha256 if is_fresh else None)


def owns(rollout: Json, pod: Json, owner: Json) -> bool:
    """Whether a Rollout made a pod: it names its ReplicaSets after itself and the hash of their template."""
    template_hash = (pod["metadata"].get("labels") or {}).get(TEMPLATE_HASH)
    return bool(owner["kind"] == "ReplicaSet" and owner["name"] == f"{rollout['metadata']['name']}-{template_hash}")


def made_by_a_rollout(subject: str, pods: list[Json]) -> Finding | None:
    """Say that the pods of a Deployment are made by a Rollout that only takes its template; None where none is."""
    marks = [pod for pod in pods if TEMPLATE_HASH in (pod["metadata"].get("labels") or {})]
    references = [each for pod in marks for each in children(pod, "metadata", "ownerReferences")]
    owners = [each["name"] for each in references if each.get("controller")]
    if not owners:
        return None
    message = (
        f"{subject} has no pods of its own: an Argo Rollout makes them (ReplicaSet {owners[0]}). Name the Rollout in "
        "spec.workloads instead, with kind: Rollout."
    )
    return Finding(Reason.NO_PODS, message)


def _written(now: datetime) -> str:
    """Write the next whole second: a pod that was made within this one may be older than the certificate."""
    return f"{(now.astimezone(UTC) + timedelta(seconds=1)):%Y-%m-%dT%H:%M:%SZ}"
