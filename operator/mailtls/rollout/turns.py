"""Turns: which resources may roll out now, where an installation limits how many do so at once.

A resource requests one in each reconcile in which it wants to act, keeps it while it does, and gives it back when its
rollout has ended or failed, or when a reconcile wants none: it was suspended, changed or deleted. Nobody polls: who
waits is woken when it is its turn.

Nobody can keep the others waiting for ever, whatever their pods do and their specs say: a rollout that stands still
counts no more after a while, and who has waited for long goes before all who say that they are in a hurry.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Final

from mailtls.api.spec import Key

STANDSTILL: Final = timedelta(minutes=15)
"""After how long without another port that serves the certificate a rollout is not counted among those at work."""
LONG_WAIT: Final = timedelta(hours=2)
"""After how long in the line a resource goes before those that came later, whatever these need."""


@dataclass(frozen=True, slots=True)
class Need:
    """Why a resource wants a turn: `has_begun` where pods have the certificate; it is urgent from `urgent_at` on.

    `left` is how many ports do not serve the certificate yet.
    """

    has_begun: bool = False
    urgent_at: datetime | None = None
    left: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """Whether a resource may roll out now; if not, how many do (`at_work`), and how many wait before it.

    `again_at` is when one of those is not counted any more, unless it gets on.
    """

    is_granted: bool
    at_work: int = 0
    before: int = 0
    again_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Waiting:
    need: Need
    ticket: int
    since: datetime


@dataclass(frozen=True, slots=True)
class _Held:
    """A turn: how few ports were left at best, and since when."""

    since: datetime
    left: int | None = None

    def after(self, need: Need, now: datetime) -> "_Held":
        is_further = self.left is None or need.left < self.left
        return _Held(now if is_further and self.left is not None else self.since, need.left) if is_further else self


@dataclass(slots=True)
class Turns:
    """Who has a turn and who waits; pure but for its own memory. At most `most` have one; None: no limit.

    What has waited for long goes first, then what has begun, so that it comes to its end, then what is urgent, then the
    namespace that has the fewest turns, and of those the one that was served least recently.
    """

    most: int | None = None
    _holders: dict[Key, _Held] = field(default_factory=dict)
    _waiting: dict[Key, _Waiting] = field(default_factory=dict)
    _served: dict[str, int] = field(default_factory=dict)
    _tickets: Iterator[int] = field(default_factory=count)

    def request(self, key: Key, need: Need, now: datetime) -> tuple[Turn, list[Key]]:
        """Return the turn of a resource, and others that have one now and do not know it yet."""
        if self.most is None or key in self._holders:
            self._holders[key] = self._holders.get(key, _Held(now)).after(need, now)
            return Turn(is_granted=True), []
        before = self._waiting.get(key)
        ticket, since = (before.ticket, before.since) if before else (next(self._tickets), now)
        self._waiting[key] = _Waiting(need, ticket, since)
        others = self._serve(now)
        if key in self._holders:
            return Turn(is_granted=True), [other for other in others if other != key]
        ahead = sorted(self._waiting, key=lambda each: self._rank(each, now)).index(key)
        at_work = [held.since for held in self._at_work(now)]
        return Turn(is_granted=False, at_work=len(at_work), before=ahead, again_at=min(at_work) + STANDSTILL), others

    def give_back(self, key: Key, now: datetime) -> list[Key]:
        """Take a turn, or a place in the line, away; return those that have a turn now."""
        self._holders.pop(key, None)
        self._waiting.pop(key, None)
        return self._serve(now)

    def restore(self, key: Key, now: datetime) -> None:
        """Know that a resource was rolling out when the process before ended."""
        self._holders[key] = _Held(now)

    def at_work(self) -> int:
        """Return how many have a turn, with those that stand still."""
        return len(self._holders)

    def waiting(self) -> int:
        """Return how many wait for one."""
        return len(self._waiting)

    def _serve(self, now: datetime) -> list[Key]:
        served = []
        while self._waiting and (self.most is None or len(self._at_work(now)) < self.most):
            key = min(self._waiting, key=lambda each: self._rank(each, now))
            self._holders[key] = _Held(now, self._waiting.pop(key).need.left)
            self._served[key.namespace] = next(self._tickets)
            served.append(key)
        return served

    def _at_work(self, now: datetime) -> list[_Held]:
        return [held for held in self._holders.values() if now - held.since < STANDSTILL]

    def _rank(self, key: Key, now: datetime) -> tuple[bool, bool, bool, int, int, int]:
        waiting = self._waiting[key]
        if now - waiting.since >= LONG_WAIT:
            return False, False, False, 0, 0, waiting.ticket
        is_urgent = waiting.need.urgent_at is not None and waiting.need.urgent_at <= now
        held = sum(holder.namespace == key.namespace for holder in self._holders)
        served = self._served.get(key.namespace, -1)
        return True, not waiting.need.has_begun, not is_urgent, held, served, waiting.ticket
