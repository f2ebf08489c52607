"""Lets the orders of one account wait in line for its CA's limit, instead of being refused by it one by one."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from mailtls.model.budget import Budget, Line
from mailtls.model.duration import format_duration
from mailtls.model.reason import Finding, Reason
from mailtls.world.acme.problem import AcmeProblem
from mailtls.world.reading.authority_spec import SHORT_NAMES

# https://letsencrypt.org/docs/rate-limits: new orders of an account. Other CAs' limits are for their users to tell.
_LETS_ENCRYPT: Final = Budget(300, timedelta(hours=3))
KNOWN: Final = MappingProxyType(dict.fromkeys(SHORT_NAMES.values(), _LETS_ENCRYPT))
_FORGOTTEN_AFTER: Final = timedelta(days=1)  # whoever has not come by then was deleted


class OrderLine:
    """One for each account; thread-safe.

    It may live in memory. After a restart the bucket is full again, so that more orders may be asked for than the limit
    allows, but none twice: an order is found again by its journal, and an attempt that failed is kept in the status.
    There are never more requests than resources that are due, and the CA, whose limit it is, refuses what is too much
    and says from when it takes more.

    `tickets` are of those who wait, or whose turn has come, with its time.
    """

    def __init__(self, budget: Budget | None, now: Callable[[], datetime]) -> None:
        self._line = Line(budget) if budget is not None else None
        self._now = now
        self.tickets: dict[str, datetime] = {}
        self._lock = threading.Lock()

    def stand(self, ticket: str) -> None:
        """Go on when it is the ticket's turn, else raise `AcmeProblem` that says when it will be.

        The place in line is kept, for as long as nobody leaves it by `leave`.
        """
        now = self._now()
        turn_at = self._turn_at(ticket, now)
        if turn_at > now and self._line is not None:
            raise AcmeProblem(_held_back(self._line.budget, turn_at), retry_at=turn_at, transient=True)

    def leave(self, ticket: str) -> None:
        """The order is placed: the token is spent."""
        with self._lock:
            self.tickets.pop(ticket, None)

    def _turn_at(self, ticket: str, now: datetime) -> datetime:
        with self._lock:
            if self._line is None:
                return now
            if ticket not in self.tickets:
                self._line, self.tickets[ticket] = self._line.joined(now)
                self._forget(now)
            return self.tickets[ticket]

    def _forget(self, now: datetime) -> None:
        for ticket in [each for each, turn_at in self.tickets.items() if now - turn_at > _FORGOTTEN_AFTER]:
            del self.tickets[ticket]


def _held_back(budget: Budget, turn_at: datetime) -> Finding:
    message = (
        f"The operator itself holds back, because the CA takes {budget.orders} orders of an account in"
        f" {format_duration(budget.per)}; next try at {turn_at:%Y-%m-%d %H:%M:%S} UTC."
    )
    return Finding(Reason.RATE_LIMITED, message)
