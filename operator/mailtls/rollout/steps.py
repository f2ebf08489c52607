"""The steps of a rollout and what one attempt at it remembers."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from mailtls.api.spec import ONE, Amount
from mailtls.api.workload import Daemon, Workload
from mailtls.kube.workload import PodState, Reader
from mailtls.net.backoff import EVICTION, EXEC, LATE_FILE, Backoff
from mailtls.reasons.reason import Finding, Reason

BACKOFFS: Mapping[Reason, Backoff] = {
    Reason.FILE_NOT_UPDATED: LATE_FILE,
    Reason.EXEC_UNAVAILABLE: EXEC,
    Reason.POD_NOT_READY: EXEC,
    Reason.EVICTION_BLOCKED: EVICTION,
}
"""Of what others have to end before a step can be taken."""


@dataclass(frozen=True, slots=True)
class ReloadPod:
    """Have the daemons of one pod load the certificate, then probe it.

    `only` are the places in `workload.daemons` of those that need it; None: all do.
    """

    workload: Workload
    pod: PodState
    only: frozenset[int] | None = None

    @property
    def due(self) -> tuple[tuple[Daemon, Reader], ...]:
        """The daemons to reload, in order, each with its place in the pod."""
        every = zip(self.workload.daemons, self.pod.readers, strict=True)
        return tuple(each for place, each in enumerate(every) if self.only is None or place in self.only)

    @property
    def subject(self) -> str:
        """What `RollProgress` files the outcome under: a pod that was replaced starts with a clean sheet."""
        return self.pod.uid


@dataclass(frozen=True, slots=True)
class RestartWorkload:
    """Have the workload's own controller replace its pods, by its own rules."""

    workload: Workload

    @property
    def subject(self) -> str:
        """What `RollProgress` files the outcome under."""
        return str(self.workload)


@dataclass(frozen=True, slots=True)
class ReplacePod:
    """Delete one pod that its controller should replace and does not, so that it is made anew."""

    workload: Workload
    pod: PodState

    @property
    def subject(self) -> str:
        """What `RollProgress` files the outcome under."""
        return self.pod.uid


@dataclass(frozen=True, slots=True)
class EvictPod:
    """Have one pod replaced, where PodDisruptionBudgets allow it."""

    workload: Workload
    pod: PodState

    @property
    def subject(self) -> str:
        """What `RollProgress` files the outcome under: what a budget says of one pod, it says of all of a workload."""
        return str(self.workload)


Action = ReloadPod | RestartWorkload | ReplacePod | EvictPod
"""The steps that change something."""


@dataclass(frozen=True, slots=True)
class WaitForPods:
    """Nothing to do until `until`, when pods are read again; `finding` says what is awaited."""

    finding: Finding
    until: datetime


@dataclass(frozen=True, slots=True)
class Held:
    """Nothing may be begun before `until`, or before a person decides; `finding` says what is waited for."""

    finding: Finding
    until: datetime | None


@dataclass(frozen=True, slots=True)
class RolloutFailed:
    """The rollout stops here, and pods that were not touched yet stay as they are."""

    finding: Finding


@dataclass(frozen=True, slots=True)
class RolledOut:
    """Every port of every pod proves the certificate; `notes` are warnings worth reporting."""

    notes: tuple[Finding, ...] = ()


RollStep = Action | WaitForPods | Held | RolloutFailed | RolledOut


@dataclass(frozen=True, slots=True)
class PutOff:
    """A step that could not be taken yet: no command can be run in the pod, its server is not up, or its file is old.

    `again_at` is its next try.

    `since` is when it failed first; `tries` counts since then.
    """

    finding: Finding
    since: datetime
    tries: int
    again_at: datetime


def never_ran(put_off: PutOff, timeout: timedelta) -> Finding:
    """Say what has kept a step from being taken until its time was over."""
    minutes = timeout / timedelta(minutes=1)
    message = f"Tried {put_off.tries} times within {minutes:g} minutes, spec.rollout.timeout. {put_off.finding.message}"
    return Finding(Reason.ROLLOUT_TIMEOUT, message)


@dataclass(frozen=True, slots=True)
class RollProgress:
    """What one attempt at bringing one certificate out remembers; a new attempt starts with a new one.

    Losing it costs nothing but patience: annotations say which pods were reloaded, and what is served is probed again.
    `retry` allows this attempt to reload pods again that an earlier one reloaded in vain. `timeout` bounds each wait
    for pods.
    `acted_at`, `faults` and `put_off` are keyed by a step's `subject`. `stored_at` is when the certificate came into
    its Secret, None where the history does not say; `certified_at` is that time, or else when the certificate was
    issued, which is the same in each attempt. `secret_made_at` is when the Secret itself came to be,
    None where every pod has proven a certificate of it before. `canary` and
    `max_unavailable` are the plan of the spec. `reverted` are workloads whose restart for this certificate
    somebody undid in an earlier attempt.
    """

    started_at: datetime
    timeout: timedelta
    retry: bool = False
    acted_at: Mapping[str, datetime] = field(default_factory=dict)
    faults: Mapping[str, Finding] = field(default_factory=dict)
    put_off: Mapping[str, PutOff] = field(default_factory=dict)
    stored_at: datetime | None = None
    certified_at: datetime | None = None
    secret_made_at: datetime | None = None
    canary: Amount = ONE
    max_unavailable: Amount = ONE
    reverted: frozenset[str] = frozenset()

    def after(self, step: Action, fault: Finding | None, now: datetime) -> "RollProgress":
        """Record that `step` was performed at `now`, and what went wrong with it."""
        if fault is not None and self._is_passing(step, fault, now):
            return self._putting_off(step, fault, now)
        faults = {subject: found for subject, found in self.faults.items() if subject != step.subject}
        if fault is not None:
            faults[step.subject] = fault
        put_off = {subject: found for subject, found in self.put_off.items() if subject != step.subject}
        return replace(self, acted_at={**self.acted_at, step.subject: now}, faults=faults, put_off=put_off)

    def is_awaited(self, subject: str) -> bool:
        """Whether a file is awaited that was not there at an earlier try: its kubelet has been woken then."""
        before = self.put_off.get(subject)
        return before is not None and before.finding.reason is Reason.FILE_NOT_UPDATED

    def _is_passing(self, step: Action, fault: Finding, now: datetime) -> bool:
        if fault.reason is Reason.FILE_NOT_UPDATED:
            before = self.put_off.get(step.subject)
            return now < (before.since if before else now) + self.timeout
        return fault.reason in BACKOFFS

    def _putting_off(self, step: Action, fault: Finding, now: datetime) -> "RollProgress":
        before = self.put_off.get(step.subject)
        since, tries = (before.since, before.tries + 1) if before else (now, 1)
        put_off = PutOff(fault, since, tries, now + BACKOFFS[fault.reason].after(tries))
        return replace(self, put_off={**self.put_off, step.subject: put_off})

    def deadline(self, subject: str) -> datetime:
        """When waiting for `subject` ends: a full time-out after this attempt acted on it, or began."""
        return self.acted_at.get(subject, self.started_at) + self.timeout
