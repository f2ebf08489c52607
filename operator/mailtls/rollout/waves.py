"""Waves: how far a workload is, and how many of its pods may be acted on now, and which of them first.

Of each workload the canary comes first: so many pods, which have to prove the certificate before others are touched.
Then at most `maxUnavailable` pods are in flight at once: acted on, and not proven yet. All of it follows from what can
be seen of the pods, so an operator that begins in the middle knows as much as the one before it.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from mailtls.kube.workload import PodState, WorkloadState
from mailtls.rollout.view import View


@dataclass(frozen=True, slots=True)
class Wave:
    """How far one workload is; `canary` and `most` are numbers of pods, of `total`."""

    canary: int
    most: int
    proven: int
    in_flight: int
    total: int

    @property
    def room(self) -> int:
        """How many more pods may be acted on now."""
        left = self.most - self.in_flight
        if self.proven < self.canary:
            left = min(left, self.canary - self.proven - self.in_flight)
        return max(0, left)

    @property
    def number(self) -> int:
        """Which wave it is: 0 is the canary."""
        return 0 if self.proven < self.canary else 1 + (self.proven - self.canary) // self.most


def wave(view: View, state: WorkloadState, in_flight: int) -> Wave:
    """See how far a workload is of which so many pods are in flight."""
    living = state.living_pods
    total = max(len(living), state.replicas_wanted)
    proven = sum(not view.pod_flaws(state, pod) for pod in living)
    return Wave(
        canary=min(total, view.progress.canary.of(total)),
        most=view.progress.max_unavailable.of(total),
        proven=proven,
        in_flight=in_flight,
        total=total,
    )


def reloading(view: View, state: WorkloadState) -> tuple[PodState, ...]:
    """Return the pods that were reloaded, or have their kubelet woken, and do not prove the certificate yet."""
    return tuple(pod for pod in state.living_pods if _is_reloading(view, state, pod))


def _is_reloading(view: View, state: WorkloadState, pod: PodState) -> bool:
    has_flaws = bool(view.pod_flaws(state, pod))
    if view.was_restarted(state) and view.is_of_older_template(pod):
        return False  # it is being replaced
    return (has_flaws and view.was_reloaded(pod)) or (view.is_put_off(pod) and (has_flaws or not state.workload.ports))


def spread(pods: Iterable[PodState], in_flight: Iterable[PodState]) -> list[PodState]:
    """Put pods of nodes first that have the fewest in flight, so that a wave takes no node's pods all at once."""
    on_node = Counter(pod.node for pod in in_flight)
    return sorted(pods, key=lambda pod: on_node[pod.node])
