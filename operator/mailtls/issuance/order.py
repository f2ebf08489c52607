"""Brings one ACME order to its certificate, one action at a time (RFC 8555 section 7.1.6).

The caller performs the action, gets a new `OrderState` and asks again. Waiting is the caller's: `not_before`.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime

from mailtls.hostname import named
from mailtls.issuance.acme.problem_document import Problem, Stage, judge
from mailtls.issuance.order_state import AuthorizationState, ChallengeState, OrderState, Status
from mailtls.reasons.quoting import printable, quote_all, shorten
from mailtls.reasons.reason import Finding, Reason

# Orders expire by themselves, usually after days; these limits end the ones of a CA that gives no expiry.
MOST_POLLS = 1000
MOST_FINALIZE_TRIES = 20
ChallengeTypeOf = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class PendingChallenge:
    """A challenge whose response has to be visible before the CA is asked to validate the name."""

    authorization: AuthorizationState
    challenge: ChallengeState


@dataclass(frozen=True, slots=True)
class Present:
    """Make the responses to all `challenges` visible, then remember their URLs as presented."""

    challenges: tuple[PendingChallenge, ...]


@dataclass(frozen=True, slots=True)
class RequestValidation:
    """Ask the CA to validate a challenge, as its response is visible (RFC 8555 section 7.5.1)."""

    challenge: ChallengeState


@dataclass(frozen=True, slots=True)
class PollAuthorization:
    """Read an authorization, not before a time (None: at once)."""

    url: str
    not_before: datetime | None


@dataclass(frozen=True, slots=True)
class Finalize:
    """Send the certificate request, not before a time (None: at once)."""

    not_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class PollOrder:
    """Read the order, not before a time (None: at once)."""

    not_before: datetime | None


@dataclass(frozen=True, slots=True)
class Download:
    """Fetch the certificate."""


@dataclass(frozen=True, slots=True)
class Fail:
    """Give the order up: deactivate what is pending and clean the challenge responses up."""

    finding: Finding
    needs_person: bool = False


Action = Present | RequestValidation | PollAuthorization | Finalize | PollOrder | Download | Fail


def next_action(
    order: OrderState,
    presented: frozenset[str],
    challenge_type_of: ChallengeTypeOf,
    now: datetime,
    names: Collection[str],
) -> Action:
    """Return the one thing to do next.

    `names` are those that were ordered: a challenge for another identifier is never responded to, because a CA that
    asks for one may be passing on the challenge of another CA, and the response would validate a stranger's name there.

    `presented` holds the URLs of challenges whose response is visible now. `challenge_type_of` maps a name as ordered
    (`*.` included) to a challenge type, None where no solver is responsible.
    """
    if order.status == Status.VALID and order.certificate_url:
        return Download()
    if failure := _failure(order, now):
        return failure
    if order.status == Status.READY:
        return _finalize(order)
    if order.status == Status.PENDING:
        return _unordered(order, names) or _validate(order, presented, challenge_type_of) or _finalize_once(order)
    return PollOrder(order.poll_at)


def _failure(order: OrderState, now: datetime) -> Fail | None:
    checks = (_order_has_failed, _authorization_has_failed, _patience_has_ended)
    found = next(filter(None, (check(order) for check in checks)), None)
    return found or _order_has_expired(order, now)


def _order_has_failed(order: OrderState) -> Fail | None:
    if order.status in {Status.UNREAD, Status.PENDING, Status.READY, Status.PROCESSING, Status.VALID}:
        return None
    # The challenge knows what went wrong; the order only says that something did.
    if cause := next(filter(None, map(_challenge_problem, order.authorizations)), None):
        return cause
    if order.problem is None:
        return _failed(f'The order ended as "{shorten(order.status)}" and the CA gave no cause')
    return _refused(order.problem, Stage.ORDER)


def _authorization_has_failed(order: OrderState) -> Fail | None:
    if order.status not in {Status.UNREAD, Status.PENDING}:
        return None
    failed = (each for each in order.authorizations if each.status not in _LIVING)
    return next((_authorization_failure(each) for each in failed), None)


_LIVING = frozenset({Status.UNREAD, Status.PENDING, Status.PROCESSING, Status.VALID})


def _authorization_failure(authorization: AuthorizationState) -> Fail:
    # expired, deactivated and revoked (RFC 8555 section 7.1.6) carry no problem, and the order cannot go on.
    return _challenge_problem(authorization) or _failed(
        f'The authorization for {shorten(authorization.identifier)} ended as "{shorten(authorization.status)}"; a new'
        " order follows",
    )


def _challenge_problem(authorization: AuthorizationState) -> Fail | None:
    problem = next((each.problem for each in authorization.challenges if each.problem), None)
    return _refused(problem, Stage.CHALLENGE, authorization.identifier) if problem else None


def _patience_has_ended(order: OrderState) -> Fail | None:
    polls = max((order.polls, *(each.polls for each in order.authorizations)))
    if polls < MOST_POLLS and order.finalize_tries < MOST_FINALIZE_TRIES:
        return None
    return _failed("The CA did not decide in all this time; ask its status page, a new order follows")


def _order_has_expired(order: OrderState, now: datetime) -> Fail | None:
    if order.expires_at is None or now < order.expires_at:
        return None
    return _failed("The order expired before it was done; a new one follows")


def _unordered(order: OrderState, names: Collection[str]) -> Fail | None:
    known = (each for each in order.authorizations if each.status != Status.UNREAD)
    strange = next((each for each in known if not each.is_for_one_of(names)), None)
    if strange is None:
        return None
    message = (
        f"Ask the operator of the ACME server why it wants {quote_all([strange.identifier])} validated: that was not"
        " ordered, nothing was published for it, and a new order follows."
    )
    return Fail(Finding(Reason.AUTHORIZATION_NOT_ORDERED, message))


def _validate(order: OrderState, presented: frozenset[str], challenge_type_of: ChallengeTypeOf) -> Action | None:
    if unread := _first(order, Status.UNREAD):
        return PollAuthorization(unread.url, unread.poll_at)
    chosen = tuple(_pending_challenges(order, challenge_type_of))
    if failure := next((each for each in chosen if isinstance(each, Fail)), None):
        return failure
    pending = tuple(each for each in chosen if isinstance(each, PendingChallenge))
    if hidden := tuple(each for each in pending if each.challenge.url not in presented):
        return Present(hidden)
    return _request_validation(order, pending) or _poll(pending, order)


def _pending_challenges(order: OrderState, challenge_type_of: ChallengeTypeOf) -> Iterator[PendingChallenge | Fail]:
    for authorization in order.authorizations:
        if authorization.status == Status.PENDING:
            yield _pending_challenge(authorization, challenge_type_of(authorization.identifier))


def _pending_challenge(authorization: AuthorizationState, challenge_type: str | None) -> PendingChallenge | Fail:
    name = authorization.identifier
    if not challenge_type:
        return Fail(Finding(Reason.NO_SOLVER, f"Add a solver to spec.acme.solvers whose dnsZones cover {named(name)}."))
    challenge = authorization.challenge(challenge_type)
    if challenge is None:
        offered = quote_all(sorted({each.type for each in authorization.challenges})) or "nothing"
        return Fail(
            Finding(
                Reason.NO_SOLVER,
                f"Use another solver for {named(name)}: the CA does not take {challenge_type}, but {offered}.",
            ),
        )
    if challenge.status == Status.INVALID:
        return _refused(challenge.problem or Problem("", "the CA gave no cause"), Stage.CHALLENGE, name)
    return PendingChallenge(authorization, challenge)


def _request_validation(order: OrderState, pending: tuple[PendingChallenge, ...]) -> RequestValidation | None:
    waiting = (each.challenge for each in pending if each.challenge.url not in order.requested)
    return next((RequestValidation(each) for each in waiting if each.status == Status.PENDING), None)


def _poll(pending: tuple[PendingChallenge, ...], order: OrderState) -> PollAuthorization | None:
    undecided = [each.authorization for each in pending]
    undecided += [each for each in order.authorizations if each.status == Status.PROCESSING]
    if not undecided:
        return None
    due = min(undecided, key=lambda each: each.poll_at.timestamp() if each.poll_at else 0.0)
    return PollAuthorization(due.url, due.poll_at)


def _finalize_once(order: OrderState) -> Finalize | PollOrder:
    # All authorizations are valid, so the order is ready although it was last read as pending: that saves a request.
    return Finalize() if order.finalize_tries == 0 else PollOrder(order.poll_at)


def _finalize(order: OrderState) -> Finalize:
    return Finalize() if order.finalize_tries == 0 else Finalize(order.poll_at)


def _first(order: OrderState, status: Status) -> AuthorizationState | None:
    return next((each for each in order.authorizations if each.status == status), None)


def _refused(problem: Problem, stage: Stage, name: str = "") -> Fail:
    verdict = judge(problem, stage)
    finding = verdict.finding
    message = f"{shorten(printable(named(name)))}: {finding.message}" if name else finding.message
    return Fail(Finding(finding.reason, message, finding.severity), verdict.needs_person)


def _failed(message: str) -> Fail:
    return Fail(Finding(Reason.ORDER_FAILED, printable(f"{message}.")))
