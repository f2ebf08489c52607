"""Has the names of an order validated: publishes challenge responses, looks until they are seen, and removes them."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

from mailtls.api.solvers import choose, longest_delay
from mailtls.api.spec import Desired, SolverSettings
from mailtls.context import Context
from mailtls.issuance.acme.account import Account
from mailtls.issuance.order import Fail, PendingChallenge, Present
from mailtls.issuance.order_state import OrderState, Status
from mailtls.issuance.solvers.base import ChallengeResponse
from mailtls.issuance.solvers.registry import Solvers
from mailtls.net.effects import seconds_left
from mailtls.reasons.reason import Finding
from mailtls.times import Clock

SPREAD_PATIENCE = timedelta(minutes=10)  # how long a response may take to be seen everywhere
NAMED_AFTER = timedelta(seconds=20)  # then the condition names who does not show the response yet
FOR_ONE_NAME = 26.0  # seconds at most for its response, by the bounds of one call to a DNS server
SPREAD_PAUSES = (0.1, 0.2, 0.5, 1, 2, 5)  # seconds between looks


@dataclass(frozen=True, slots=True)
class Validation:
    """Has a CA validate names, by whichever solver is responsible for each."""

    solvers: Solvers
    clock: Clock

    def present(self, context: Context, account: Account, action: Present) -> Context | Fail:
        """Publish all responses, then look until all are seen; the reconcile goes on elsewhere while they spread.

        A hundred names at a DNS server far away take longer than one step may last: then the next one goes on from
        there, with what is published and what was seen.
        """
        responses = {each.challenge.url: _response(context.desired, account, each) for each in action.challenges}
        published = context.issuance.published
        for url in [] if context.issuance.presenting_since else [url for url in responses if url not in published]:
            if published != context.issuance.published and _time_is_short():
                return context.with_issuance(published=published)
            self.solvers.present(*responses[url])
            published |= {url}
        has_begun, context = published != context.issuance.published, context.with_issuance(published=published)
        since = context.issuance.presenting_since or self.clock.now()
        waited = self.clock.now() - since
        hidden = dict[str, Finding]()
        presented = context.issuance.presented
        for url, response in responses.items():
            if has_begun and _time_is_short():
                if hidden:
                    break
                return context.with_issuance(presented=presented, presenting_since=since)
            has_begun = True
            if (found := self.solvers.is_visible(*response, waited).hidden_by) is not None:
                hidden[url] = found
            else:
                presented |= {url}
        if not hidden:
            return replace(context, issuance=context.issuance.seen_everywhere(presented))
        first = next(iter(hidden.values()))
        if waited > SPREAD_PATIENCE + longest_delay(context.desired.acme):
            return Fail(first)
        pause = SPREAD_PAUSES[min(context.issuance.visibility_checks, len(SPREAD_PAUSES) - 1)]
        return context.with_issuance(
            presented=presented,
            presenting_since=since,
            hidden_by=first if waited >= NAMED_AFTER else None,
            visibility_checks=context.issuance.visibility_checks + 1,
            wait_until=self.clock.now() + timedelta(seconds=pause),
        )

    def clean_up(
        self,
        context: Context,
        account: Account,
        order: OrderState,
        in_use: Callable[[], Collection[str]] = tuple,
    ) -> None:
        """Remove what this process, or an earlier one, has published for the order.

        `in_use` returns the URLs of authorizations that orders of others wait for: they have the same token, so that
        their response is this one's.
        """
        names = context.snapshot.staged.names if context.snapshot.staged else context.desired.dns_names
        for each in _challenges(context.desired, order):
            if not each.authorization.is_for_one_of(names):
                continue  # nothing was published for what was not ordered, and nothing of a stranger's is removed
            is_pending = each.authorization.status == Status.PENDING
            if is_pending and each.authorization.url in in_use():
                continue
            # A name that was validated long before has no response here; any other may, seen by the CA or not.
            is_left_over = (
                context.issuance.order is None
                or context.issuance.was_resumed
                or each.authorization.status != Status.VALID
            )
            if is_left_over or each.challenge.url in context.issuance.presented:
                self.solvers.clean_up(*_response(context.desired, account, each))
                if is_pending and each.authorization.url in in_use():  # somebody came meanwhile
                    self.solvers.present(*_response(context.desired, account, each))


def _time_is_short() -> bool:
    """Whether the step may end before one more name has been dealt with."""
    try:
        left = seconds_left()
    except TimeoutError:
        return True
    return left is not None and left < FOR_ONE_NAME


def _response(
    desired: Desired, account: Account, pending: PendingChallenge
) -> tuple[SolverSettings, ChallengeResponse]:
    """Say by whom, and what the CA has to find."""
    solver = choose(desired.acme, pending.authorization.identifier)
    if solver is None:
        raise AssertionError("the order's state machine presents only what a solver is responsible for")
    token = pending.challenge.token
    response = ChallengeResponse(
        pending.authorization.name, token, account.key_authorization(token), account.dns01_value(token)
    )
    return solver.settings, response


def _challenges(desired: Desired, order: OrderState) -> Iterator[PendingChallenge]:
    for authorization in order.authorizations:
        solver = choose(desired.acme, authorization.identifier)
        challenge = authorization.challenge(solver.settings.challenge_type) if solver else None
        if challenge is not None:
            yield PendingChallenge(authorization, challenge)
