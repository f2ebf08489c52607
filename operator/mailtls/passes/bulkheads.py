"""The bulkheads of the process: passes take places before steps that may wait, and give their worker back if not."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from threading import Lock

from mailtls.api.place import Place
from mailtls.model.spec import Key
from mailtls.passes.compartments import Compartments


class NoPlace(Exception):
    """Too many wait on the same already: the pass ends, and its resource is woken when it is its turn."""


@dataclass(slots=True)
class Errand:
    """A step on its way; `outcomes` is to be filled in with who answered, and left empty where that is not known."""

    begun: float
    outcomes: Mapping[Place, bool] = field(default_factory=dict)


class Bulkheads:
    """Keeps passes out of what is full; safe for threads.

    `wake` is called with each resource whose turn has come. `away` is entered while a pass waits on what may be dead.
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
        """How many passes wait on what may be dead, at most."""
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
    def visiting(self, key: Key) -> Iterator["Visit"]:
        """Begin a pass; what was given to the resource, and what it waits for, is taken back if the pass wants none."""
        with self._lock:
            given, waited = self._compartments.given(key), self._compartments.is_waiting(key)
        visit = Visit(self, key)
        try:
            yield visit
        finally:
            if not visit.has_asked and (given is not None or waited):
                with self._lock:
                    others = self._compartments.turn_away(key, self._monotonic())
                self._wake_all(others)

    @contextmanager
    def entered(self, key: Key, places: frozenset[Place]) -> Iterator[Errand]:
        """Hold the places meanwhile; raises `NoPlace` where there are none."""
        errand = Errand(self._monotonic())
        with self._lock:
            in_doubt = self._compartments.is_in_doubt(key, places, errand.begun)
            may_go, others = self._compartments.enter(key, places, errand.begun)
        self._wake_all(others)
        if not may_go:
            raise NoPlace(", ".join(sorted(map(str, places))))
        try:
            with self._away() if in_doubt else nullcontext():
                yield errand
        finally:
            with self._lock:
                others = self._compartments.leave(key, errand.outcomes, self._monotonic())
            self._wake_all(others)

    def seconds_since(self, errand: Errand) -> float:
        """Return how long an errand has taken so far."""
        return self._monotonic() - errand.begun

    def _wake_all(self, keys: list[Key]) -> None:
        for key in keys:
            self._wake(key)


@dataclass(slots=True)
class Visit:
    """One pass over one resource."""

    bulkheads: Bulkheads
    key: Key
    has_asked: bool = False

    @contextmanager
    def errand(self, places: frozenset[Place]) -> Iterator[Errand]:
        """Hold the places meanwhile; raises `NoPlace`."""
        if not places:
            yield Errand(0.0)
            return
        self.has_asked = True
        with self.bulkheads.entered(self.key, places) as errand:
            yield errand
