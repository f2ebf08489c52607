"""A line in which parties take turns, and who has the fewest at work is first."""

from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K")


class Line(Generic[K]):
    """Keys that wait for a worker: the party with the fewest keys at work is next, and its keys come as they came.

    So whoever has hundreds of keys that take their time, for a server that answers slowly, say, has no more workers
    than others who want some. Among equals parties take turns.
    """

    def __init__(self, party: Callable[[K], Hashable]) -> None:
        self._party = party
        self._waiting: dict[Hashable, deque[K]] = {}  # the first is next
        self._length = 0
        self._at_work: dict[Hashable, int] = {}

    def __len__(self) -> int:
        """How many wait."""
        return self._length

    def append(self, key: K) -> None:
        """Put a key at the end of its party's."""
        self._waiting.setdefault(self._party(key), deque()).append(key)
        self._length += 1

    def pop(self) -> K:
        """Take the next one out, to be at work until `finished`; raises ValueError where none waits."""
        party = min(self._waiting, key=lambda each: self._at_work.get(each, 0))
        keys = self._waiting.pop(party)
        key = keys.popleft()
        if keys:
            self._waiting[party] = keys  # at the end
        self._length -= 1
        self._at_work[party] = self._at_work.get(party, 0) + 1
        return key

    def finished(self, key: K) -> None:
        """Know that the work on a key has ended."""
        party = self._party(key)
        self._at_work[party] -= 1
        if not self._at_work[party]:
            del self._at_work[party]
