"""When a server that cannot be reached is left alone, and for how long: pure, so that time is the caller's."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

TRIES: Final = 3  # failures in a row before a server is left alone
_FIRST: Final = timedelta(seconds=15)
_LONGEST: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Breaker:
    """What is known of one server; times are UTC.

    `failures` counts requests in a row that found nobody. `rounds` counts how often it was left alone since it was
    last reached, and `until` is when one request may look again (None: it is not left alone). `cause` says what the
    last failure was. `looked_at` is when that one request left, for as long as it is under way.
    """

    failures: int = 0
    rounds: int = 0
    until: datetime | None = None
    cause: str = ""
    looked_at: datetime | None = None

    def admits(self, now: datetime) -> bool:
        """Whether a request may go out; when the time has come it is one alone, until that one has ended."""
        return self.until is None or (self.looked_at is None and now >= self.until)

    def next_try_at(self, now: datetime, patience: timedelta) -> datetime:
        """When to come again after a refusal; `patience` is how long the request that looks may take."""
        if self.looked_at is not None:
            return max(now, self.looked_at + patience)
        return now if self.until is None else self.until

    def sent(self, now: datetime) -> "Breaker":
        """Know that an admitted request goes out."""
        return self if self.until is None else replace(self, looked_at=now)

    def failed(self, now: datetime, cause: str, jitter: float) -> "Breaker":
        """Know that a request found nobody; `jitter` from 0 to 1 spreads the next tries over a fifth of the wait.

        Failures of requests that were under way when the server was given up say nothing new.
        """
        if self.until is not None and self.looked_at is None:
            return self
        failures = self.failures + 1
        if failures < TRIES and self.until is None:
            return replace(self, failures=failures, cause=cause)
        wait = min(_FIRST * 2**self.rounds, _LONGEST) * (1 - jitter / 5)
        return Breaker(failures, min(self.rounds + 1, 10), now + wait, cause)

    def unsettled(self) -> "Breaker":
        """Know that a request ended and told nothing about whether the server can be reached."""
        return replace(self, looked_at=None)

    def hurried(self, now: datetime) -> "Breaker":
        """Let one request look at once, because a person asks or what stood in the way was put right."""
        return self if self.until is None else replace(self, until=min(self.until, now), looked_at=None)
