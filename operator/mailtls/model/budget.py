"""How many orders an account may place, as a bucket of tokens that fills up again steadily."""

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from mailtls.model.duration import parse_duration

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
class Line:
    """Who placed orders, as one time: `full_at` is when the bucket will be full again, None while it is."""

    budget: Budget
    full_at: datetime | None = None

    def turn_at(self, now: datetime, ahead: int) -> datetime:
        """Return when there is a token for one more, after `ahead` others have taken theirs; `now` where there is."""
        turn_at = max(self.full_at or now, now) + (ahead + 1) * self.budget.pause - self.budget.per
        return turn_at if turn_at - now > _ROUNDING else now

    def given_back(self) -> "Line":
        """Return the line with one token that was taken and not spent."""
        return self if self.full_at is None else replace(self, full_at=self.full_at - self.budget.pause)

    def joined(self, now: datetime) -> tuple["Line", datetime]:
        """Take one token, perhaps of the future; return the line after it and the time at which the token is there."""
        full_at = max(self.full_at or now, now) + self.budget.pause
        return replace(self, full_at=full_at), max(now, full_at - self.budget.per)
