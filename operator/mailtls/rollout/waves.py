"""Waves and reloads: how far a workload is, which of its pods may be acted on now, and what becomes of them.

Of each workload the canary comes first: so many pods, which have to prove the certificate before others are touched.
Then at most `maxUnavailable` pods are in flight at once: acted on, and not proven yet. All of it follows from what can
be seen of the pods, so an operator that begins in the middle knows as much as the one before it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from mailtls.api.workload import UpdateStrategy
from mailtls.kube.workload import PodState, WorkloadState
from mailtls.reasons.reason import Finding, Reason
from mailtls.rollout.permission import held_back, needy_first
from mailtls.rollout.steps import Action, Held, RestartWorkload, RolloutFailed, RollStep, WaitForPods, never_ran
from mailtls.rollout.view import SETTLING_PAUSE, View, started_on_placeholder
from mailtls.verification.evidence import PASSING, Flaw


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


def commands_cannot_run(view: View) -> RollStep | None:
    """Give up on a pod whose exec channel fails, whose server does not come up, or whose file is old, in the end."""
    for state in view.states:
        for pod in state.living_pods:
            put_off = view.progress.put_off.get(pod.uid)
            if put_off is None or not (view.pod_flaws(state, pod) or not state.workload.ports):
                continue
            if view.now >= put_off.since + view.progress.timeout:
                never_did = put_off.finding.reason is Reason.EXEC_UNAVAILABLE
                return RolloutFailed(never_ran(put_off, view.progress.timeout) if never_did else put_off.finding)
            if not state.workload.ports and view.now >= put_off.again_at:
                return view.reload(state, pod)  # its annotation says already that it was reloaded
    return None


def reloaded_pod_is_unverified(view: View) -> RollStep | None:
    """See pods that were reloaded through to their evidence; another is begun meanwhile where the wave has room."""
    found = [(state, tuple(_in_flight_steps(view, state))) for state in view.states]
    others = (step for _, steps in found for step in steps if not isinstance(step, WaitForPods))
    if (other := next(others, None)) is not None:
        return other
    for state, steps in found:
        if waits := [each for each in steps if isinstance(each, WaitForPods)]:
            step = pod_is_stale(view, state)
            is_next = isinstance(step, Action) and held_back(view, step) is None
            return None if is_next else min(waits, key=lambda each: each.until)
    return None


def _in_flight_steps(view: View, state: WorkloadState) -> Iterator[RollStep]:
    if state.workload.update_strategy is not UpdateStrategy.RELOAD:
        return
    for pod in reloading(view, state):
        if view.is_put_off(pod):
            put_off = view.progress.put_off[pod.uid]
            yield WaitForPods(put_off.finding, put_off.again_at)
        else:
            yield _see_through(view, state, view.pod_flaws(state, pod)[0])


def _see_through(view: View, state: WorkloadState, flaw: Flaw) -> RollStep:
    if view.is_settling(state, flaw.pod):
        return view.wait_settling(state, flaw)
    if view.was_reloaded_in_vain(state, flaw.pod) and view.may_restart(state):
        return _restart_if_allowed(view, state)
    if flaw.finding.reason in PASSING:
        return view.wait_or_fail(flaw.finding, flaw.pod.uid)
    if flaw.is_curable:
        return _reload_again_or_fail(view, state, flaw)
    return RolloutFailed(flaw.finding)


def _reload_again_or_fail(view: View, state: WorkloadState, flaw: Flaw) -> RollStep:
    restart = None
    if started_on_placeholder(view.progress, flaw.pod) and view.may_restart(state):
        restart = _restart_if_allowed(view, state)
    if isinstance(restart, Held):
        return restart  # and no reload: each time that this is decided anew, there would be another one
    if view.progress.retry and flaw.pod.uid not in view.progress.acted_at:
        return view.reload(state, flaw.pod)
    if restart is not None:
        return restart
    if is_canary(view, state, flaw.pod):
        others = [pod for pod in reloading(view, state) if pod.uid != flaw.pod.uid]
        return RolloutFailed(canary_failed(flaw, others))
    return RolloutFailed(flaw.finding)


def _restart_if_allowed(view: View, state: WorkloadState) -> RollStep:
    """Restart for the sake of a pod that was reloaded; the others are begun by it, so that it may have to wait."""
    restart = RestartWorkload(state.workload)
    return held_back(view, restart) or restart


def is_canary(view: View, state: WorkloadState, pod: PodState) -> bool:
    """Whether no other pod of the workload has proven the certificate yet."""
    others = (other for other in state.living_pods if other.uid != pod.uid)
    return all(view.pod_flaws(state, other) for other in others)


def canary_failed(flaw: Flaw, others: Sequence[PodState] = ()) -> Finding:
    """Say what the first pod serves though it was reloaded; `others` are in flight as well."""
    beside = f" besides {', '.join(pod.name for pod in others)}" if others else ""
    message = f"{failure_in(flaw)} No other pod of its workload was touched{beside}."
    return Finding(Reason.CANARY_FAILED, message)


def failure_in(flaw: Flaw) -> str:
    """Say what a pod serves though it was reloaded."""
    where = f"port {flaw.port}" if flaw.port is not None else "it"
    said = f"{flaw.finding.message}{_copy_hint(flaw.pod)}"
    return f"{flaw.server or f'Pod {flaw.pod.name}'} was reloaded, but {where} fails with {flaw.finding.reason}: {said}"


def _copy_hint(pod: PodState) -> str:
    if not pod.copier:
        return ""
    return (
        f" Init container {pod.copier} reads the Secret too: if the server uses a copy that it makes, set "
        "updateStrategy: Restart."
    )


def pod_is_stale(view: View, state: WorkloadState) -> RollStep | None:
    """Reload a pod that a reload may repair, where the wave has room; those in flight are seen through elsewhere."""
    in_flight = reloading(view, state)
    if not wave(view, state, len(in_flight)).room:
        return None
    begun = {pod.uid for pod in in_flight}
    others = spread((pod for pod in state.living_pods if pod.uid not in begun), in_flight)
    for pod in needy_first(view, state, others):
        found = view.pod_flaws(state, pod)
        if found and view.is_stuck(state, pod):
            return _wake(view, state, found[0])
        if not found or not found[0].is_curable:
            continue
        if found[0].finding.reason is not Reason.SERVING_OLD_CERTIFICATE and view.is_settling(state, pod):
            return view.wait(found[0].finding, SETTLING_PAUSE)
        return view.reload(state, pod)
    return None


def _wake(view: View, state: WorkloadState, flaw: Flaw) -> RollStep:
    """Act on a pod that none of its workload is ready besides: where no server runs, no command can reload it."""
    if view.is_starting(flaw.pod):
        return view.wait(flaw.finding, SETTLING_PAUSE)
    if flaw.pod.is_running or not view.may_restart(state):
        return view.reload(state, flaw.pod)
    return RestartWorkload(state.workload)
