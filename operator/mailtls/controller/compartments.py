"""Bulkheads: what waits on one dead CA, DNS server or namespace takes at most a quarter of the workers.

A ship with bulkheads floats when one compartment is full of water. Here a compartment is a place that steps wait on, or
a namespace. Places that answered last time are not limited at all; those that did not, or were never tried, are.
"""

from collections import OrderedDict, deque
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from mailtls.api.spec import Key, Place, PlaceKind
from mailtls.context import Context
from mailtls.reasons.reason import Reason
from mailtls.step import Step

SLOW: Final = 10.0
"""Seconds: who takes longer is suspected to be dead; who is busy may take five for all requests at once."""
UNSEEN: Final = 3.0
"""Seconds after which pods and names under validation are dead where nothing was seen of them."""
MOST_PLACES: Final = 4096  # remembered; who is forgotten is as one that was never tried
Group = tuple[str, frozenset[Place], bool]
"""A namespace, what its resources wait on, and whether it is their own part of it that is known to be dead."""


@dataclass(frozen=True, slots=True)
class _Inside:
    """A resource that has its place, since when."""

    places: frozenset[Place]
    since: float


@dataclass(frozen=True, slots=True, eq=False)
class _Given:
    """A place that is kept for a resource which waited, until its next reconcile comes to it or ends."""

    places: frozenset[Place]


