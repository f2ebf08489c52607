"""Work and answers that several threads share: done once for all who want it, and forgotten in time."""

import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, Final, Generic, TypeVar

from mailtls.net.effects import ReconcileEnded

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
_MOST: Final = 10_000  # entries; names come from users, so memory must have an end


class Expiring(Generic[K, V]):
    """A mapping whose entries vanish `seconds` after they were put; `now` returns the seconds."""

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


T = TypeVar("T")


class Busy(Exception):
    """Another thread is still at it; come again in a moment."""


class SharedWork:
    """Thread-safe. Work is known by a name: who comes while it is under way shares its result, or its exception."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[Hashable, Future[Any]] = {}

    def do(self, name: Hashable, work: Callable[[], T], patience: float) -> T:
        """Do the work, or wait at most `patience` seconds for whoever does it; raises `Busy` after them.

        Work that ended because the other's reconcile had to end is done again: that says nothing about this one.
        """
        while True:
            with self._lock:
                others = self._under_way.get(name)
                if others is None:
                    mine = self._under_way[name] = Future()
            if others is None:
                return self._do(name, work, mine)
            try:
                result: T = others.result(patience)
            except ReconcileEnded:
                continue
            except TimeoutError:
                if others.done():
                    raise
                raise Busy from None
            return result

    def _do(self, name: Hashable, work: Callable[[], T], mine: Future[Any]) -> T:
        try:
            result = work()
        except BaseException as error:
            self._end(name)
            mine.set_exception(error)
            raise
        self._end(name)
        mine.set_result(result)
        return result

    def _end(self, name: Hashable) -> None:
        with self._lock:
            del self._under_way[name]
