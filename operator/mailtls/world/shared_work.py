"""Lets one thread do what several want at the same moment, while no lock is held and nobody waits for long."""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, TypeVar

from mailtls.world.effects import PassEnded

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

        Work that ended because the other's pass had to end is done again: that says nothing about this one.
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
            except PassEnded:
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
