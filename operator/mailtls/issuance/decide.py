"""Decides on the steps of an order, from a due certificate to a stored one; each effect follows a saved intent."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar, Final

from mailtls.api.solvers import challenge_type_of, places_of_names
from mailtls.api.spec import Desired, Place
from mailtls.context import Context
from mailtls.issuance import order
from mailtls.issuance.guard import is_consumed
from mailtls.issuance.order import Action, Fail, Present
from mailtls.issuance.policy import fits, is_held_back, issuance_is_due, renewal_is_held, spoils_a_kept_key
from mailtls.issuance.schedule import renewal_due_at
from mailtls.issuance.storage import is_adopted
from mailtls.kube.snapshot import Staged
from mailtls.reasons.reason import Finding, Reason
from mailtls.step import Deadline, Step, ca_of, objects_in

AS_WRITTEN: Final = timedelta(seconds=1)  # the status has whole seconds
FOR_EACH_NAME: Final = Deadline(60.0, "several requests, or lookups for each name")


@dataclass(frozen=True, slots=True)
class CloseLeftovers(Step):
    """Close the orders that stand open under a secretName that the spec no longer has."""

    deadline: ClassVar[Deadline] = FOR_EACH_NAME

    def places(self, desired: Desired) -> Iterable[Place]:
        """The CA, and whatever showed the challenge responses."""
        return _closing_places(desired)


@dataclass(frozen=True, slots=True)
class CloseOrder(Step):
    """Remove the challenge responses, let go of pending authorizations, and mark the journal closed."""

    deadline: ClassVar[Deadline] = FOR_EACH_NAME

    def places(self, desired: Desired) -> Iterable[Place]:
        """The CA, and whatever shows the challenge responses."""
        return _closing_places(desired)


def _closing_places(desired: Desired) -> Iterable[Place]:
    return (ca_of(desired.acme.server), *places_of_names(desired, desired.dns_names))


@dataclass(frozen=True, slots=True)
class StageKey(Step):
    """Make the next private key and its CSR and save both, with the intent to order, because of `due`."""

    due: Finding

    def places(self, desired: Desired) -> Iterable[Place]:
        """The namespace that the Secret is written to."""
        return (objects_in(desired.key.namespace),)

    def is_reported_before(self, context: Context, silence: timedelta) -> bool:
        """A time of renewal that is earlier than the reported one is reported first.

        A process that knew only the later one would close the order again as one that is not due.
        """
        del silence
        drawn, shown = context.issuance.schedule, context.snapshot.reported.schedule
        if self.due.reason is not Reason.RENEWAL_DUE or drawn is None:
            return False
        return shown is None or shown.sha256 != drawn.sha256 or shown.renewal_at - drawn.renewal_at >= AS_WRITTEN


@dataclass(frozen=True, slots=True)
class StoreCertificate(Step):
    """Write chain and key into the Secret, the old pair into the previous one."""

    def places(self, desired: Desired) -> Iterable[Place]:
        """The namespace that the Secret is written to."""
        return (objects_in(desired.key.namespace),)


@dataclass(frozen=True, slots=True)
class SaveOrder(Step):
    """Save the order's URL before anything is done with it.

    It waits for no place: whoever has ordered must be able to write it down, however many wait.
    """

    is_record: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class GiveUp(Step):
    """The order cannot succeed: remember the failure."""

    fail: Fail


@dataclass(frozen=True, slots=True)
class AdvanceOrder(Step):
    """Perform one action of the order's own state machine."""

    action: Action

    deadline: ClassVar[Deadline] = FOR_EACH_NAME
    gets_on: ClassVar[bool] = True

    def places(self, desired: Desired) -> Iterable[Place]:
        """What shows the challenge responses while these are published, else the CA."""
        if isinstance(self.action, Present):
            return places_of_names(desired, [each.authorization.identifier for each in self.action.challenges])
        return (ca_of(desired.acme.server),)


@dataclass(frozen=True, slots=True)
class ResumeOrder(Step):
    """Read the order again from its saved URL."""

    url: str

    deadline: ClassVar[Deadline] = FOR_EACH_NAME

    def places(self, desired: Desired) -> Iterable[Place]:
        """The CA."""
        return (ca_of(desired.acme.server),)


@dataclass(frozen=True, slots=True)
class OpenOrder(Step):
    """Order from the CA, or find the order a crash has left there."""

    deadline: ClassVar[Deadline] = Deadline(
        60.0, "after a crash it reads the account's open orders before it makes one"
    )

    def places(self, desired: Desired) -> Iterable[Place]:
        """The CA."""
        return (ca_of(desired.acme.server),)


def close_leftovers(context: Context, now: datetime) -> CloseLeftovers | None:
    """Orders under an earlier secretName are closed first, also where the new Secret turns out to be another's."""
    due_at = context.issuance.leftovers_due_at
    return CloseLeftovers() if due_at is not None and due_at <= now and not context.desired.suspend else None


def leftovers_due_at(context: Context, _now: datetime) -> Iterable[datetime | None]:
    """When leftovers are looked for."""
    yield context.issuance.leftovers_due_at