@dataclass(slots=True)
class Compartments:
    """Who is where, who waits, and who answered; pure but for its own memory. Times are monotonic seconds.

    A place is doubtful when it did not answer last time, was never tried, or holds somebody for longer than `SLOW`. Of
    pods and self-checks each resource has its own: one that answered is not doubtful whatever its neighbours do.
    Resources that go to a doubtful place are limited: to a quarter of the workers for each place and each
    namespace, to half of all where a place is known to have failed, and to three quarters otherwise, so that no number
    of dead places takes all. The others wait, by namespace and place; the group served least recently is
    first, so that none waits for ever.
    """

    workers: int
    _inside: dict[Key, _Inside] = field(default_factory=dict)
    _given: dict[Key, _Given] = field(default_factory=dict)
    _lines: OrderedDict[Group, deque[Key]] = field(default_factory=OrderedDict)
    _group_of: dict[Key, Group] = field(default_factory=dict)
    _answered: OrderedDict[Place, bool] = field(default_factory=OrderedDict)
    _own: dict[Key, dict[Place, bool]] = field(default_factory=dict)

    @property
    def share(self) -> int:
        """How many may wait on one doubtful place, or in one namespace on doubtful places."""
        return max(1, self.workers // 4)

    @property
    def most_in_doubt(self) -> int:
        """How many may wait on doubtful places at a time, in all."""
        return max(1, self.workers - self.share)

    def is_in_doubt(self, key: Key, places: Iterable[Place], now: float) -> bool:
        """Whether it is doubtful that these places answer the resource."""
        return any(self._doubts(key, place, now) for place in places)

    def enter(self, key: Key, places: frozenset[Place], now: float) -> tuple[bool, list[Key]]:
        """Take the places; False: the key waits now, and is named by a later call when it is its turn.

        The list is of others that may go on now.
        """
        others: list[Key] = []
        if not self.is_in_doubt(key, places, now):
            self._drop_from_line(key)  # but what was given to it is kept: it is on its way there
        elif (given := self._given.pop(key, None)) is None or given.places != places:
            group = (key.namespace, places, any(self._own_of(key, place) is False for place in places))
            if self._group_of.get(key) != group:
                self._drop_from_line(key)
                self._lines.setdefault(group, deque()).append(key)
                self._group_of[key] = group
            others = [each for each in self._serve(now) if each != key]
            if key in self._group_of:
                return False, others
            self._given.pop(key, None)
        self._inside[key] = _Inside(places, now)
        return True, others

    def leave(self, key: Key, outcomes: Mapping[Place, bool], now: float) -> list[Key]:
        """Give the places back and learn who answered; return those that may go on now."""
        self._inside.pop(key, None)
        for place, answered in outcomes.items():
            self._learn(key, place, answered=answered)
        return self._serve(now)

    def turn_away(self, key: Key, now: float) -> list[Key]:
        """Take back what was given to a key that does not want it any more; return those that may go on now."""
        self._given.pop(key, None)
        self._drop_from_line(key)
        return self._serve(now)

    def forget(self, key: Key) -> None:
        """Drop what is known of the pods of a resource that is gone."""
        self._own.pop(key, None)

    def waiting(self) -> int:
        """Return how many wait."""
        return len(self._group_of)

    def given(self, key: Key) -> object | None:
        """Return a token of the place that was given to the key and not taken yet, None without one."""
        return self._given.get(key)

    def is_waiting(self, key: Key) -> bool:
        """Whether the key waits."""
        return key in self._group_of

    def _learn(self, key: Key, place: Place, *, answered: bool) -> None:
        self._answered[place] = answered
        self._answered.move_to_end(place)
        if len(self._answered) > MOST_PLACES:
            self._answered.popitem(last=False)
        if place.differs_by_resource:
            self._own.setdefault(key, {})[place] = answered

    def _drop_from_line(self, key: Key) -> None:
        group = self._group_of.pop(key, None)
        if group is not None:
            self._lines[group].remove(key)
            if not self._lines[group]:
                del self._lines[group]

    def _serve(self, now: float) -> list[Key]:
        """Give places to those that wait, as far as there are any."""
        served: list[Key] = []
        while (key := self._next(now)) is not None:
            group = self._group_of[key]
            is_doubtful = self.is_in_doubt(key, group[1], now)
            self._drop_from_line(key)
            if group in self._lines:
                self._lines.move_to_end(group)
            if is_doubtful:
                self._given[key] = _Given(group[1])
            served.append(key)
        return served

    def _next(self, now: float) -> Key | None:
        """Return the first waiting key that may go: who waits for one place keeps its others from those behind."""
        inside, kept = self._doubtful_inside(now), set[Hashable]()
        for (namespace, places, _), line in self._lines.items():
            doubtful = [place for place in places if self._doubts(line[0], place, now)]
            if not doubtful:
                return line[0]
            wanted: set[Hashable] = {namespace, *doubtful}
            if not kept.isdisjoint(wanted) or not self._has_room(namespace, doubtful, inside):
                kept |= wanted
            elif len(inside) < self._most(doubtful):
                return line[0]
        return None

    def _has_room(
        self, namespace: str, doubtful: Iterable[Place], inside: Sequence[tuple[Key, frozenset[Place]]]
    ) -> bool:
        if sum(key.namespace == namespace for key, _ in inside) >= self.share:
            return False
        return all(sum(place in each for _, each in inside) < self.share for place in doubtful)

    def _most(self, doubtful: Iterable[Place]) -> int:
        has_failed = any(self._answered.get(place) is False for place in doubtful)
        return max(1, self.workers // 2) if has_failed else self.most_in_doubt

    def _doubtful_inside(self, now: float) -> list[tuple[Key, frozenset[Place]]]:
        found = []
        taken = [(key, each.places) for key, each in self._inside.items()]
        taken += [(key, each.places) for key, each in self._given.items()]
        for key, places in taken:
            doubtful = frozenset(place for place in places if self._doubts(key, place, now))
            if doubtful:
                found.append((key, doubtful))
        return found

    def _doubts(self, key: Key, place: Place, now: float) -> bool:
        if place.is_narrow:
            return True
        if (own := self._own_of(key, place)) is not None:
            return not own
        if self._answered.get(place) is not True:
            return True
        return any(self._blames(place, each, now) for each in self._inside.values())

    def _own_of(self, key: Key, place: Place) -> bool | None:
        return self._own.get(key, {}).get(place)

    def _blames(self, place: Place, inside: _Inside, now: float) -> bool:
        """Whether somebody has been there for long; where one of several places is known to be dead, it is that one."""
        if place not in inside.places or now - inside.since < SLOW:
            return False
        return not any(self._answered.get(other) is not True for other in inside.places if other != place)


_SILENCE: Final = {PlaceKind.CA: Reason.ACME_UNREACHABLE, PlaceKind.DNS: Reason.DNS_UNREACHABLE}


def outcomes(step: Step, places: frozenset[Place], context: Context, seconds: float) -> Mapping[Place, bool]:
    """Return which places answered a step that ended with this context, and which did not; unknown ones are missing.

    A step that says who was not reached blames nobody else; one that succeeded was answered, unless it took very long.
    Pods may be slow on purpose (a greeting is held back against spam): they are dead only where one of a slow step's
    probes saw no certificate.
    """
    failures = (context.issuance.failure, context.issuance.close_failure)
    blamed = silent(places, {failure.finding.reason for failure in failures if failure is not None})
    if blamed:
        return blamed
    if step.was_answered(context):
        return dict.fromkeys(places, True)
    return {place: seconds < (UNSEEN if place.differs_by_resource else SLOW) for place in places}


def silent(places: frozenset[Place], reasons: Collection[Reason]) -> dict[Place, bool]:
    """Return those of the places that did not answer, by the reasons that were given for it."""
    return {place: False for place in places if _SILENCE.get(place.kind) in reasons}
