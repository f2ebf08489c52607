"""Bring the certificate into the pods: one after the other, each proven before the next is touched.

The first pod of a workload is its canary. What was done stands in annotations and what is served is probed, so the
next step follows from what can be seen: an operator that dies anywhere goes on where it was.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from mailtls.lifecycle.proof import PASSING, Evidence, Flaw, clients_refuse, flaws
from mailtls.model.probe.endpoint import Endpoint
from mailtls.model.reason import Finding, Reason, Severity
from mailtls.model.roll import (
    PutOff,
    ReloadPod,
    RestartWorkload,
    RolledOut,
    RolloutFailed,
    RollProgress,
    RollStep,
    WaitForPods,
)
from mailtls.model.spec import Apply
from mailtls.model.workload import PodState, WorkloadState

SETTLING_PAUSE = timedelta(seconds=0.5)
"""Between looks at a server that was just told or has just started."""

WAITING_PAUSE = timedelta(seconds=2)
"""Between looks at pods that take their time: starting, or replaced by their controller."""


@dataclass(frozen=True, slots=True)
class View:
    """All that a check may look at."""

    states: tuple[WorkloadState, ...]
    evidence: Evidence
    wanted_sha256: str
    progress: RollProgress
    now: datetime

    def flaws(self, state: WorkloadState) -> Iterator[Flaw]:
        """Name what keeps the pods of `state` from proving the certificate, pod by pod."""
        for pod in state.living_pods:
            yield from flaws(state, pod, self.evidence, self.wanted_sha256)

    def pod_flaws(self, state: WorkloadState, pod: PodState) -> tuple[Flaw, ...]:
        """Name what keeps one pod from proving the certificate, what a reload may mend first."""
        found = flaws(state, pod, self.evidence, self.wanted_sha256)
        return tuple(sorted(found, key=lambda flaw: not flaw.is_curable))

    def is_settling(self, pod: PodState) -> bool:
        """Whether the pod was told, or became ready, so recently that its server may still be on its way."""
        moments = (self.progress.acted_at.get(pod.uid), pod.ready_at)
        return any(
            moment is not None and timedelta(0) <= self.now - moment < self.progress.settle for moment in moments
        )

    def was_told(self, pod: PodState) -> bool:
        """Whether the pod was told to load this very certificate, by this attempt or an earlier one."""
        return pod.told_sha256 == self.wanted_sha256 or pod.uid in self.progress.acted_at

    def is_stuck(self, state: WorkloadState, pod: PodState) -> bool:
        """Whether the pod may be NotReady for what it read: none of its workload is ready, and it started before.

        Its probe tells nothing then, and waiting for it to become ready first would last for ever.
        """
        if pod.started_at is None or any(other.ready for other in state.living_pods):
            return False
        return pod.started_at < (self.progress.stored_at or self.progress.started_at) and not self.was_told(pod)

    def is_starting(self, pod: PodState) -> bool:
        """Whether the pod's process started so recently that it may still become ready by itself."""
        return pod.started_at is not None and timedelta(0) <= self.now - pod.started_at < self.progress.settle

    def wait(self, finding: Finding, pause: timedelta) -> WaitForPods:
        """Look again after `pause`."""
        return WaitForPods(finding, self.now + pause)

    def wait_or_fail(self, finding: Finding, subject: str) -> RollStep:
        """Look again until the time-out for `subject` has passed."""
        if self.now >= self.progress.deadline(subject):
            return RolloutFailed(finding)
        return self.wait(finding, WAITING_PAUSE)


def next_roll(
    states: Sequence[WorkloadState],
    evidence: Mapping[tuple[str, int], Endpoint],
    wanted_sha256: str,
    progress: RollProgress,
    now: datetime,
) -> RollStep:
    """Return the one step to take now; `states` are in the order of the spec, `evidence` comes from `gather`."""
    view = View(tuple(states), evidence, wanted_sha256, progress, now)
    steps = (check(view) for check in CHECKS)
    return next((step for step in steps if step is not None), RolledOut(notes(view)))


def workload_is_unusable(view: View) -> RollStep | None:
    """Refuse before any pod is touched what cannot work; a sub-path mount only matters once pods are stale."""
    for state in view.states:
        if state.finding is None:
            continue
        if state.finding.reason is not Reason.SUB_PATH_MOUNT or any(view.flaws(state)):
            return RolloutFailed(state.finding)
    return None