def close_order(context: Context, now: datetime) -> CloseOrder | None:
    """An order that has served, failed for good, or is for something no longer wanted, is closed first."""
    staged, failure = context.snapshot.staged, context.issuance.failure
    if staged is None or not staged.is_open or context.issuance.close_failure is not None:
        return None
    if failure is not None and not failure.is_final:
        return None
    failed = is_held_back(context, now)
    unfit = not fits(staged, context.desired) or spoils_a_kept_key(staged, context)
    unwanted = unfit or issuance_is_due(context, now) is None
    return CloseOrder() if failed or unwanted or is_consumed(staged, context) else None


def stage_key(context: Context, now: datetime) -> StageKey | None:
    """A key is staged where a certificate is due and no order is open."""
    due = _due(context, now)
    return StageKey(due) if due is not None and _open(context) is None else None


def store_certificate(context: Context, now: datetime) -> StoreCertificate | None:
    """A chain that was downloaded is stored."""
    is_there = context.issuance.chain is not None and _open(context) is not None
    return StoreCertificate() if is_there and _due(context, now) else None


def save_order(context: Context, now: datetime) -> SaveOrder | None:
    """An order whose URL is in no journal yet is written down."""
    staged = _open(context)
    is_unsaved = staged is not None and context.issuance.order is not None and not staged.order_url
    return SaveOrder() if is_unsaved and _due(context, now) else None


def give_up(context: Context, now: datetime) -> GiveUp | None:
    """An order that cannot succeed is given up."""
    action = _next_action(context, now)
    return GiveUp(action) if isinstance(action, Fail) else None


def advance_order(context: Context, now: datetime) -> AdvanceOrder | None:
    """An order goes one action further."""
    action = _next_action(context, now)
    return AdvanceOrder(action) if action is not None and not isinstance(action, Fail) else None


def resume_order(context: Context, now: datetime) -> ResumeOrder | None:
    """An order of an earlier process is read again."""
    staged = _open(context)
    is_unknown = staged is not None and context.issuance.order is None
    url = staged.order_url if staged is not None and is_unknown and _due(context, now) else None
    return ResumeOrder(url) if url else None


def open_order(context: Context, now: datetime) -> OpenOrder | None:
    """An order is made for a key that was staged for it."""
    is_due = _open(context) is not None and context.issuance.order is None
    return OpenOrder() if is_due and _due(context, now) else None


def order_due_at(context: Context, now: datetime) -> Iterable[datetime | None]:
    """When a certificate is due, or an order may go on."""
    secret, attempts = context.snapshot.secret, context.snapshot.status.attempts
    yield secret.certificate.not_after if secret.certificate else None
    if issuance_is_due(context, now):
        yield context.issuance.wait_until
        yield attempts.next_attempt_at if attempts else None
    if secret.hold is not None and renewal_is_held(context, now):
        yield secret.hold.until


def order_retry_at(context: Context, _now: datetime) -> Iterable[datetime | None]:
    """When what failed of the order is tried again."""
    for failure in (context.issuance.failure, context.issuance.close_failure):
        yield failure.retry_at if failure is not None else None


def _due(context: Context, now: datetime) -> Finding | None:
    """Why a certificate is due, while nothing holds its order back."""
    issuance = context.issuance
    is_waiting = issuance.wait_until is not None and now < issuance.wait_until
    if is_waiting or issuance.close_failure is not None or is_held_back(context, now):
        return None
    return issuance_is_due(context, now)


def _open(context: Context) -> Staged | None:
    staged = context.snapshot.staged
    return staged if staged is not None and staged.is_open else None


def _next_action(context: Context, now: datetime) -> Action | None:
    """What the order's state machine wants, None where there is no order, or it has to wait."""
    issuance, staged = context.issuance, _open(context)
    if issuance.order is None or staged is None or not staged.order_url or _due(context, now) is None:
        return None
    return order.next_action(
        issuance.order, issuance.presented, challenge_type_of(context.desired.acme), now, staged.names
    )


@dataclass(frozen=True, slots=True)
class ScheduleRenewal(Step):
    """Ask the CA for its renewal window where it has one (RFC 9773), and draw the time of renewal."""

    def places(self, desired: Desired) -> Iterable[Place]:
        """The CA."""
        return (ca_of(desired.acme.server),)


def schedule_renewal(context: Context, now: datetime) -> ScheduleRenewal | None:
    """Every stored certificate has a time of renewal, asked of the CA again when it said so."""
    issuance, secret = context.issuance, context.snapshot.secret
    certificate = secret.certificate
    if certificate is None or (secret.acme_server is None and not is_adopted(context)):
        return None
    is_known = issuance.schedule is not None and issuance.schedule.sha256 == certificate.sha256
    if is_known and (issuance.renewal_info_due_at is None or now < issuance.renewal_info_due_at):
        return None
    return ScheduleRenewal()


def renewal_due_times(context: Context, now: datetime) -> Iterable[datetime | None]:
    """When the renewal is due, and when the CA is asked again about it."""
    certificate = context.snapshot.secret.certificate
    if certificate is not None and issuance_is_due(context, now) is None:
        yield renewal_due_at(certificate, context, now)
        yield context.issuance.renewal_info_due_at
