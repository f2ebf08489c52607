"""The order rate limiter: orders of one account wait in line for their CA's limit, instead of running into it."""

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from mailtls.api.reading.acme import SHORT_NAMES
from mailtls.issuance.acme.problem import AcmeProblem
from mailtls.reasons.reason import Finding, Reason
from mailtls.times import format_duration, format_second, parse_duration

_ROUNDING = timedelta(milliseconds=1)  # a pause is a whole number of microseconds, and many add up


@dataclass(frozen=True, slots=True)
class Budget:
    """So many orders in such a time: as many at once, then one after the other as their places become free."""

    orders: int
    per: timedelta

    @property
    def pause(self) -> timedelta:
        """How long it takes until one more may be placed."""
        return self.per / self.orders


def parse_budget(text: str) -> Budget | None:
    """Read `300/3h`, or `none` for no limit; raises ValueError with the sentence to show a person."""
    if text == "none":
        return None
    orders, _, duration = text.partition("/")
    with suppress(ValueError):
        budget = Budget(int(orders), parse_duration(duration))
        if budget.orders > 0 and budget.per >= timedelta(seconds=1):
            return budget
    raise ValueError("write orders and a duration such as 300/3h, or none")


@dataclass(frozen=True, slots=True)
class Bucket:
    """Who placed orders, as one time: `full_at` is when the bucket will be full again, None while it is."""

    budget: Budget
    full_at: datetime | None = None

    def turn_at(self, now: datetime, ahead: int) -> datetime:
        """Return when there is a token for one more, after `ahead` others have taken theirs; `now` where there is."""
        turn_at = max(self.full_at or now, now) + (ahead + 1) * self.budget.pause - self.budget.per
        return turn_at if turn_at - now > _ROUNDING else now

    def given_back(self) -> "Bucket":
        """Return the bucket with one token that was taken and not spent."""
        return self if self.full_at is None else replace(self, full_at=self.full_at - self.budget.pause)

    def left(self, now: datetime) -> int:
        """Return how many whole tokens there are."""
        owed = max((self.full_at or now) - now - _ROUNDING, timedelta())
        return max(0, self.budget.orders - -(-owed // self.budget.pause))

    def taken(self, now: datetime) -> tuple["Bucket", datetime]:
        """Take one token, perhaps of the future; return the bucket after it, and when the token is there."""
        full_at = max(self.full_at or now, now) + self.budget.pause
        return replace(self, full_at=full_at), max(now, full_at - self.budget.per)


@dataclass(frozen=True, slots=True)
class BudgetState:
    """How many orders may be placed in all, how many of them at once now, and how many resources wait for more."""

    limit: int
    left: int
    waiting: int

    def with_another(self, other: "BudgetState") -> "BudgetState":
        """Return what to show of two accounts: the one that has less left, and all who wait."""
        fewer = min(self, other, key=lambda each: each.left)
        return replace(fewer, waiting=self.waiting + other.waiting)


# https://letsencrypt.org/docs/rate-limits: new orders of an account. Other CAs' limits are set by their users.
_LETS_ENCRYPT: Final = Budget(300, timedelta(hours=3))
KNOWN: Final = MappingProxyType(dict.fromkeys(SHORT_NAMES.values(), _LETS_ENCRYPT))
_FORGOTTEN_AFTER: Final = timedelta(days=1)  # whoever has not come by then was deleted
_GIVEN_UP_AFTER: Final = timedelta(minutes=10)  # who waits and has not come by then has lost the place
_LONGEST_WAIT: Final = timedelta(hours=2)  # then the place is checked again: others may have left
MOST_WAITING: Final = 1000  # of one namespace are remembered; more are asked to come back and have no place


class OrderRateLimiter:
    """One for each account; thread-safe, and fair: namespaces take turns, whatever each of them requests.

    It may live in memory. After a restart the bucket is full again, so that more orders may be requested than the limit
    allows, but none twice: an order is found again by its journal, and an attempt that failed is kept in the status.
    There are never more requests than resources that are due, and the CA, whose limit it is, refuses what is too much
    and says from when it takes more.

    Who waits holds no token, only a place behind those of his namespace. A token is taken when the turn comes; `spend`
    spends it, `release` gives it back.
    """

    def __init__(self, budget: Budget | None, now: Callable[[], datetime]) -> None:
        self._bucket = Bucket(budget) if budget is not None else None
        self._now = now
        self._granted: dict[str, datetime] = {}
        self._waiting: dict[str, dict[str, datetime]] = {}  # by namespace, in the order of their turns
        self._lock = threading.Lock()

    @property
    def tickets(self) -> Mapping[str, datetime]:
        """Those whose turn has come, with when it came, and those who wait, with when they are to come back."""
        with self._lock:
            waiting = (each for place in self._waiting.values() for each in place.items())
            return {**self._granted, **dict(waiting)}

    def acquire(self, ticket: str, namespace: str = "") -> None:
        """Go on when it is the ticket's turn, else raise `AcmeProblem` that says when it will be.

        The place in line is kept, for as long as nobody leaves it by `spend` or `release` and the ticket comes back.
        """
        now = self._now()
        turn_at = self._turn_at(ticket, namespace, now)
        if turn_at > now and self._bucket is not None:
            raise AcmeProblem(_held_back(self._bucket.budget, turn_at), retry_at=turn_at, transient=True)

    def spend(self, ticket: str) -> None:
        """The order is placed: the token is spent."""
        with self._lock:
            self._granted.pop(ticket, None)
            self._drop(ticket)

    def release(self, ticket: str) -> None:
        """No order will be placed: the token, or the place in line, is free for others."""
        with self._lock:
            self._drop(ticket)
            if self._granted.pop(ticket, None) is not None and self._bucket is not None:
                self._bucket = self._bucket.given_back()

    def state(self) -> "BudgetState | None":
        """Return what is left of the budget now; None where there is none."""
        now = self._now()
        with self._lock:
            if self._bucket is None:
                return None
            waiting = sum(map(len, self._waiting.values()))
            return BudgetState(self._bucket.budget.orders, self._bucket.left(now), waiting)

    def _turn_at(self, ticket: str, namespace: str, now: datetime) -> datetime:
        with self._lock:
            if self._bucket is None or ticket in self._granted:
                return now
            self._forget(now)
            place = self._waiting.setdefault(namespace, {})
            turn_at = self._bucket.turn_at(now, self._ahead(ticket, namespace))
            if turn_at > now:
                again_at = min(turn_at, now + _LONGEST_WAIT)
                if ticket in place or len(place) < MOST_WAITING:
                    place[ticket] = again_at
                return again_at
            self._bucket, _ = self._bucket.taken(now)
            self._granted[ticket] = now
            place.pop(ticket, None)
            self._waiting[namespace] = self._waiting.pop(namespace)  # the others' turn
            return now

    def _ahead(self, ticket: str, namespace: str) -> int:
        """Count those before the ticket: of its namespace all who came before, of each other no more than that."""
        place = self._waiting[namespace]
        own = next((number for number, each in enumerate(place) if each == ticket), len(place))
        ahead, is_before = own, True
        for name, others in self._waiting.items():
            if name == namespace:
                is_before = False
            else:
                ahead += min(len(others), own + 1 if is_before else own)
        return ahead

    def _drop(self, ticket: str) -> None:
        for name, place in list(self._waiting.items()):
            place.pop(ticket, None)
            if not place:
                del self._waiting[name]

    def _forget(self, now: datetime) -> None:
        for ticket in [each for each, since in self._granted.items() if now - since > _FORGOTTEN_AFTER]:
            del self._granted[ticket]
        late = [each for each, again_at in self._all_waiting() if now - again_at > _GIVEN_UP_AFTER]
        for ticket in late:
            self._drop(ticket)

    def _all_waiting(self) -> list[tuple[str, datetime]]:
        return [each for place in self._waiting.values() for each in place.items()]


def _held_back(budget: Budget, turn_at: datetime) -> Finding:
    message = (
        f"The operator itself holds back, because the CA takes {budget.orders} orders of an account in"
        f" {format_duration(budget.per)}; next try at {format_second(turn_at)}."
    )
    return Finding(Reason.RATE_LIMITED, message)
