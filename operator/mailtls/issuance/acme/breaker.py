"""Leaves a CA alone that cannot be reached: its time-outs must not take the workers."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from random import random
from typing import Final

import requests

from mailtls.issuance.acme.connection import CONNECT_SECONDS
from mailtls.issuance.acme.transport import NotAdmitted, NotHttps, Unfit
from mailtls.net.backoff import CA_GATE
from mailtls.net.effects import seconds_left
from mailtls.times import format_second

TRIES: Final = 3  # failures in a row before a server is left alone


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
        return Breaker(failures, self.rounds + 1, now + CA_GATE.after(self.rounds + 1, jitter), cause)

    def unsettled(self) -> "Breaker":
        """Know that a request ended, and that it says nothing about whether the server can be reached."""
        return replace(self, looked_at=None)

    def hurried(self, now: datetime) -> "Breaker":
        """Let one request through at once, because a person asks or what stood in the way was corrected."""
        return self if self.until is None else replace(self, until=min(self.until, now), looked_at=None)


_PATIENCE: Final = timedelta(seconds=CONNECT_SECONDS)
MOST_SERVERS: Final = 256


class LeftAlone(requests.ConnectionError):
    """The request was not sent, because the last ones found nobody; `next_try_at` in UTC."""

    def __init__(self, cause: str, failures: int, next_try_at: datetime) -> None:
        until = f"{format_second(next_try_at)}"
        super().__init__(f"{cause}; after {failures} failures to reach it, it is left alone, next try at {until}")
        self.next_try_at = next_try_at


class Gate:
    """One for each CA, shared by all accounts there; thread-safe."""

    def __init__(self, now: Callable[[], datetime], retried: Callable[[str], None] = lambda _kind: None) -> None:
        self._now, self._retried = now, retried
        self._breaker = Breaker()
        self._lock = threading.Lock()

    @contextmanager
    def passing(self, describe: Callable[[requests.RequestException], str]) -> Iterator[None]:
        """Let one request through, and learn from how it ends; raises `LeftAlone`.

        Only failures to connect and time-outs count: whoever answers is there, and what an account's own settings are
        at fault for (roots, addresses) says nothing to the others; nor does a request that had to end with its step.
        """
        is_told = _has_time_to_tell()
        self._enter()
        try:
            yield
        except (NotAdmitted, NotHttps, requests.exceptions.SSLError):
            self._note(Breaker.unsettled)
            raise
        except Unfit:
            self._note(lambda _known: Breaker())
            raise
        except requests.RequestException as error:
            failed = partial(self._failed, describe(error))
            self._note(failed if is_told else Breaker.unsettled)
            raise
        except BaseException:
            self._note(Breaker.unsettled)
            raise
        self._note(lambda _known: Breaker())

    def hurry(self) -> None:
        """Let one request through at once."""
        self._note(lambda known: known.hurried(self._now()))

    def _enter(self) -> None:
        now = self._now()
        with self._lock:
            known = self._breaker
            if known.admits(now):
                self._breaker = known.sent(now)
                return
        raise LeftAlone(known.cause, known.failures, known.next_try_at(now, _PATIENCE))

    def _failed(self, cause: str, known: Breaker) -> Breaker:
        failed = known.failed(self._now(), cause, random())  # noqa: S311 - jitter
        if failed.rounds > known.rounds:
            self._retried(CA_GATE.kind)
        return failed

    def _note(self, learn: Callable[[Breaker], Breaker]) -> None:
        with self._lock:
            self._breaker = learn(self._breaker)


class Gates:
    """The gates by directory URL; bounded, for tenants write the URLs."""

    def __init__(self, now: Callable[[], datetime], retried: Callable[[str], None] = lambda _kind: None) -> None:
        self._now, self._retried = now, retried
        self._gates: dict[str, Gate] = {}
        self._lock = threading.Lock()

    def of(self, directory_url: str) -> Gate:
        """Return the one for a CA."""
        with self._lock:
            gate = self._gates.pop(directory_url, None) or Gate(self._now, self._retried)
            while len(self._gates) >= MOST_SERVERS:
                del self._gates[next(iter(self._gates))]
            self._gates[directory_url] = gate  # the last is the one used last
            return gate


def _has_time_to_tell() -> bool:
    """Whether enough is left of the step to blame the server if no answer comes; raises `ReadTimeout` for none."""
    try:
        left = seconds_left()
    except TimeoutError as error:
        raise requests.ReadTimeout(str(error)) from error
    return left is None or left >= CONNECT_SECONDS
