"""Context: everything that the stages decide by for one resource, at one moment of a reconcile."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Concatenate, ParamSpec, TypeVar

from mailtls.api.spec import Desired
from mailtls.api.state import Same
from mailtls.api.status import HistoryEntry, Status, Stored
from mailtls.domains.state import DomainsState, carry_domains
from mailtls.external.state import ExternalState, carry_external
from mailtls.issuance.state import IssuanceState, carry_issuance
from mailtls.kube.snapshot import Snapshot
from mailtls.probe.target import Target
from mailtls.rollout.state import RolloutState, carry_rollout
from mailtls.verification.state import VerificationState, carry_verification

_Changes = ParamSpec("_Changes")
_Part = TypeVar("_Part")


def _changing(name: str, _part: Callable[_Changes, _Part]) -> Callable[Concatenate["Context", _Changes], "Context"]:
    """Make the method that changes fields of one part, whose names and types are checked as the part declares them."""

    def change(context: "Context", /, *_: _Changes.args, **changes: _Changes.kwargs) -> "Context":
        part: Any = getattr(context, name)
        return replace(context, **{name: replace(part, **changes)})

    return change


@dataclass(frozen=True, slots=True)
class Leaf:
    """A certificate by its SHA-256; `not_before`, where known, distinguishes an older one from a foreign one.

    `is_trial`: Let's Encrypt's staging CA issued it, and it is served all the same, with a warning.
    """

    sha256: str
    not_before: datetime | None
    is_trial: bool = False


@dataclass(frozen=True, slots=True)
class Context:
    """What is wanted, what was read of the cluster, and what each room remembers; a step returns a new one."""

    desired: Desired
    snapshot: Snapshot = field(default_factory=Snapshot)
    issuance: IssuanceState = field(default_factory=IssuanceState)
    rollout: RolloutState = field(default_factory=RolloutState)
    verification: VerificationState = field(default_factory=VerificationState)
    domains: DomainsState = field(default_factory=DomainsState)
    external: ExternalState = field(default_factory=ExternalState)

    with_snapshot = _changing("snapshot", Snapshot)
    with_issuance = _changing("issuance", IssuanceState)
    with_rollout = _changing("rollout", RolloutState)
    with_verification = _changing("verification", VerificationState)
    with_domains = _changing("domains", DomainsState)

    @property
    def last_accepted(self) -> Stored | None:
        """What is known of the certificate that was stored last in this Secret, or passed the gate there."""
        stored = self.snapshot.status.stored
        return stored if stored is not None and stored.name == self.desired.secret_name else None

    @property
    def leaf(self) -> Leaf | None:
        """The leaf that pods should serve: the one in the Secret; where that was refused, the last that passed."""
        certificate, accepted = self.snapshot.secret.certificate, self.last_accepted
        if self.external.refusal is not None:
            return Leaf(accepted.sha256, accepted.not_before, accepted.is_trial) if accepted is not None else None
        if certificate is None or self.snapshot.secret.is_placeholder:
            return None
        return Leaf(certificate.sha256, certificate.not_before, self.external.is_trial)

    def with_history(self, entry: HistoryEntry) -> "Context":
        """Know one more thing that happened, to be reported."""
        status = self.snapshot.status
        return self.with_snapshot(status=replace(status, history=(*status.history, entry)))

    def reported(self, resource: dict[str, Any], status: Status) -> "Context":
        """Know that the API server has all that was to be reported."""
        known = self.with_snapshot(resource=resource, status=status, reported=status)
        return known.with_issuance(issued=None, refused=None)

    def about_another_certificate(self) -> "Context":
        """Forget what was proven, reloaded and failed about the certificate that was stored until now."""
        return replace(
            self.with_snapshot(workloads=None),
            rollout=self.rollout.about_another_certificate(),
            verification=self.verification.about_another_certificate(),
        )


def carried(
    before: Context, fresh: Context, now: datetime, *, has_rolled_out: bool, waiting: Collection[Target] = ()
) -> Context:
    """Return what the next reconcile begins with: what was read, and of each room what it may keep.

    `has_rolled_out`: by then every pod had proven the certificate. `waiting` are endpoints that need no probe yet.
    """
    same = _same(before, fresh, has_rolled_out=has_rolled_out)
    snapshot = fresh.snapshot if before.snapshot.is_reported else _with_news(before.snapshot, fresh.snapshot)
    return replace(
        fresh,
        snapshot=snapshot,
        issuance=carry_issuance(before.issuance, fresh.issuance, snapshot, same, now),
        rollout=carry_rollout(before.rollout, fresh.rollout, same, now),
        verification=carry_verification(before.verification, fresh.verification, same, waiting),
        external=carry_external(before.external, fresh.external, same),
        domains=carry_domains(before.domains, fresh.domains, fresh.desired.domains, same),
    )


def _same(before: Context, fresh: Context, *, has_rolled_out: bool) -> frozenset[Same]:
    known, read = before.snapshot, fresh.snapshot
    certificates = (known.secret.certificate, read.secret.certificate)
    keys = (known.staged, read.staged)
    facts = {
        Same.SPEC: before.desired.generation == fresh.desired.generation,
        Same.REQUEST: before.desired.renew_requested == fresh.desired.renew_requested,
        Same.CERTIFICATE: None not in certificates and len({each.sha256 for each in certificates if each}) == 1,
        Same.SECRET: (known.secret.uid, known.secret.resource_version)
        == (read.secret.uid, read.secret.resource_version),
        Same.STAGED_KEY: None not in keys and len({each.staged_at for each in keys if each}) == 1,
        Same.ROLLOUT: not has_rolled_out,
        Same.REPORT: not known.is_reported,
    }
    return frozenset(same for same, is_so in facts.items() if is_so)


def _with_news(before: Snapshot, fresh: Snapshot) -> Snapshot:
    """Keep what was learned and not reported, because the reconcile was cut short: a failed attempt, an issuance."""
    status = replace(fresh.status, attempts=before.status.attempts, history=before.status.history)
    return replace(fresh, status=status)
