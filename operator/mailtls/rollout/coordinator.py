"""The coordinator of an installation: hands out turns to all workers, and wakes whose turn has come."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from threading import Lock
from typing import Final

from mailtls.api.spec import Key
from mailtls.kube.interface import Conflict
from mailtls.net.effects import ReconcileEnded
from mailtls.rollout.turns import Need, Turn, Turns

SAME_AGAIN: Final = (Conflict, ReconcileEnded)
"""Reconciles that end by these come again at once, and go on."""


class Coordinator:
    """The turns of all workers; `wake` is called with each resource whose turn has come. Safe for threads."""

    def __init__(
        self,
        most: int | None = None,
        now: Callable[[], datetime] = datetime.now,
        wake: Callable[[Key], None] = lambda _key: None,
    ) -> None:
        self._turns, self._now, self._wake = Turns(most), now, wake
        self._lock, self._requested = Lock(), set[Key]()

    def request(self, key: Key, need: Need) -> Turn:
        """Return the turn of a resource; one that has to wait is woken when it comes."""
        with self._lock:
            self._requested.add(key)
            turn, others = self._turns.request(key, need, self._now())
        self._wake_all(others)
        return turn

    def give_back(self, key: Key) -> None:
        """End a turn."""
        with self._lock:
            self._requested.discard(key)
            others = self._turns.give_back(key, self._now())
        self._wake_all(others)

    def restore(self, key: Key) -> None:
        """Know that a resource was rolling out when the process before ended."""
        with self._lock:
            self._turns.restore(key, self._now())

    def waiting(self) -> int:
        """Return how many resources wait."""
        with self._lock:
            return self._turns.waiting()

    def at_work(self) -> int:
        """Return how many roll out."""
        with self._lock:
            return self._turns.at_work()

    @property
    def most(self) -> int | None:
        """How many may roll out at once; None: as many as like."""
        return self._turns.most

    def in_turn(self, reconcile: Callable[[Key], float | None]) -> Callable[[Key], float | None]:
        """Give the turn of a resource to another one where its reconcile has no use for it.

        One that comes again at once was cut short, as when somebody annotates the resource: it may not have come as far
        as to request the turn that it has.
        """

        def reconcile_in_turn(key: Key) -> float | None:
            with self.reconciling(key):
                delay = reconcile(key)
                if delay == 0.0:
                    self._requested.add(key)
                return delay

        return reconcile_in_turn

    @contextmanager
    def reconciling(self, key: Key) -> Iterator[None]:
        """Take back what a resource has and did not ask for in its reconcile, or could not use."""
        with self._lock:
            self._requested.discard(key)
        try:
            yield
        except SAME_AGAIN:
            raise
        except Exception:
            self.give_back(key)
            raise
        if key not in self._requested:
            self.give_back(key)

    def _wake_all(self, keys: list[Key]) -> None:
        for key in keys:
            self._wake(key)
