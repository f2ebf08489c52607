"""Sees workers that are stuck: in a step for longer than its deadline allows, so that only a restart helps."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Final

from mailtls.lifecycle.deadlines import deadline_of
from mailtls.lifecycle.step import Step
from mailtls.model.spec import Desired, Key

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
        allowed = deadline_of(step) + GRACE
        with self._lock:
            self._begun[desired.key] = _Begun(type(step).__name__, self._monotonic(), allowed)
        try:
            yield
        finally:
            with self._lock:
                self._begun.pop(desired.key, None)

    def late(self) -> int:
        """Return how many workers have used up half of the time that their step may take: told before it is over."""
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