def action_failed(view: View) -> RollStep | None:
    """Stop at a step of this attempt that went wrong, unless the evidence says that all is well."""
    for state in view.states:
        subjects = [str(state.workload)] if any(view.flaws(state)) else []
        subjects += [pod.uid for pod in state.living_pods if view.pod_flaws(state, pod) or not state.workload.ports]
        for subject in subjects:
            if subject in view.progress.faults:
                return RolloutFailed(view.progress.faults[subject])
    return None


def commands_cannot_run(view: View) -> RollStep | None:
    """Leave a pod alone whose exec channel fails until its next try, and give up after the time-out."""
    for state in view.states:
        for pod in state.living_pods:
            put_off = view.progress.put_off.get(pod.uid)
            if put_off is None or not (view.pod_flaws(state, pod) or not state.workload.ports):
                continue
            if view.now >= put_off.since + view.progress.timeout:
                return RolloutFailed(_never_ran(put_off, view.progress.timeout))
            if view.now < put_off.again_at:
                return WaitForPods(put_off.finding, put_off.again_at)
    return None


def _never_ran(put_off: PutOff, timeout: timedelta) -> Finding:
    minutes = timeout / timedelta(minutes=1)
    message = f"Tried {put_off.tries} times within {minutes:g} minutes, spec.rollout.timeout. {put_off.finding.message}"
    return Finding(Reason.ROLLOUT_TIMEOUT, message)


def told_pod_is_unproven(view: View) -> RollStep | None:
    """See a pod that was told through to its proof before another one is touched."""
    for state in view.states:
        if state.workload.apply is not Apply.RELOAD:
            continue
        for pod in filter(view.was_told, state.living_pods):
            if found := view.pod_flaws(state, pod):
                return _see_through(view, state, found[0])
    return None


def _see_through(view: View, state: WorkloadState, flaw: Flaw) -> RollStep:
    if view.is_settling(flaw.pod):
        return view.wait(flaw.finding, SETTLING_PAUSE)
    if flaw.finding.reason in PASSING:
        return view.wait_or_fail(flaw.finding, flaw.pod.uid)
    if flaw.is_curable and view.progress.retry and flaw.pod.uid not in view.progress.acted_at:
        return ReloadPod(state.workload, flaw.pod)
    if flaw.is_curable and is_canary(view, state, flaw.pod):
        return RolloutFailed(canary_failed(flaw))
    return RolloutFailed(flaw.finding)


def is_canary(view: View, state: WorkloadState, pod: PodState) -> bool:
    """Whether no other pod of the workload has proven the certificate yet."""
    others = (other for other in state.living_pods if other.uid != pod.uid)
    return all(view.pod_flaws(state, other) for other in others)


def canary_failed(flaw: Flaw) -> Finding:
    """Say what the first pod serves in spite of having been told."""
    where = f"port {flaw.port}" if flaw.port is not None else "it"
    message = (
        f"Pod {flaw.pod.name} was told to load the certificate, but {where} fails with {flaw.finding.reason}: "
        f"{flaw.finding.message} No other pod of its workload was touched."
    )
    return Finding(Reason.CANARY_FAILED, message)


def restart_is_under_way(view: View) -> RollStep | None:
    """Let a workload's controller finish, then demand the proof: patching the template again changes nothing."""
    for state in view.states:
        if state.workload.apply is Apply.ROLLOUT and was_restarted(view, state):
            if not state.rolled:
                return _await_controller(view, state)
            if flaw := next(view.flaws(state), None):
                return _judge_restarted(view, state, flaw)
    return None


def was_restarted(view: View, state: WorkloadState) -> bool:
    """Whether the template already carries this certificate."""
    return state.template_sha256 == view.wanted_sha256


def _await_controller(view: View, state: WorkloadState) -> RollStep:
    subject = str(state.workload)
    if state.by_hand:
        message = f"{state.workload} does not replace its pods by itself: {state.by_hand}"
        return view.wait(Finding(Reason.ROLLING_OUT, message), WAITING_PAUSE)
    if view.now < view.progress.deadline(subject):
        message = f"{state.workload} is replacing its pods."
        return view.wait(Finding(Reason.ROLLING_OUT, message), WAITING_PAUSE)
    minutes = view.progress.timeout / timedelta(minutes=1)
    message = (
        f"{state.workload} has not replaced its pods within {minutes:g} minutes; see its events, "
        "its update strategy and its pods, or raise spec.rollout.timeout."
    )
    return RolloutFailed(Finding(Reason.ROLLOUT_TIMEOUT, message))


