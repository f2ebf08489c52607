"""Which resource a Secret belongs to: of two that name the same one, the older keeps it."""

from collections.abc import Iterable
from threading import Lock

from mailtls.model.spec import Key
from mailtls.world.ports import Json
from mailtls.world.reading.document import InvalidSpec
from mailtls.world.reading.spec import secret_name

Claim = tuple[str, str, Key]  # created, uid, key: sorts by age, then by an arbitrary but fixed rule


class Claims:
    """An index of the resources by the Secret they name, fed by the watch; safe for threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._secret_of: dict[Key, tuple[str, str]] = {}
        self._claims: dict[tuple[str, str], set[Claim]] = {}

    def note(self, resource: Json) -> frozenset[Key]:
        """Learn of a new or changed resource; return the others whose right to a Secret may have changed."""
        meta = resource["metadata"]
        key = Key(meta["namespace"], meta["name"])
        place = _place(key, resource)
        with self._lock:
            before = self._secret_of.get(key)
            if before == place:
                return frozenset()
            rivals = self._drop(key)
            if place is not None:
                self._secret_of[key] = place
                self._claims.setdefault(place, set()).add((meta.get("creationTimestamp", ""), meta["uid"], key))
                rivals |= self._others(place, key)
            return frozenset(rivals)

    def forget(self, key: Key) -> frozenset[Key]:
        """Drop a resource that is gone; return those that waited for its Secret."""
        with self._lock:
            return frozenset(self._drop(key))

    def prime(self, resources: Iterable[Json]) -> None:
        """Learn of all resources at once, before the first of them is worked on."""
        for resource in resources:
            self.note(resource)

    def holder(self, namespace: str, secret_name: str) -> Key | None:
        """Return the oldest resource that names the Secret."""
        with self._lock:
            return min(self._claims.get((namespace, secret_name), ()), default=(None, None, None))[2]

    def _drop(self, key: Key) -> set[Key]:
        place = self._secret_of.pop(key, None)
        if place is None:
            return set()
        left = {claim for claim in self._claims[place] if claim[2] != key}
        if left:
            self._claims[place] = left
        else:
            del self._claims[place]
        return {claim[2] for claim in left}

    def _others(self, place: tuple[str, str], key: Key) -> set[Key]:
        return {claim[2] for claim in self._claims[place] if claim[2] != key}


def _place(key: Key, resource: Json) -> tuple[str, str] | None:
    try:
        return key.namespace, secret_name(resource)
    except InvalidSpec:
        return None
