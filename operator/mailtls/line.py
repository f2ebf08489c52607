"""A line in which parties take turns."""

from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K")


class Line(Generic[K]):
    """Keys that wait for a worker: parties take turns, and those of one party come as they came.

    So whoever has hundreds of keys that take their time keeps nobody else waiting for more than a turn.
    """

    def __init__(self, party: Callable[[K], Hashable]) -> None:
        self._party = party
        self._waiting: dict[Hashable, deque[K]] = {}  # the first is next
        self._length = 0

    def __len__(self) -> int:
        """How many wait."""
        return self._length

    def append(self, key: K) -> None:
        """Put a key at the end of its party's."""
        self._waiting.setdefault(self._party(key), deque()).append(key)
        self._length += 1

    def pop(self) -> K:
        """Take the next one out; raises StopIteration where none waits."""
        party = next(iter(self._waiting))
        keys = self._waiting.pop(party)
        key = keys.popleft()
        if keys:
            self._waiting[party] = keys  # at the end
        self._length -= 1
        return key
