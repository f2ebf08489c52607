"""The status of a resource: what decisions read of it again, and the whole of what is reported."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Self

from mailtls.pki.certificate import Certificate
from mailtls.probe.target import Endpoint
from mailtls.reasons.reason import Finding, Reason
from mailtls.reasons.recovery import RECOVERIES, Recovery


class ConditionType(StrEnum):
    """Conditions in the order of their stages; all up to Ready are present after the first reconcile.

    Ready sums up those before it. One of Reconciling and Stalled is present while it is not True, as kstatus wants
    them; neither ever says False. DomainHealthy is about the DNS, and present where `spec.domains` names any.
    """

    ISSUED = "Issued"
    STORED = "Stored"
    ROLLED_OUT = "RolledOut"
    VERIFIED = "Verified"
    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    DOMAIN_HEALTHY = "DomainHealthy"


OUTLOOK: Final = frozenset({ConditionType.RECONCILING, ConditionType.STALLED})
"""What becomes of a Ready that is not True; they say the same as it in other respects."""


class Truth(StrEnum):
    """Status of a condition, as Kubernetes spells it."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition; `transitioned_at` moves only when `status` flips.

    `warnings` are for the metrics: the status has them in `message` only.
    """

    type: ConditionType
    status: Truth
    reason: Reason
    message: str
    transitioned_at: datetime
    observed_generation: int
    warnings: tuple[Finding, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Attempts:
    """Memory of failed issuances, so that neither a restart nor a loop uses up the CA's rate limits.

    `next_attempt_at` None after a failure means that a person is needed: only a changed spec or the renew annotation
    starts again.
    """

    failed: int
    reason: Reason
    message: str
    last_failure_at: datetime
    next_attempt_at: datetime | None
    observed_generation: int
    observed_renew: str | None


@dataclass(frozen=True, slots=True)
class Schedule:
    """When the certificate with leaf `sha256` is renewed; the ARI window where the CA gave one (RFC 9773).

    `renewal_at` is drawn once and kept while it stays inside the window.
    """

    sha256: str
    renewal_at: datetime
    window_start: datetime | None = None
    window_end: datetime | None = None
    explanation_url: str | None = None


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One certificate or rollout of the past, for people."""

    at: datetime
    event: Reason
    message: str
    serial_number: str | None = None


@dataclass(frozen=True, slots=True)
class DomainReport:
    """What the last check of one mail domain found; findings that fail come first."""

    name: str
    checked_at: datetime
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class ServedCount:
    """How many endpoints serve the stored certificate, of how many that are probed; as a text `6/6`."""

    served: int
    total: int

    def __str__(self) -> str:
        return f"{self.served}/{self.total}"


@dataclass(frozen=True, slots=True)
class Stored:
    """What was stored last: in which Secret, by name and uid, and the SHA-256 of the leaf.

    It is in the status because whoever writes into the Secret can change what the Secret says of itself. Of a Secret
    that somebody else writes it is what passed the gate last; then it has dates, and `is_trial` says that mail clients
    do not trust it, as Let's Encrypt's staging CA issued it. `is_verified` once every pod has proven it;
    `proven_in` are the workloads whose pods have all proven it, or one before it in the very Secret.
    """

    name: str
    uid: str | None
    sha256: str
    not_before: datetime | None = None
    not_after: datetime | None = None
    is_trial: bool = False
    is_verified: bool = False
    proven_in: tuple[str, ...] = ()

    @property
    def is_from_elsewhere(self) -> bool:
        """Whether somebody else had written it: that it was brought into pods makes no Secret ours."""
        return self.not_before is not None


@dataclass(frozen=True, slots=True)
class WorkloadReport:
    """How many pods of a workload prove the certificate, and how many are on their way to it; the others wait."""

    workload: str
    pods: int
    proven: int
    in_flight: int

    @property
    def waiting(self) -> int:
        """How many were not begun yet."""
        return self.pods - self.proven - self.in_flight


@dataclass(frozen=True, slots=True)
class RolloutReport:
    """How far the rollout is; `waiting_until` None: until a person decides, or until all has its certificate."""

    workloads: tuple[WorkloadReport, ...]
    waiting_for: Reason | None = None
    waiting_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """The status as it was when the reconcile began."""

    conditions: tuple[Condition, ...] = ()
    attempts: Attempts | None = None
    schedule: Schedule | None = None
    history: tuple[HistoryEntry, ...] = ()
    handled_probe: str | None = None
    deep_probed_at: datetime | None = None
    has_order: bool = False  # an order was open
    stored: Stored | None = None
    domains: tuple[DomainReport, ...] = ()
    rollout: RolloutReport | None = None

    def condition(self, wanted: ConditionType) -> Condition | None:
        """The condition of that type, None before the first reconcile."""
        return next((each for each in self.conditions if each.type is wanted), None)


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """The order that is open at the CA; `url` None: it was requested, and it is unknown whether the CA received it."""

    url: str | None
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that a status shows of a spec of `generation`.

    `certificate` is the stored one. `deep_probed_at` is None while a deep probe has found something. `handled` is the
    last value of each request (`renew`, `probe`, `rollback`) that was handled.
    """

    generation: int
    conditions: tuple[Condition, ...]
    certificate: Certificate | None = None
    schedule: Schedule | None = None
    stored: Stored | None = None
    order: OpenOrder | None = None
    attempts: Attempts | None = None
    endpoints: tuple[Endpoint, ...] = ()
    served: ServedCount | None = None
    rollout: RolloutReport | None = None
    deep_probed_at: datetime | None = None
    domains: tuple[DomainReport, ...] = ()
    history: tuple[HistoryEntry, ...] = ()
    handled: Mapping[str, str | None] = field(default_factory=dict)
    docs_url: str | None = None


SUSPENDED: Final = "Suspended: nothing is renewed or checked until spec.suspend is false."


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a condition says, before it is compared with what it said before.

    `recovery` is what it takes to get out of it, where that is not what it mostly takes to get out of its reason.
    """

    status: Truth
    reason: Reason
    message: str
    warnings: tuple[Finding, ...] = ()
    recovery: Recovery | None = None

    @property
    def needs_person(self) -> bool:
        """Whether nothing comes of waiting."""
        return (self.recovery or RECOVERIES[self.reason]) is Recovery.MANUAL

    @classmethod
    def true(cls, reason: Reason, message: str, warnings: Iterable[Finding] = ()) -> Self:
        """Say that all is well, and what `message` warns of all the same."""
        return cls(Truth.TRUE, reason, message, tuple(warnings))

    @classmethod
    def false(cls, finding: Finding, recovery: Recovery | None = None) -> Self:
        """Say what is wrong."""
        return cls(Truth.FALSE, finding.reason, finding.message, recovery=recovery)

    @classmethod
    def pending(cls, message: str) -> Self:
        """Say what is not known yet."""
        return cls(Truth.UNKNOWN, Reason.PENDING, message)
