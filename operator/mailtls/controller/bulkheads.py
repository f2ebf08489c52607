"""The bulkheads of the process: who may wait on something dead, and who has waited too long."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

from mailtls.api.spec import Desired, Key, Place
from mailtls.controller.compartments import Compartments
from mailtls.step import NoPlace, Step


@dataclass(slots=True)
class Permit:
    """A step on its way; `outcomes` is to be filled in with who answered, and left empty where that is not known."""

    begun: float
    outcomes: Mapping[Place, bool] = field(default_factory=dict)


class Bulkheads:
    """Keeps reconciles out of what is full; safe for threads.

    `wake` is called with each resource whose turn has come. `away` is entered while one waits on what may be dead.
    """

    def __init__(
        self,
        workers: int,
        wake: Callable[[Key], None] = lambda _key: None,
        away: Callable[[], AbstractContextManager[None]] = nullcontext,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._compartments, self._wake, self._monotonic, self._lock = Compartments(workers), wake, monotonic, Lock()
        self._away = away

    @property
    def most_in_doubt(self) -> int:
        """How many reconciles wait on what may be dead, at most."""
        return self._compartments.most_in_doubt

    def waiting(self) -> int:
        """Return how many resources wait for a place."""
        with self._lock:
            return self._compartments.waiting()

    def forget(self, key: Key) -> None:
        """Drop what is known of a resource that is gone."""
        with self._lock:
            self._compartments.forget(key)

    @contextmanager
    def reconciling(self, key: Key) -> Iterator["ReconcilePermits"]:
        """Begin a reconcile; what was given to the resource, and what it waits for, is taken back if it wants none."""
        with self._lock:
            given, waited = self._compartments.given(key), self._compartments.is_waiting(key)
        permits = ReconcilePermits(self, key)
        try:
            yield permits
        finally:
            self._take_back(permits, given, waited=waited)

    def _take_back(self, permits: "ReconcilePermits", given: object | None, *, waited: bool) -> None:
        """Give to others what the reconcile did not come to; what it was given meanwhile is for the next one."""
        with self._lock:
            is_unused = given is not None and self._compartments.given(permits.key) is given
            if not is_unused and (permits.has_asked or not waited):
                return
            others = self._compartments.turn_away(permits.key, self._monotonic())
        self._wake_all(others)

    @contextmanager
    def entered(self, key: Key, places: frozenset[Place]) -> Iterator[Permit]:
        """Hold the places meanwhile; raises `NoPlace` where there are none."""
        permit = Permit(self._monotonic())
        with self._lock:
            in_doubt = self._compartments.is_in_doubt(key, places, permit.begun)
            may_go, others = self._compartments.enter(key, places, permit.begun)
        self._wake_all(others)
        if not may_go:
            raise NoPlace(", ".join(sorted(map(str, places))))
        try:
            with self._away() if in_doubt else nullcontext():
                yield permit
        finally:
            with self._lock:
                others = self._compartments.leave(key, permit.outcomes, self._monotonic())
            self._wake_all(others)

    def seconds_since(self, permit: Permit) -> float:
        """Return how long a permit has been held so far."""
        return self._monotonic() - permit.begun

    def _wake_all(self, keys: list[Key]) -> None:
        for key in keys:
            self._wake(key)


@dataclass(slots=True)
class ReconcilePermits:
    """What one reconcile of one resource may wait on."""

    bulkheads: Bulkheads
    key: Key
    has_asked: bool = False

    @contextmanager
    def permit(self, places: frozenset[Place]) -> Iterator[Permit]:
        """Hold the places meanwhile; raises `NoPlace`."""
        if not places:
            yield Permit(0.0)
            return
        self.has_asked = True
        with self.bulkheads.entered(self.key, places) as permit:
            yield permit


GRACE: Final = 120.0
"""Seconds beyond the deadline: the last answer may be on its way, and a machine may be slow."""


@dataclass(frozen=True, slots=True)
class _Begun:
    step: str
    at: float
    seconds: float


class Watchdog:
    """Knows which step each resource is in, and until when it may last. Safe for threads."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic, self._lock = monotonic, Lock()
        self._begun: dict[Key, _Begun] = {}

    @contextmanager
    def watch(self, step: Step, desired: Desired) -> Iterator[None]:
        """Watch a step while it is performed."""
        allowed = step.deadline.seconds + GRACE
        with self._lock:
            self._begun[desired.key] = _Begun(step.name, self._monotonic(), allowed)
        try:
            yield
        finally:
            with self._lock:
                self._begun.pop(desired.key, None)

    def late(self) -> int:
        """Return how many workers have used up half of the time that their step may take: an early warning."""
        now = self._monotonic()
        with self._lock:
            return sum(now - each.at > each.seconds / 2 for each in self._begun.values())

    def stuck(self) -> str | None:
        """Say which worker is stuck, None where none is."""
        now = self._monotonic()
        with self._lock:
            late = [(now - each.at, key, each) for key, each in self._begun.items() if now - each.at > each.seconds]
        if not late:
            return None
        seconds, key, begun = max(late, key=lambda each: each[0])
        return f"a worker is stuck: {begun.step} of {key} has not ended for {seconds:.0f} seconds"
