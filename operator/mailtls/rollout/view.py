"""What the checks of a rollout look at: who was reloaded when, with what, and what is waited for."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from mailtls.api.spec import Rollout
from mailtls.api.workload import Workload
from mailtls.kube.workload import PodState, WorkloadState
from mailtls.net.backoff import POD, SETTLING, WATCHED_POD
from mailtls.reasons.reason import Finding, Reason
from mailtls.rollout.steps import Held, ReloadPod, RolloutFailed, RollProgress, RollStep, WaitForPods
from mailtls.times import format_second
from mailtls.verification.evidence import AWAITED, Evidence, Flaw, flaws, has_proved

SETTLING_PAUSE = timedelta(seconds=0.5)
"""Between probes of a server that was just reloaded or has just started."""
WATCHED = frozenset({Reason.POD_NOT_READY, Reason.ROLLING_OUT})
"""What the status of a workload shows as well, which wakes the resource at once."""
VOLUME_LAG = timedelta(minutes=2)
"""How long a kubelet may show an old file in a volume, if nothing wakes it: it looks every 60 to 90 seconds."""
READY_AFTER = timedelta(seconds=15)
"""How long a pod may take from its reload to ready: readiness probes are ten seconds apart by default."""
PLACEHOLDER_SHARE = 0.3
"""Of the settle time, for a server that may never read the file without a restart: too short costs that restart."""
STARTING = timedelta(seconds=10)
"""How long a process may take from its start to ready before it counts as stuck."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What people decided about when pods may be begun.

    `approved` is how the SHA-256 of an approved leaf begins. `is_put_back`: the certificate was rolled back to.
    `queued` says why it is not the resource's turn, where the installation limits how many roll out at once.
    """

    rollout: Rollout = field(default_factory=Rollout)
    is_paused: bool = False
    approved: str = ""
    is_put_back: bool = False
    queued: Held | None = None


@dataclass(frozen=True, slots=True)
class View:
    """All that a check may look at."""

    states: tuple[WorkloadState, ...]
    evidence: Evidence
    wanted_sha256: str
    progress: RollProgress
    now: datetime
    _found: dict[tuple[str, str], tuple[Flaw, ...]] = field(default_factory=dict, compare=False, repr=False)
    terms: Terms = field(default_factory=Terms)
    needy_first: bool = False  # whether pods at which clients are turned away are begun before the others

    def flaws(self, state: WorkloadState) -> Iterator[Flaw]:
        """Name what keeps the pods of `state` from proving the certificate, pod by pod."""
        for pod in state.living_pods:
            yield from self._flaws(state, pod)

    def pod_flaws(self, state: WorkloadState, pod: PodState) -> tuple[Flaw, ...]:
        """Name what keeps one pod from proving the certificate, what a reload may repair first."""
        return tuple(sorted(self._flaws(state, pod), key=lambda flaw: not flaw.is_curable))

    def _flaws(self, state: WorkloadState, pod: PodState) -> tuple[Flaw, ...]:
        which = (str(state.workload), pod.uid)
        if which not in self._found:  # several checks want to know
            self._found[which] = flaws(state, pod, self.evidence, self.wanted_sha256)
        return self._found[which]

    def reload(self, state: WorkloadState, pod: PodState) -> ReloadPod:
        """Reload the pod's daemons, but none whose ports all prove the certificate."""
        unproven = {flaw.port for flaw in self.pod_flaws(state, pod)}
        daemons = state.workload.daemons
        only = frozenset(
            place
            for place, daemon in enumerate(daemons)
            if not daemon.ports or None in unproven or not unproven.isdisjoint(port.port for port in daemon.ports)
        )
        return ReloadPod(state.workload, pod, only if 0 < len(only) < len(daemons) else None)

    def is_settling(self, state: WorkloadState, pod: PodState) -> bool:
        """Whether the pod was reloaded, or became ready, so recently that its server may still be on its way."""
        moments = (self.progress.acted_at.get(pod.uid), pod.ready_at)
        settle = settle_time(self.progress, state.workload, pod)
        return any(moment is not None and timedelta(0) <= self.now - moment < settle for moment in moments)

    def wait_settling(self, state: WorkloadState, flaw: Flaw) -> WaitForPods:
        """Wait for a server that was reloaded, or became ready, and may be on its way: ever longer.

        That it serves another certificate meanwhile is no fault yet, but how far the rollout is.
        """
        moments = (self.progress.acted_at.get(flaw.pod.uid), flaw.pod.ready_at)
        begun = max((moment for moment in moments if moment is not None), default=self.now)
        finding = flaw.finding
        if finding.reason in AWAITED:
            until = format_second(begun + settle_time(self.progress, state.workload, flaw.pod))
            finding = Finding(Reason.ROLLING_OUT, f"{finding.message} Its server has time until {until} (settleTime).")
        return self.wait(finding, SETTLING.after_failing_for(self.now - begun))

    def was_reloaded(self, pod: PodState) -> bool:
        """Whether the pod was reloaded with this very certificate, by this attempt or an earlier one."""
        return pod.reloaded_sha256 == self.wanted_sha256 or pod.uid in self.progress.acted_at

    def is_put_off(self, pod: PodState) -> bool:
        """Whether the pod is left alone until its next try, as no command can be run in it or its file is old."""
        put_off = self.progress.put_off.get(pod.uid)
        return put_off is not None and self.now < put_off.again_at

    def was_restarted(self, state: WorkloadState) -> bool:
        """Whether the pod template already names this certificate."""
        return state.template_sha256 == self.wanted_sha256

    def may_restart(self, state: WorkloadState) -> bool:
        """Whether no restart was asked for yet: only once, even if somebody takes the annotation away."""
        return not self.was_restarted(state) and not self.was_reverted(state)

    def was_reverted(self, state: WorkloadState) -> bool:
        """Whether a restart for this certificate was asked for, and somebody put the pod template back."""
        subject = str(state.workload)
        was_asked = state.restarted_sha256 == self.wanted_sha256 or subject in self.progress.acted_at
        return not self.was_restarted(state) and (was_asked or subject in self.progress.reverted)

    def is_of_older_template(self, pod: PodState) -> bool:
        """Whether the pod was made before the restart for this certificate was asked for."""
        return pod.template_sha256 != self.wanted_sha256

    def is_stuck(self, state: WorkloadState, pod: PodState) -> bool:
        """Whether the pod may be NotReady for what it read: it started before, and none is ready without the new one.

        Its probe shows nothing then, and waiting for it to become ready first would last for ever.
        """
        return not self.was_reloaded(pod) and self._waits_for_certificate(state, pod)

    def was_reloaded_in_vain(self, state: WorkloadState, pod: PodState) -> bool:
        """Whether a stuck pod had its reload and time to become ready by it; a restart takes nothing from anybody.

        One that its reload made NotReady is not meant: that may take its time, and end by itself.
        """
        acted_at = self.progress.acted_at.get(pod.uid)
        if pod.ready or acted_at is None or (pod.ready_at is not None and pod.ready_at > acted_at):
            return False
        return self.now >= acted_at + READY_AFTER and self._waits_for_certificate(state, pod)

    def proved_it_before(self, state: WorkloadState, pod: PodState) -> bool:
        """Whether a pod that shows no certificate now proved this one before, so that it lacks something else.

        Nobody asks one that is not ready; a port that was closed when it was probed may be open again by now.
        """
        known = [self.evidence.get((pod.name, port.port)) for port in state.workload.ports]
        return bool(known) and all(each and has_proved(each, self.wanted_sha256) for each in known)

    def _waits_for_certificate(self, state: WorkloadState, pod: PodState) -> bool:
        if self.proved_it_before(state, pod):
            return False
        if any(other.ready and self.pod_flaws(state, other) for other in state.living_pods):
            return False  # it is ready with an older certificate
        return may_have_started_before(pod, self.progress.stored_at or self.progress.started_at)

    def is_starting(self, pod: PodState) -> bool:
        """Whether the pod's process started so recently that it may still become ready by itself."""
        if pod.started_at is None or not pod.is_running:
            return False
        return timedelta(0) <= self.now - pod.started_at < STARTING

    def wait(self, finding: Finding, pause: timedelta) -> WaitForPods:
        """Wait for `pause`."""
        return WaitForPods(finding, self.now + pause)

    def wait_for(self, finding: Finding, subject: str) -> WaitForPods:
        """Wait for a pause that grows with the time for which `subject` is waited for."""
        waited = self.now - self.progress.acted_at.get(subject, self.progress.started_at)
        return self.wait(finding, (WATCHED_POD if finding.reason in WATCHED else POD).after_failing_for(waited))

    def wait_or_fail(self, finding: Finding, subject: str) -> RollStep:
        """Wait until the time-out for `subject` has passed."""
        deadline = self.progress.deadline(subject)
        if self.now >= deadline:
            return RolloutFailed(finding)
        return WaitForPods(finding, min(self.wait_for(finding, subject).until, deadline))


def may_have_started_before(pod: PodState, moment: datetime) -> bool:
    """Whether the pod's process may have read what a Secret held before `moment`.

    The volume of a pod that was made before shows the old file for a while, also to a container that is restarted in
    place. Times of the API server are whole seconds, so the same second may have been before.
    """
    if pod.started_at is None or (pod.made_at is not None and pod.made_at > moment):
        return False
    lag = VOLUME_LAG if pod.made_at is not None else timedelta(0)
    return pod.started_at < moment + lag


def started_on_placeholder(progress: RollProgress, pod: PodState) -> bool:
    """Whether the pod's process may have started before the Secret was there, on whatever it found instead."""
    return progress.secret_made_at is not None and may_have_started_before(pod, progress.secret_made_at)


def settle_time(progress: RollProgress, workload: Workload, pod: PodState) -> timedelta:
    """How long the pod's server may take from its reload, or from ready, to serving."""
    return workload.settle_time * (PLACEHOLDER_SHARE if started_on_placeholder(progress, pod) else 1)
