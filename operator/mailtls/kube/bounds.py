"""Bounds: how many endpoints of one resource are probed, so that none takes the time and the memory of the others.

A resource beyond the bound is not verified in part: no pod of it is kept, probed or reloaded, as its conditions say.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from mailtls.api.reading.document import Json
from mailtls.api.workload import Workload
from mailtls.kube.workload import WorkloadState
from mailtls.reasons.reason import Finding, Reason

MOST_ENDPOINTS: Final = 1000
"""Ports at addresses of pods, of one resource: 125 pods with four ports each, at two addresses."""


def with_bound(workloads: Sequence[Workload], states: Sequence[WorkloadState]) -> tuple[WorkloadState, ...]:
    """Return the states as they are, or all workloads with the finding in place of their pods."""
    found = excess(states)
    return tuple(states) if found is None else tuple(_without_pods(each, found) for each in workloads)


def excess(states: Iterable[WorkloadState]) -> Finding | None:
    """Say that workloads have more endpoints than are probed; None where they have not."""
    states = tuple(states)
    refused = (each.finding for each in states if each.finding and each.finding.reason is Reason.TOO_MANY_ENDPOINTS)
    return next(refused, None) or _judged(" and ".join(str(each.workload) for each in states), _count(states))


def bound_of_one(workload: Workload, body: Json) -> WorkloadState | None:
    """Judge a workload by the number of its pods that its status has, before these are read; None: read them."""
    status = body.get("status") or {}
    pods = int(status.get("replicas") or status.get("currentNumberScheduled") or 0)
    found = _judged(str(workload), pods * _ports(workload))
    return None if found is None else _without_pods(workload, found)


def _count(states: Iterable[WorkloadState]) -> int:
    pods = ((state.workload, pod) for state in states for pod in state.living_pods)
    return sum(_ports(workload) * max(1, len(pod.addresses)) for workload, pod in pods)


def _ports(workload: Workload) -> int:
    """Count them; a pod without a port takes its place too."""
    return max(1, len(workload.ports))


def _judged(who: str, endpoints: int) -> Finding | None:
    if endpoints <= MOST_ENDPOINTS:
        return None
    message = (
        f"The pods of {who} have {endpoints} endpoints, which are their ports at each of their addresses. At most "
        f"{MOST_ENDPOINTS} of one resource are probed, so no pod of this one is probed or reloaded; the certificate is "
        "issued and renewed as before. List fewer ports in spec.workloads, or divide the workloads among several "
        "resources."
    )
    return Finding(Reason.TOO_MANY_ENDPOINTS, message)


def _without_pods(workload: Workload, found: Finding) -> WorkloadState:
    return WorkloadState(workload, found, rolled=False)
