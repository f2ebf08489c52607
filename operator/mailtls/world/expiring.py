"""A thread-safe memory that forgets: for answers that are dear to ask for and true for a while."""

import threading
import time
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_MOST: Final = 10_000  # entries; names come from users, so memory must have an end


class Expiring(Generic[K, V]):
    """A mapping whose entries vanish `seconds` after they were put; `now` tells the seconds."""

    def __init__(self, seconds: float, most: int = _MOST, now: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._most, self._now = seconds, most, now
        self._entries: dict[K, tuple[float, V]] = {}  # in the order of their end: all live equally long
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        """Return what was put, None when it is too old or was never there."""
        with self._lock:
            ends_at, value = self._entries.get(key, (0.0, None))
        return value if self._now() < ends_at else None

    def put(self, key: K, value: V) -> V:
        """Remember `value`, and return it."""
        now = self._now()
        with self._lock:
            self._entries.pop(key, None)
            while self._entries and (len(self._entries) >= self._most or self._oldest_ends_at() <= now):
                del self._entries[next(iter(self._entries))]
            self._entries[key] = (now + self._seconds, value)
        return value

    def forget(self, key: K) -> None:
        """Ask anew the next time."""
        with self._lock:
            self._entries.pop(key, None)

    def _oldest_ends_at(self) -> float:
        return next(iter(self._entries.values()))[0]
