"""What an issuance remembers between reconciles: this process's memory of the open order, and its failures.

The journal in the staged Secret is what survives the process; nothing here does.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime

from mailtls.api.state import RESET, Failure, Same, carry, forget, kept
from mailtls.api.status import HistoryEntry, Schedule
from mailtls.issuance.order_state import OrderState
from mailtls.kube.snapshot import ObjectVersion, Snapshot, Staged
from mailtls.pki.certificate import Certificate
from mailtls.reasons.reason import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuanceState:
    """Where the order, its challenges and the renewal stand; all times are UTC.

    `presented` are the challenges whose responses were seen, `published` those that are out, seen or not.
    `wait_until` holds the order back meanwhile. `chain` was downloaded and is not stored yet. `is_fresh_intent`: this
    process staged the key, so the CA cannot have heard of it. `was_resumed`: an earlier process may have published for
    this order. `hidden_by` says what a response was not seen for, once that takes long.

    `issued` is what was issued or rolled back to and is not reported yet; `refused` a request that could not be carried
    out, or what had to be undone. `leftover` is the first order of an earlier secretName that could not be closed.
    `dependencies` are the objects referred to, as last read while a failure may lie with them.
    """

    order: OrderState | None = field(default=None, metadata=kept(Same.STAGED_KEY, Same.ORDER))
    presented: frozenset[str] = field(default=frozenset(), metadata=kept(Same.STAGED_KEY, Same.ORDER))
    published: frozenset[str] = field(default=frozenset(), metadata=kept(Same.STAGED_KEY, Same.ORDER))
    presenting_since: datetime | None = field(default=None, metadata=kept(Same.STAGED_KEY, Same.ORDER))
    hidden_by: Finding | None = field(default=None, metadata=kept(Same.STAGED_KEY, Same.ORDER))
    visibility_checks: int = field(default=0, metadata=kept(Same.STAGED_KEY, Same.ORDER))
    was_resumed: bool = field(default=False, metadata=kept(Same.STAGED_KEY, Same.ORDER))
    wait_until: datetime | None = field(default=None, metadata=kept(Same.STAGED_KEY, Same.ORDER, Same.REQUEST))
    is_fresh_intent: bool = field(default=False, metadata=kept(Same.STAGED_KEY))
    chain: Certificate | None = field(default=None, metadata=RESET)
    schedule: Schedule | None = field(default=None, metadata=kept())
    renewal_info_due_at: datetime | None = field(default=None, metadata=kept(Same.SPEC))
    issued: HistoryEntry | None = field(default=None, metadata=kept(Same.REPORT))
    refused: HistoryEntry | None = field(default=None, metadata=kept(Same.REPORT))
    transient_failures: int = field(default=0, metadata=kept())  # in a row
    failure: Failure | None = field(default=None, metadata=kept(Same.SPEC, Same.REQUEST))
    close_failure: Failure | None = field(default=None, metadata=RESET)
    leftovers_due_at: datetime | None = field(default=None, metadata=kept(Same.SPEC))  # None: never
    leftover: Staged | None = field(default=None, metadata=kept())
    dependencies: tuple[ObjectVersion, ...] | None = field(default=None, metadata=kept())
    dependencies_due_at: datetime | None = field(default=None, metadata=kept())

    def about_another_order(self) -> "IssuanceState":
        """Forget the order, its challenges and its chain."""
        return replace(forget(self, Same.ORDER), chain=None)

    def resumed(self, order: OrderState) -> "IssuanceState":
        """Know an order of an earlier process, of whose challenges nothing is known here."""
        return replace(self, order=order, presented=frozenset(), published=frozenset(), was_resumed=True)

    def closed(self) -> "IssuanceState":
        """Forget an order that is over, and the transient failures on its way."""
        return replace(self.about_another_order(), transient_failures=0)

    def stored(self) -> "IssuanceState":
        """Know that the chain is in the Secret, so that no dependency stands in the way."""
        return replace(self, chain=None, dependencies=None, dependencies_due_at=None)

    def seen_everywhere(self, presented: frozenset[str]) -> "IssuanceState":
        """Know that every challenge response is visible."""
        return replace(self, presented=presented, presenting_since=None, hidden_by=None, visibility_checks=0)


def carry_issuance(
    before: IssuanceState, fresh: IssuanceState, snapshot: Snapshot, same: frozenset[Same], now: datetime
) -> IssuanceState:
    """Return what the next reconcile knows; `fresh` is what a process without memory would start from.

    A changed spec has the CA's renewal window and leftovers of orders looked up at once. A new request for a renewal
    has the order polled at once.
    """
    order, staged = before.order, snapshot.staged
    if order is not None and staged is not None and staged.is_open and staged.order_url in {None, order.url}:
        same |= {Same.ORDER}
    is_unheard = staged is not None and staged.order_url is None
    known = replace(
        before,
        order=order if order is None or Same.REQUEST in same else order.hurried(),
        is_fresh_intent=before.is_fresh_intent and is_unheard,
        schedule=_schedule(before, fresh, snapshot),
        failure=_lasting(before.failure, now),
    )
    return carry(known, replace(fresh, renewal_info_due_at=now, leftovers_due_at=now), same)


def _schedule(before: IssuanceState, fresh: IssuanceState, snapshot: Snapshot) -> Schedule | None:
    """Keep the time that was drawn last: the status names an earlier one where a reconcile ended before its report."""
    drawn, certificate = before.schedule, snapshot.secret.certificate
    is_its_own = drawn is not None and certificate is not None and drawn.sha256 == certificate.sha256
    return drawn if is_its_own else fresh.schedule or drawn


def _lasting(failure: Failure | None, now: datetime) -> Failure | None:
    """A refusal holds back until its time, whatever wakes the resource."""
    if failure is None or not failure.lasts or failure.retry_at is None:
        return None
    return failure if now < failure.retry_at else None
