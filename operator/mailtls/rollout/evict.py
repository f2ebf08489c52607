"""Evict: have the pods of a workload replaced that are older than the certificate, by whoever made them.

What is missing, or made since and not proven, is in flight. A pod that is evicted is gone, and its place in the
workload is seen to be empty, so nothing has to be remembered of it.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from mailtls.api.workload import UpdateStrategy
from mailtls.kube.workload import PodState, WorkloadState
from mailtls.reasons.reason import Finding, Reason
from mailtls.rollout.permission import held_back, needy_first
from mailtls.rollout.steps import EvictPod, RolloutFailed, RollStep, WaitForPods, never_ran
from mailtls.rollout.view import SETTLING_PAUSE, View
from mailtls.rollout.waves import Wave, spread, wave
from mailtls.verification.evidence import PASSING, Flaw


def evicted_pods_are_unproven(view: View) -> RollStep | None:
    """See pods that were made anew through to their evidence; another goes meanwhile where the wave has room."""
    for state in filter(lambda each: is_evicting(view, each), view.states):
        steps = list(_see_through(view, state))
        failed = next((step for step in steps if not isinstance(step, WaitForPods)), None)
        if failed is not None:
            return failed
        step = pod_is_older(view, state)
        if steps and not (isinstance(step, EvictPod) and held_back(view, step) is None):
            return _earliest(steps)
    return None


def is_evicting(view: View, state: WorkloadState) -> bool:
    """Whether pods of the workload are being replaced."""
    if state.workload.update_strategy is not UpdateStrategy.EVICT:
        return False
    has_begun = str(state.workload) in view.progress.acted_at or any(_is_new(view, pod) for pod in state.living_pods)
    return has_begun and plan(view, state).in_flight > 0


def pod_is_older(view: View, state: WorkloadState) -> RollStep | None:
    """Evict a pod that is older than the certificate, those first that are not ready: nobody misses them."""
    older = _older(view, state)
    if not older:
        return None
    if not plan(view, state).room:
        return _earliest(list(_see_through(view, state)))
    if (blocked := _is_blocked(view, state)) is not None:
        return blocked
    unready = [pod for pod in older if not pod.ready]
    candidates = [pod for pod in unready if not _is_coming(view, pod)] if unready else _by_need(view, state)
    if not candidates:
        return view.wait_or_fail(view.pod_flaws(state, unready[0])[0].finding, str(state.workload))
    return EvictPod(state.workload, candidates[0])


def _by_need(view: View, state: WorkloadState) -> list[PodState]:
    return needy_first(view, state, spread(_older(view, state), _new(view, state)))


def _is_coming(view: View, pod: PodState) -> bool:
    """Whether the pod that is not ready may be about to read the certificate by itself: it starts, or never did."""
    return pod.started_at is None or view.is_starting(pod)


def plan(view: View, state: WorkloadState) -> Wave:
    """See how far the workload is."""
    return wave(view, state, len(_new(view, state)) + max(0, state.replicas_wanted - len(state.living_pods)))


def _earliest(steps: list[RollStep]) -> RollStep | None:
    waits = [step for step in steps if isinstance(step, WaitForPods)]
    return min(waits, key=lambda each: each.until) if len(waits) == len(steps) > 0 else next(iter(steps), None)


def _older(view: View, state: WorkloadState) -> list[PodState]:
    """Return the pods that are to be evicted; one that proved the certificate, and shows none now, gains nothing."""
    stale = (pod for pod in state.living_pods if view.pod_flaws(state, pod) and not _is_new(view, pod))
    return [pod for pod in stale if not view.proved_it_before(state, pod)]


def _is_new(view: View, pod: PodState) -> bool:
    """Whether the pod was made after the certificate was stored, so that making it anew would change nothing.

    Times of the API server are whole seconds: a pod of the same second may be older.
    """
    return pod.made_at is not None and pod.made_at > (view.progress.certified_at or view.progress.started_at)


def _new(view: View, state: WorkloadState) -> list[PodState]:
    """Return the pods that were made since and are not proven yet, or not available while others are to be evicted."""
    unproven = [pod for pod in state.living_pods if _is_new(view, pod) and view.pod_flaws(state, pod)]
    if not state.min_ready_seconds or not _older(view, state):
        return unproven
    return unproven + [pod for pod in state.living_pods if _available_at(view, state, pod) is not None]


def _available_at(view: View, state: WorkloadState, pod: PodState) -> datetime | None:
    """When a pod that proves the certificate counts as available, by `minReadySeconds`; None: it does already."""
    if pod.ready_at is None or view.pod_flaws(state, pod):
        return None
    available_at = pod.ready_at + timedelta(seconds=state.min_ready_seconds)
    return available_at if available_at > view.now else None


def _see_through(view: View, state: WorkloadState) -> Iterator[RollStep]:
    for pod in _new(view, state):
        if (available_at := _available_at(view, state, pod)) is not None:
            yield WaitForPods(_young(state, pod), available_at)
        else:
            yield _judge(view, state, view.pod_flaws(state, pod)[0])
    if len(state.living_pods) < state.replicas_wanted:
        yield view.wait_or_fail(_missing(state), str(state.workload))


def _judge(view: View, state: WorkloadState, flaw: Flaw) -> RollStep:
    if view.is_settling(state, flaw.pod):
        return view.wait_settling(state, flaw)
    if flaw.finding.reason is Reason.PROBING:
        return view.wait(flaw.finding, SETTLING_PAUSE)
    if flaw.finding.reason not in PASSING:
        return RolloutFailed(_failed(view, state, flaw))
    begun = view.progress.started_at
    deadline = max(flaw.pod.made_at or begun, begun) + view.progress.timeout
    if view.now >= deadline:
        return RolloutFailed(flaw.finding)
    return WaitForPods(flaw.finding, min(view.wait_for(flaw.finding, str(state.workload)).until, deadline))


def _failed(view: View, state: WorkloadState, flaw: Flaw) -> Finding:
    """Say what a pod serves though it was made after the certificate was stored."""
    if plan(view, state).proven:
        return flaw.finding
    message = (
        f"Pod {flaw.pod.name} was made after the certificate was stored, but fails with {flaw.finding.reason}: "
        f"{flaw.finding.message} No further pod of its workload is evicted."
    )
    return Finding(Reason.CANARY_FAILED, message)


def _missing(state: WorkloadState) -> Finding:
    message = (
        f"{state.workload} has {len(state.living_pods)} of {state.replicas_wanted} pods; see its events for why the "
        "others are not created."
    )
    return Finding(Reason.POD_NOT_READY, message)


def _young(state: WorkloadState, pod: PodState) -> Finding:
    message = (
        f"Pod {pod.name} counts as available {state.min_ready_seconds} seconds after it is ready: minReadySeconds."
    )
    return Finding(Reason.ROLLING_OUT, message)


def _is_blocked(view: View, state: WorkloadState) -> RollStep | None:
    """Wait for the PodDisruptionBudget that allowed no eviction; name it when the time is over."""
    put_off = view.progress.put_off.get(str(state.workload))
    if put_off is None:
        return None
    if view.now >= put_off.since + view.progress.timeout:
        return RolloutFailed(never_ran(put_off, view.progress.timeout))
    return WaitForPods(put_off.finding, put_off.again_at) if view.now < put_off.again_at else None
