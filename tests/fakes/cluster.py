"""A Kubernetes API in a dictionary, behind the `Cluster` Protocol: enough for objects, versions and conflicts."""

import copy
import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from mailtls.api.reading.document import Json
from mailtls.kube.connection import status_operations
from mailtls.kube.interface import ApiError, Conflict, Executed, Unreachable
from mailtls.net.effects import before_effect

Answer = Callable[[Sequence[str]], Executed]
_P = TypeVar("_P")


class FakeCluster:
    """Thread-safe; `requests` holds all that was asked (verb, path, detail), `writes` what was written.

    `answer` runs commands, `refuse` maps a verb to what the API server says instead; `is_down` makes every call fail.
    """

    def __init__(
        self,
        objects: Mapping[str, Json] | None = None,
        *,
        answer: Answer | None = None,
        refuse: Mapping[str, Exception] | None = None,
    ) -> None:
        self.objects: dict[str, Json] = copy.deepcopy(dict(objects or {}))
        self.answer, self.refuse = answer, dict(refuse or {})
        self.requests: list[tuple[str, str, Any]] = []
        self.writes: list[tuple[str, str]] = []
        self.reads: list[str] = []
        self.lists: list[str] = []
        self.is_down = False
        self._applied: dict[str, Json] = {}
        self._versions = itertools.count(2)  # no object ever has the store's first
        self._lock = threading.RLock()

    def get(self, path: str) -> Json | None:
        """Return a copy of the object at `path`."""
        with self._lock:
            self._enter("get", path)
            self.reads.append(path)
            return copy.deepcopy(self.objects.get(path))

    def list(self, path: str, *, label_selector: str = "") -> list[Json]:
        """Return copies of all objects right below `path`, in all namespaces where it names none.

        Takes `name=value` selectors only.
        """
        wanted = dict(term.split("=", 1) for term in label_selector.split(",") if term)
        with self._lock:
            self._enter("list", path, label_selector)
            self.lists.append(path)
            found = [each for name, each in self.objects.items() if path in _places(name)]
            return copy.deepcopy([each for each in found if wanted.items() <= _labels(each).items()])

    def list_metadata(self, path: str, pick: Callable[[Json], _P | None], *, label_selector: str = "") -> Sequence[_P]:
        """Return what `pick` makes of their metadata."""
        listed = self.list(path, label_selector=label_selector)
        return [found for each in listed if (found := pick({"metadata": each["metadata"]})) is not None]

    def create(self, path: str, body: Json) -> Json:
        """Store a new object."""
        target = f"{path}/{body['metadata']['name']}"
        with self._lock:
            self._enter("create", path, body)
            if target in self.objects:
                raise Conflict(409, "AlreadyExists", target)
            return self._store("create", target, body)

    def replace(self, path: str, body: Json) -> Json:
        """Store an object whose version is the newest."""
        with self._lock:
            self._enter("replace", path, body)
            self._check_version(path, body)
            return self._store("replace", path, body)

    def apply(self, path: str, body: Json) -> Json:
        """Merge `body` in, or create it; fields that were applied before and are left out now go.

        A version that `body` names counts only where there is an object.
        """
        with self._lock:
            self._enter("apply", path, body)
            if path in self.objects:
                self._check_version(path, body)
            kept = _without(self.objects.get(path, {}), self._applied.get(path, {}), body)
            stored = self._store("apply", path, _merged(kept, body))
            self._applied[path] = copy.deepcopy(body)
            return stored

    def merge(self, path: str, body: Json) -> Json:
        """Merge `body` in as RFC 7386 says."""
        with self._lock:
            self._enter("merge", path, body)
            self._check_version(path, body)
            return self._store("merge", path, _merged(self.objects[path], body))

    def report(self, path: str, uid: str, before: Json, after: Json) -> None:
        """Write the status of the very object, by the operations that the operator sends: they fail as a whole."""
        with self._lock:
            found = self.objects.get(path) or {"metadata": {"uid": uid}}
            if found["metadata"].get("uid") != uid:
                raise Conflict(409, "Conflict", path)
            status = found.get("status") or {}
            patched = _patched(found, status_operations(before, after))
            self.merge(f"{path}/status", {"status": _difference(status, patched.get("status") or {})})

    def delete(self, path: str, *, uid: str | None = None) -> None:
        """Remove the object."""
        with self._lock:
            self._enter("delete", path, uid)
            if uid is not None and path in self.objects and self.objects[path]["metadata"].get("uid") != uid:
                raise Conflict(409, "Conflict", path)
            self._before_effect()
            if self.objects.pop(path, None) is not None:
                self.writes.append(("delete", path))

    def execute(self, namespace: str, pod: str, container: str, command: Sequence[str], timeout: float) -> Executed:
        """Run a command by `answer`; without one there are no containers here."""
        assert timeout > 0
        before_effect()
        self._enter("execute", f"{namespace}/{pod}/{container}", tuple(command))
        if self.answer is None:
            raise ApiError(404, "NotFound", f"{namespace}/{pod}/{container}: {' '.join(command)}")
        return self.answer(command)

    def verbs(self) -> tuple[str, ...]:
        """Return the verbs of all requests in order."""
        return tuple(verb for verb, _, _ in self.requests)

    def _enter(self, verb: str, path: str, detail: Any = None) -> None:
        self.requests.append((verb, path, copy.deepcopy(detail)))
        if self.is_down:
            raise Unreachable("the API server is down")
        if verb in self.refuse:
            raise self.refuse[verb]

    def _check_version(self, path: str, body: Json) -> None:
        if path not in self.objects:
            raise ApiError(404, "NotFound", path)
        uid, version = ((body.get("metadata") or {}).get(name) for name in ("uid", "resourceVersion"))
        if uid is not None and uid != self.objects[path]["metadata"].get("uid"):
            raise Conflict(409, "Conflict", path)
        if version is not None and version != self.objects[path]["metadata"].get("resourceVersion"):
            raise Conflict(409, "Conflict", path)

    def _before_effect(self) -> None:
        """Call the guards of whoever writes, as a connection does right before it sends."""
        before_effect()

    def _store(self, verb: str, path: str, body: Json) -> Json:
        self._before_effect()
        stored = copy.deepcopy(body)
        meta = stored.setdefault("metadata", {})
        meta["resourceVersion"] = str(next(self._versions))
        if verb == "create" or path not in self.objects:
            meta.setdefault("uid", f"uid-of-{path}-{meta['resourceVersion']}")
        elif "uid" in self.objects[path].get("metadata", {}):
            meta.setdefault("uid", self.objects[path]["metadata"]["uid"])
        self.objects[path] = stored
        self.writes.append((verb, path))
        return copy.deepcopy(stored)


