"""Which resources claim a Secret or a workload: of two that need the same Secret, the older has it."""

from collections.abc import Iterable, Mapping
from threading import Event, Lock
from typing import Final

from mailtls.api.reading.document import InvalidSpec, Json
from mailtls.api.reading.spec import secret_name, workloads_listed
from mailtls.api.spec import Key
from mailtls.api.workload import WorkloadKind

Place = tuple[str, str]  # a namespace, and a workload in it: `StatefulSet/postfix`
TALK: Final = frozenset({"conditions"})  # the part of a workload's status that changes without its pods


class Listings:
    """An index of the resources by the workloads that they list, fed by the watches; safe for threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._listed_by: dict[Place, frozenset[Key]] = {}
        self._places: dict[Key, frozenset[Place]] = {}
        self._stood: dict[Place, Json] = {}  # only of those that somebody lists: a cluster has many others

    def note(self, resource: Json) -> None:
        """Learn of a new or changed resource."""
        meta = resource["metadata"]
        key = Key(meta["namespace"], meta["name"])
        self._replace(key, frozenset((key.namespace, each) for each in workloads_listed(resource)))

    def forget(self, key: Key) -> None:
        """Drop a resource that is gone."""
        self._replace(key, frozenset())

    def news(self, change: str | None, kind: WorkloadKind, workload: Json) -> frozenset[Key]:
        """Return the resources that should look at the workload's pods; `change` None means that it was listed.

        Its status counts pods that are ready, so it changes with every one of them. What is listed for the first time
        was there when the first reconcile looked; what is listed again follows a gap in the watch.
        """
        meta = workload["metadata"]
        place = meta["namespace"], f"{kind}/{meta['name']}"
        with self._lock:
            keys = self._listed_by.get(place)
            if keys is None:
                return frozenset()
            before, stands = self._stood.pop(place, None), _standing(workload)
            if change != "DELETED":
                self._stood[place] = stands
        if change is None:
            return frozenset() if before is None else keys
        return frozenset() if change != "DELETED" and before == stands else keys

    def _replace(self, key: Key, places: frozenset[Place]) -> None:
        with self._lock:
            before = self._places.pop(key, frozenset())
            if places:
                self._places[key] = places
            for place in places - before:
                self._listed_by[place] = self._listed_by.get(place, frozenset()) | {key}
            for place in before - places:
                left = self._listed_by.pop(place) - {key}
                if left:
                    self._listed_by[place] = left
                else:
                    self._stood.pop(place, None)


class ExternalSecrets:
    """An index of the resources whose Secret somebody else writes, by that Secret; safe for threads.

    `wanted` is set once there is one.
    """

    def __init__(self) -> None:
        self.wanted = Event()
        self._lock = Lock()
        self._place_of: dict[Key, tuple[str, str]] = {}
        self._keys: dict[tuple[str, str], frozenset[Key]] = {}

    def note(self, resource: Json) -> None:
        """Learn of a new or changed resource."""
        meta = resource["metadata"]
        key = Key(meta["namespace"], meta["name"])
        spec = resource.get("spec")
        is_external = isinstance(spec, dict) and spec.get("external") is not None
        self._replace(key, _place(key, resource) if is_external else None)
        if is_external:
            self.wanted.set()

    def forget(self, key: Key) -> None:
        """Drop a resource that is gone."""
        self._replace(key, None)

    def keys_of(self, namespace: str, name: str) -> frozenset[Key]:
        """Return the resources that name a Secret of somebody else."""
        with self._lock:
            return self._keys.get((namespace, name), frozenset())

    def every_key(self) -> tuple[Key, ...]:
        """Return all resources whose Secret somebody else writes."""
        with self._lock:
            return tuple(self._place_of)

    def _replace(self, key: Key, place: tuple[str, str] | None) -> None:
        with self._lock:
            before = self._place_of.pop(key, None)
            if before is not None:
                left = self._keys.pop(before) - {key}
                if left:
                    self._keys[before] = left
            if place is not None:
                self._place_of[key] = place
                self._keys[place] = self._keys.get(place, frozenset()) | {key}


def _standing(workload: Json) -> Json:
    """What a workload says about its pods: how many there should be, of which template, and how far they are."""
    meta, status = workload["metadata"], workload.get("status") or {}
    template = workload["spec"]["template"].get("metadata") or {}
    return {
        "uid": meta["uid"],
        "generation": meta.get("generation"),
        "annotations": template.get("annotations"),
        "status": {name: value for name, value in status.items() if name not in TALK},
    }


class Sharing:
    """An index of the resources by the workloads that they name. Not safe for threads: its owner holds a lock."""

    def __init__(self) -> None:
        self._workloads: dict[Key, frozenset[str]] = {}
        self._named_by: dict[tuple[str, str], set[Key]] = {}

    def note(self, key: Key, workloads: frozenset[str]) -> frozenset[Key]:
        """Learn what a resource names (`StatefulSet/postfix`); return the others for which that is news."""
        before = self._workloads.pop(key, frozenset())
        if workloads:
            self._workloads[key] = workloads
        concerned: set[Key] = set()
        for each in before ^ workloads:
            named_by = self._named_by.setdefault((key.namespace, each), set())
            (named_by.add if each in workloads else named_by.discard)(key)
            concerned |= named_by - {key}
            if not named_by:
                del self._named_by[key.namespace, each]
        return frozenset(concerned)

    def others(self, key: Key) -> Mapping[str, tuple[str, ...]]:
        """Return by workload the names of the other resources that name it too; a workload of its own is left out."""
        named = sorted(self._workloads.get(key, ()))
        others = {each: self._named_by[key.namespace, each] - {key} for each in named}
        return {each: tuple(sorted(other.name for other in keys)) for each, keys in others.items() if keys}


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
        """Return by workload (`StatefulSet/postfix`) which other resources name it too."""
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
