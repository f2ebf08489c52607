"""Keys that wait: for a worker, where the group with the fewest at work is next, or for their time."""

import heapq
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from itertools import count
from typing import Generic, TypeVar

K = TypeVar("K")


class FairQueue(Generic[K]):
    """Keys that wait for a worker: the group with the fewest keys at work is next, and its keys come as they came.

    So whoever has hundreds of keys that take their time, for a server that answers slowly, say, has no more workers
    than others who want some. Among equals groups take turns.
    """

    def __init__(self, group: Callable[[K], Hashable]) -> None:
        self._group = group
        self._waiting: dict[Hashable, deque[K]] = {}  # the first is next
        self._length = 0
        self._at_work: dict[Hashable, int] = {}

    def __len__(self) -> int:
        """How many wait."""
        return self._length

    def append(self, key: K) -> None:
        """Put a key at the end of its group's."""
        self._waiting.setdefault(self._group(key), deque()).append(key)
        self._length += 1

    def pop(self) -> K:
        """Take the next one out, to be at work until `finished`; raises ValueError where none waits."""
        group = min(self._waiting, key=lambda each: self._at_work.get(each, 0))
        keys = self._waiting.pop(group)
        key = keys.popleft()
        if keys:
            self._waiting[group] = keys  # at the end
        self._length -= 1
        self._at_work[group] = self._at_work.get(group, 0) + 1
        return key

    def finished(self, key: K) -> None:
        """Know that the work on a key has ended."""
        group = self._group(key)
        self._at_work[group] -= 1
        if not self._at_work[group]:
            del self._at_work[group]


class Timers(Generic[K]):
    """The earliest time of each key, in a heap whose stale entries are dropped before they outnumber the live ones."""

    def __init__(self) -> None:
        self.due: dict[K, float] = {}
        self.heap: list[tuple[float, int, K]] = []
        self._ticket = count()

    def set(self, key: K, at: float) -> None:
        """Set the key's time unless it has an earlier one."""
        if at >= self.due.get(key, float("inf")):
            return
        self.due[key] = at
        heapq.heappush(self.heap, (at, next(self._ticket), key))
        if len(self.heap) > 2 * len(self.due) + 64:
            self.heap = [(at, next(self._ticket), key) for key, at in self.due.items()]
            heapq.heapify(self.heap)

    def drop(self, key: K) -> None:
        """Forget the key's time."""
        self.due.pop(key, None)

    def head(self) -> float | None:
        """Return the earliest time of all."""
        while self.heap and self.due.get(self.heap[0][2]) != self.heap[0][0]:
            heapq.heappop(self.heap)
        return self.heap[0][0] if self.heap else None

    def pop_due(self, now: float) -> Iterable[K]:
        """Take out the keys whose time has come."""
        while (at := self.head()) is not None and at <= now:
            key = heapq.heappop(self.heap)[2]
            del self.due[key]
            yield key
