"""Turns: which resources may roll out now, where an installation limits how many do so at once.

A resource asks in each reconcile in which it wants to act, keeps its turn while it does, and gives it back when its
rollout has ended or failed, or when a reconcile wants none: it was suspended, changed or deleted. Nobody polls: who
waits is woken when it is its turn.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count

from mailtls.api.spec import Key


@dataclass(frozen=True, slots=True)
class Need:
    """Why a resource wants a turn: `has_begun` where pods have the certificate; it is urgent from `urgent_at` on."""

    has_begun: bool = False
    urgent_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """Whether a resource may roll out now; if not, how many do (`at_work`), and how many wait before it."""

    is_granted: bool
    at_work: int = 0
    before: int = 0


@dataclass(frozen=True, slots=True)
class _Waiting:
    need: Need
    ticket: int


@dataclass(slots=True)
class Turns:
    """Who has a turn and who waits; pure but for its own memory. At most `most` have one; None: no limit.

    What has begun goes first, so that it comes to its end, then what is urgent, then the namespace that has the fewest
    turns, and of those the one that was served least recently.
    """

    most: int | None = None
    _holders: dict[Key, None] = field(default_factory=dict)
    _waiting: dict[Key, _Waiting] = field(default_factory=dict)
    _served: dict[str, int] = field(default_factory=dict)
    _tickets: Iterator[int] = field(default_factory=count)

    def request(self, key: Key, need: Need, now: datetime) -> tuple[Turn, list[Key]]:
        """Return the turn of a resource, and others that have one now and do not know it yet."""
        if self.most is None or key in self._holders:
            self._holders[key] = None
            return Turn(is_granted=True), []
        before = self._waiting.get(key)
        self._waiting[key] = _Waiting(need, before.ticket if before else next(self._tickets))
        others = self._serve(now)
        if key in self._holders:
            return Turn(is_granted=True), [other for other in others if other != key]
        ahead = sorted(self._waiting, key=lambda each: self._rank(each, now)).index(key)
        return Turn(is_granted=False, at_work=len(self._holders), before=ahead), others

    def give_back(self, key: Key, now: datetime) -> list[Key]:
        """Take a turn, or a place in the line, away; return those that have a turn now."""
        self._holders.pop(key, None)
        self._waiting.pop(key, None)
        return self._serve(now)

    def restore(self, key: Key) -> None:
        """Know that a resource was rolling out when the process before ended."""
        self._holders[key] = None

    def at_work(self) -> int:
        """Return how many have a turn."""
        return len(self._holders)

    def waiting(self) -> int:
        """Return how many wait for one."""
        return len(self._waiting)

    def _serve(self, now: datetime) -> list[Key]:
        served = []
        while self._waiting and (self.most is None or len(self._holders) < self.most):
            key = min(self._waiting, key=lambda each: self._rank(each, now))
            del self._waiting[key]
            self._holders[key] = None
            self._served[key.namespace] = next(self._tickets)
            served.append(key)
        return served

    def _rank(self, key: Key, now: datetime) -> tuple[bool, bool, int, int, int]:
        waiting = self._waiting[key]
        is_urgent = waiting.need.urgent_at is not None and waiting.need.urgent_at <= now
        held = sum(holder.namespace == key.namespace for holder in self._holders)
        return not waiting.need.has_begun, not is_urgent, held, self._served.get(key.namespace, -1), waiting.ticket
