"""Which resources list a workload: a change of its pods is news for them, and all other workloads are nobody's."""

from threading import Lock
from typing import Final

from mailtls.model.spec import Key, WorkloadKind
from mailtls.world.ports import Json
from mailtls.world.reading.spec import workloads_listed

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
        was there when the first pass looked; what is listed again follows a gap in the watch.
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


def _standing(workload: Json) -> Json:
    """What of a workload tells of its pods: how many there should be, of which template, and how far they are."""
    meta, status = workload["metadata"], workload.get("status") or {}
    template = workload["spec"]["template"].get("metadata") or {}
    return {
        "uid": meta["uid"],
        "generation": meta.get("generation"),
        "annotations": template.get("annotations"),
        "status": {name: value for name, value in status.items() if name not in TALK},
    }
