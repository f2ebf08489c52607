"""How pods are replaced by others: evicted one by one, or by Argo, whose Rollouts have pods of their own.

Eviction has a pod replaced only where the PodDisruptionBudgets of its namespace allow it. A Rollout is not asked by its
pod template, which may begin a canary of many steps, but by `spec.restartAt`, as `kubectl argo rollouts restart` does:
its controller then replaces, one by one, each pod that was made before that time.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from mailtls.api.reading.document import Json
from mailtls.api.workload import WorkloadKind
from mailtls.kube.connection import BUDGET
from mailtls.kube.interface import ApiError, Cluster, Conflict, Unreachable, forbidden, printable, refused_by_rule
from mailtls.kube.workload import PodState, WorkloadState, children, time_of
from mailtls.reasons.reason import Finding, Reason

TEMPLATE_HASH: Final = "rollouts-pod-template-hash"


def with_referenced_template(cluster: Cluster, namespace: str, rollout: Json) -> Json | None:
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


def rollout_restart(now: datetime) -> Json:
    """Write the patch that has all present pods replaced."""
    return {"spec": {"restartAt": _written(now)}}


def judged_rollout(state: WorkloadState, body: Json, pods: list[Json]) -> WorkloadState:
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


def rollout_owns(rollout: Json, pod: Json, owner: Json) -> bool:
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


_SEVERAL_BUDGETS: Final = "more than one PodDisruptionBudget"  # answered by 500, as if the API server were broken
_BROKEN_BUDGET: Final = ("pdb disruptions allowed is negative", "DisruptedPods map too big")


def evict_pod(cluster: Cluster, namespace: str, pod: PodState) -> Finding | None:
    """Evict this very pod, and not one that has its name by now; its owner makes it anew.

    A budget that does not allow it is `EvictionBlocked`, by its name. Raises what the `Cluster` raises otherwise.
    """
    body: dict[str, Any] = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod.name, "namespace": namespace},
        "deleteOptions": {"preconditions": {"uid": pod.uid}},
    }
    try:
        cluster.create(f"/api/v1/namespaces/{namespace}/pods/{pod.name}/eviction", body)
    except Conflict:
        return None  # the pod that has the name by now is another one
    except Unreachable as failure:
        if _SEVERAL_BUDGETS not in str(failure):
            raise
        return _blocked(pod, "More than one PodDisruptionBudget selects the pod, so Kubernetes evicts it never.")
    except ApiError as error:
        return _refused(error, namespace, pod)
    return None


def _refused(error: ApiError, namespace: str, pod: PodState) -> Finding | None:
    if error.is_missing:
        return None
    if error.reason == BUDGET or any(words in error.message for words in _BROKEN_BUDGET):
        return _blocked(pod, printable(error.message))
    found = refused_by_rule(error)
    if found is None:
        raise error
    if found.reason is not Reason.FORBIDDEN:
        return found
    allowed = forbidden("create pods/eviction", namespace)
    return replace(allowed, message=f"{allowed.message} Or delete pod {pod.name} yourself.")


def _blocked(pod: PodState, why: str) -> Finding:
    said = why if why.endswith(".") else f"{why}."
    return Finding(Reason.EVICTION_BLOCKED, f"Pod {pod.name} cannot be evicted: {said}")