def _places(path: str) -> tuple[str, str]:
    """Where an object is listed: in its namespace, and in the whole cluster."""
    place = path.rsplit("/", 1)[0]
    api, _, rest = place.partition("/namespaces/")
    return place, f"{api}/{rest.rpartition('/')[2]}" if rest else place


def _labels(body: Json) -> dict[str, str]:
    return dict(body["metadata"].get("labels") or {})


def _without(old: Json, before: Json, now: Json) -> Json:
    """Leave out what `before` had and `now` has not, deep in the object too."""
    kept = {name: value for name, value in old.items() if name in now or name not in before}
    for name, value in kept.items():
        if all(isinstance(each, dict) for each in (value, before.get(name), now.get(name))):
            kept[name] = _without(value, before[name], now[name])
    return kept


def _patched(body: Json, operations: Sequence[Json]) -> Json:
    """Carry out operations of a JSON patch (RFC 6902) on members of objects, each of which has to be possible."""
    made = copy.deepcopy(body)
    for each in operations:
        *parents, name = each["path"].removeprefix("/").split("/")
        parent = made
        for member in parents:
            if member not in parent:
                raise ApiError(422, "Invalid", f"there is no {each['path']}")
            parent = parent[member]
        if each["op"] == "add":
            parent[name] = each["value"]
        elif parent.pop(name, None) is None:
            raise ApiError(422, "Invalid", f"there is no {each['path']}")
    return made


def _difference(before: Json, after: Json) -> Json:
    """Write the merge patch that makes the one of the other."""
    changed: Json = dict.fromkeys(before.keys() - after.keys())
    for name, value in after.items():
        if value != before.get(name):
            both = isinstance(value, dict) and isinstance(before.get(name), dict)
            changed[name] = _difference(before[name], value) if both else value
    return changed


def _merged(old: Json, patch: Json) -> Json:
    merged = dict(old)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            below = merged.get(name)
            merged[name] = _merged(below if isinstance(below, dict) else {}, value)
        else:
            merged[name] = value
    return merged
