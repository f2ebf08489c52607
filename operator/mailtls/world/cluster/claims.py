"""Which resource a Secret belongs to: of two that need the same one, the older keeps it.

A resource needs three: the one that it names, and those that are called after it for the next key and the pair before.
"""

from collections.abc import Iterable, Mapping
from threading import Lock
from typing import Final

from mailtls.model.spec import Key
from mailtls.world.cluster.sharing import Sharing
from mailtls.world.ports import Json
from mailtls.world.reading.document import InvalidSpec
from mailtls.world.reading.spec import secret_name, workloads_listed

SUFFIXES: Final = ("", "-next", "-previous")
Claim = tuple[str, str, Key]  # created, uid, key: sorts by age, then by an arbitrary but fixed rule


class Claims:
    """An index of the resources by the Secret they name, fed by the watch; safe for threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._sharing = Sharing()
        self._secret_of: dict[Key, tuple[str, str]] = {}
        self._claims: dict[tuple[str, str], set[Claim]] = {}

    def note(self, resource: Json) -> frozenset[Key]:
        """Learn of a new or changed resource; return the others whose Secret or workload may be another's too now."""
        meta = resource["metadata"]
        key = Key(meta["namespace"], meta["name"])
        place, workloads = _place(key, resource), workloads_listed(resource)
        with self._lock:
            sharers = self._sharing.note(key, workloads)
            before = self._secret_of.get(key)
            if before == place:
                return sharers
            rivals = self._drop(key)
            if place is not None:
                self._secret_of[key] = place
                claim = (meta.get("creationTimestamp", ""), meta["uid"], key)
                for needed in _needed(*place):
                    self._claims.setdefault(needed, set()).add(claim)
                rivals |= self._others(place, key)
            return frozenset(rivals) | sharers

    def forget(self, key: Key) -> frozenset[Key]:
        """Drop a resource that is gone; return those that waited for its Secret, or shared a workload with it."""
        with self._lock:
            return frozenset(self._drop(key)) | self._sharing.note(key, frozenset())

    def sharers(self, key: Key) -> Mapping[str, tuple[str, ...]]:
        """Tell by workload (`StatefulSet/postfix`) which other resources name it too."""
        with self._lock:
            return self._sharing.others(key)

    def prime(self, resources: Iterable[Json]) -> None:
        """Learn of all resources at once, before the first of them is worked on."""
        for resource in resources:
            self.note(resource)

    def holder(self, namespace: str, secret_name: str) -> Key | None:
        """Return the oldest resource that needs one of the Secrets which one with this secretName needs."""
        with self._lock:
            claims = (claim for needed in _needed(namespace, secret_name) for claim in self._claims.get(needed, ()))
            return min(claims, default=(None, None, None))[2]

    def _drop(self, key: Key) -> set[Key]:
        place = self._secret_of.pop(key, None)
        if place is None:
            return set()
        rivals = self._others(place, key)
        for needed in _needed(*place):
            left = {claim for claim in self._claims[needed] if claim[2] != key}
            if left:
                self._claims[needed] = left
            else:
                del self._claims[needed]
        return rivals

    def _others(self, place: tuple[str, str], key: Key) -> set[Key]:
        claims = (claim for needed in _needed(*place) for claim in self._claims.get(needed, ()))
        return {claim[2] for claim in claims if claim[2] != key}


def _needed(namespace: str, secret_name: str) -> tuple[tuple[str, str], ...]:
    return tuple((namespace, f"{secret_name}{suffix}") for suffix in SUFFIXES)


def _place(key: Key, resource: Json) -> tuple[str, str] | None:
    try:
        return key.namespace, secret_name(resource)
    except InvalidSpec:
        return None