def _judge_restarted(view: View, state: WorkloadState, flaw: Flaw) -> RollStep:
    if view.is_settling(flaw.pod):
        return view.wait(flaw.finding, SETTLING_PAUSE)
    if flaw.finding.reason in PASSING:
        return view.wait_or_fail(flaw.finding, str(state.workload))
    return RolloutFailed(flaw.finding)


def certificate_is_refused(view: View) -> RollStep | None:
    """Keep the old certificate in the other pods when clients turn the new one down."""
    for (pod, port), endpoint in sorted(view.evidence.items()):
        if endpoint.failure is not None and clients_refuse(endpoint, view.wanted_sha256):
            message = (
                f"Port {port} of pod {pod} serves the new certificate, but clients refuse it with "
                f"{endpoint.failure.reason}: {endpoint.failure.message} The other pods keep the old one."
            )
            return RolloutFailed(Finding(Reason.CANARY_FAILED, message))
    return None


def workload_is_stale(view: View) -> RollStep | None:
    """Tell the next pod, or restart the next workload, in the order of the spec."""
    actions = {Apply.RELOAD: pod_is_stale, Apply.ROLLOUT: pods_predate_certificate}
    for state in view.states:
        action = actions.get(state.workload.apply)
        if action is not None and (step := action(view, state)) is not None:
            return certificate_is_refused(view) or step
    return None


def pod_is_stale(view: View, state: WorkloadState) -> RollStep | None:
    """Reload the first pod that shows something a reload may mend; told pods are proven, or were seen through."""
    for pod in state.living_pods:
        found = view.pod_flaws(state, pod)
        if found and view.is_stuck(state, pod):
            return (
                view.wait(found[0].finding, SETTLING_PAUSE) if view.is_starting(pod) else ReloadPod(state.workload, pod)
            )
        if not found or not found[0].is_curable:
            continue
        if found[0].finding.reason is not Reason.SERVING_OLD_CERTIFICATE and view.is_settling(pod):
            return view.wait(found[0].finding, SETTLING_PAUSE)
        return ReloadPod(state.workload, pod)
    return None


def pods_predate_certificate(view: View, state: WorkloadState) -> RollStep | None:
    """Restart a workload that has a stale pod, once per attempt even if somebody takes the annotation away."""
    if str(state.workload) in view.progress.acted_at:
        return None
    if any(flaw.is_curable for flaw in view.flaws(state)):
        return RestartWorkload(state.workload)
    stuck = [flaw for flaw in view.flaws(state) if view.is_stuck(state, flaw.pod)]
    if stuck and any(view.is_starting(flaw.pod) for flaw in stuck):
        return view.wait(stuck[0].finding, SETTLING_PAUSE)
    return RestartWorkload(state.workload) if stuck else None


def pod_is_unproven(view: View) -> RollStep | None:
    """Wait for pods that nothing can be done about but to wait: not ready, refusing connections, `apply: None`."""
    for state in view.states:
        if flaw := next(view.flaws(state), None):
            pause = SETTLING_PAUSE if flaw.finding.reason is Reason.PROBING else WAITING_PAUSE
            waited = view.wait_or_fail(flaw.finding, flaw.pod.uid)
            return replace(waited, until=view.now + pause) if isinstance(waited, WaitForPods) else waited
    return None


def pods_are_missing(view: View) -> RollStep | None:
    """Wait for pods that should exist and do not."""
    for state in view.states:
        if len(state.living_pods) < state.replicas_wanted:
            message = (
                f"{state.workload} has {len(state.living_pods)} of {state.replicas_wanted} pods; see its events "
                "for why the others are not created."
            )
            return view.wait_or_fail(Finding(Reason.POD_NOT_READY, message), str(state.workload))
    return None


def notes(view: View) -> tuple[Finding, ...]:
    """Warn of what will bite at the next certificate, and of workloads that have no pod to prove it."""
    found = [state.finding for state in view.states if state.finding is not None]
    empty = [state for state in view.states if not state.living_pods]
    found += [Finding(Reason.NO_PODS, f"{state.workload} is scaled to zero.") for state in empty]
    return tuple(replace(finding, severity=Severity.WARN) for finding in found)


CHECKS: tuple[Callable[[View], RollStep | None], ...] = (
    workload_is_unusable,
    action_failed,
    commands_cannot_run,
    told_pod_is_unproven,
    restart_is_under_way,
    workload_is_stale,
    pod_is_unproven,
    pods_are_missing,
)
"""In this order; the first step named is taken. What is in flight comes before what may be begun."""
