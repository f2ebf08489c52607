"""Eviction: has a pod replaced only where the PodDisruptionBudgets of its namespace allow it."""

from dataclasses import replace
from typing import Any, Final

from mailtls.kube.connection import BUDGET
from mailtls.kube.interface import ApiError, Cluster, Conflict, Unreachable, printable, refused_by_rule
from mailtls.kube.workload import PodState
from mailtls.kube.workloads import forbidden
from mailtls.reasons.reason import Finding, Reason

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
