"""A Kubernetes API server that tells watches of what is written, with the controllers that simulated objects need.

It is what a dictionary with versions is not: it counts generations, keeps objects that a finalizer holds, collects
what has lost its owner, and tells of each change.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from fakes.cluster import FakeCluster
from fakes.simulation.runtime import Runtime
from mailtls.api.reading.document import Json
from mailtls.kube.interface import ApiError, Conflict, Executed
from mailtls.net.effects import before_effect

READS: Final = frozenset({"get", "list"})
Watch = Callable[[str, Json], None]
_P = TypeVar("_P")
Run = Callable[[str, str, str, Sequence[str], float], Executed]
KINDS: Final = {
    "mailservertls": "MailServerTLS",
    "secrets": "Secret",
    "pods": "Pod",
    "statefulsets": "StatefulSet",
    "events": "Event",
}


@dataclass(frozen=True)
class Write:
    """What was written, by whom, and what stood there before and stands there now."""

    process: str
    verb: str
    path: str
    before: Json | None
    after: Json | None


class ApiServer(FakeCluster):
    """`watches` are called with each change, `audits` with each write before anybody else."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__()
        self.runtime = runtime
        self.watches: list[Watch] = []
        self.audits: list[Callable[[Write], None]] = []
        self.run: Run = lambda *_: Executed(0, "", "")
        self.on_evict: Callable[[Json], None] = lambda _pod: None
        self.actor: str | None = None  # who writes, where it is not the process that runs
        self._uids = 0

    def _enter(self, verb: str, path: str, detail: Any = None) -> None:
        """Let every request in, and keep no list of them: there are many."""

    def put(self, path: str, body: Json) -> Json:
        """Create an object as a user, or a controller, does."""
        return self._store("create", path, body)

    def edit(self, path: str, change: Callable[[Json], None]) -> Json:
        """Change an object as a user does."""
        changed = copy.deepcopy(self.objects[path])
        change(changed)
        return self._store("replace", path, changed)

    def remove(self, path: str) -> None:
        """Delete an object as a user does; what a finalizer holds stays until it lets go."""
        found = self.objects.get(path)
        if found is None:
            return
        if found["metadata"].get("finalizers"):
            if "deletionTimestamp" not in found["metadata"]:
                self.edit(path, lambda body: body["metadata"].update(deletionTimestamp=self._time()))
            return
        self._drop(path)

    def delete(self, path: str, *, uid: str | None = None) -> None:
        """Delete for the operator; another object that has the name by now stays."""
        found = self.objects.get(path)
        if uid is None or (found is not None and found["metadata"].get("uid") == uid):
            self.remove(path)

    def create(self, path: str, body: Json) -> Json:
        """Store a new object, or evict a pod."""
        if not path.endswith("/eviction"):
            return super().create(path, body)
        pod = path.removesuffix("/eviction")
        found = self.objects.get(pod)
        if found is None:
            raise ApiError(404, "NotFound", pod)
        if found["metadata"]["uid"] != body["deleteOptions"]["preconditions"]["uid"]:
            raise Conflict(409, "Conflict", pod)
        self.on_evict(found)
        self.remove(pod)
        return {"kind": "Status", "metadata": {}, "status": "Success"}

    def merge(self, path: str, body: Json) -> Json:
        """Merge; the status is a part of its object that counts no generation."""
        target = path.removesuffix("/status")
        if target == path:
            return super().merge(path, body)
        return super().merge(target, {"status": body["status"]})

    def execute(self, namespace: str, pod: str, container: str, command: Sequence[str], timeout: float) -> Executed:
        """Run a command in a container."""
        return self.run(namespace, pod, container, command, timeout)

    def _before_effect(self) -> None:
        """Leave that to the connection: guards send requests, during which others run, and nobody may hold a lock."""

    def _store(self, verb: str, path: str, body: Json) -> Json:
        before = copy.deepcopy(self.objects.get(path))
        if before is None and "namespace" not in body.setdefault("metadata", {}) and "/namespaces/" in path:
            body = copy.deepcopy(body)
            body["metadata"]["namespace"] = path.split("/namespaces/")[1].split("/", maxsplit=1)[0]
        stored = super()._store(verb, path, body)
        own = self.objects[path]
        meta = own["metadata"]
        own.setdefault("kind", KINDS.get(path.split("/")[-2], "Other"))
        if before is None:
            self._uids += 1
            meta.setdefault("name", path.rsplit("/", 1)[1])
            meta.update(uid=f"uid-{self._uids}", creationTimestamp=self._time())
            meta.setdefault("generation", 1)
        elif own.get("spec") != before.get("spec"):
            meta["generation"] = before["metadata"].get("generation", 0) + 1
        for name in ("uid", "creationTimestamp"):
            if before is not None and name in before["metadata"]:
                meta[name] = before["metadata"][name]
        if meta.get("finalizers") is None:
            meta.pop("finalizers", None)
        stored = copy.deepcopy(own)
        if before is None and self._has_lost_its_owners(own):
            self.runtime.spawn(lambda: self._collect_later(path), f"collects {path}", "kube")
        self._tell(Write(self._writer(), verb, path, before, stored))
        if "deletionTimestamp" in meta and not meta.get("finalizers"):
            self._drop(path)
        return stored

    def _drop(self, path: str) -> None:
        gone = self.objects.pop(path)
        self._applied.pop(path, None)
        self.writes.append(("delete", path))
        gone["metadata"]["resourceVersion"] = str(next(self._versions))
        self._tell(Write(self._writer(), "delete", path, gone, None))
        self._collect(gone["metadata"].get("uid"))

    def _collect(self, uid: str | None) -> None:
        """Delete what the object that is gone has owned."""
        for path, body in list(self.objects.items()):
            if any(owner.get("uid") == uid for owner in body["metadata"].get("ownerReferences") or ()):
                self.remove(path)

    def _has_lost_its_owners(self, body: Json) -> bool:
        owners = {owner["uid"] for owner in body["metadata"].get("ownerReferences") or ()}
        return bool(owners) and owners.isdisjoint(each["metadata"].get("uid") for each in self.objects.values())

    def _collect_later(self, path: str) -> None:
        self.runtime.sleep(1.0)
        if path in self.objects and self._has_lost_its_owners(self.objects[path]):
            self.remove(path)

    def _tell(self, write: Write) -> None:
        for audit in self.audits:
            audit(write)
        change = "ADDED" if write.before is None else "DELETED" if write.after is None else "MODIFIED"
        told = write.after or write.before
        for watch in self.watches:
            watch(change, copy.deepcopy(told or {}))

    def _writer(self) -> str:
        return self.actor or self.runtime.current.process

    def _time(self) -> str:
        return self.runtime.now().strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Connection:
    """One process's way to the API server: `before` is called ahead of each request, and may fail or delay it.

    `before` returns what the answer is replaced by once the request has had its effect, None where it arrives.
    """

    server: ApiServer
    before: Callable[[str, str], Exception | None]
    after: Callable[[], None]
    written: Callable[[str, Json], None] = lambda _verb, _answer: None

    def get(self, path: str) -> Json | None:
        """Read."""
        self._enter("get", path)
        return self.server.get(path)

    def list(self, path: str, *, label_selector: str = "") -> list[Json]:
        """Read many."""
        self._enter("list", path)
        return self.server.list(path, label_selector=label_selector)

    def list_metadata(self, path: str, pick: Callable[[Json], _P | None], *, label_selector: str = "") -> Sequence[_P]:
        """Read what many are called."""
        self._enter("list", path)
        return self.server.list_metadata(path, pick, label_selector=label_selector)

    def create(self, path: str, body: Json) -> Json:
        """Write a new object."""
        lost = self._enter("create", path)
        return self._answered("create", self.server.create(path, body), lost)

    def replace(self, path: str, body: Json) -> Json:
        """Write over an object."""
        lost = self._enter("replace", path)
        return self._answered("replace", self.server.replace(path, body), lost)

    def apply(self, path: str, body: Json) -> Json:
        """Write our fields."""
        lost = self._enter("apply", path)
        return self._answered("apply", self.server.apply(path, body), lost)

    def merge(self, path: str, body: Json) -> Json:
        """Write some fields."""
        lost = self._enter("merge", path)
        return self._answered("merge", self.server.merge(path, body), lost)

    def report(self, path: str, uid: str, before: Json, after: Json) -> None:
        """Write the status."""
        lost = self._enter("report", path)
        self.server.report(path, uid, before, after)
        self._answered("report", {}, lost)

    def delete(self, path: str, *, uid: str | None = None) -> None:
        """Delete."""
        lost = self._enter("delete", path)
        self.server.delete(path, uid=uid)
        self.after()
        if lost is not None:
            raise lost

    def execute(self, namespace: str, pod: str, container: str, command: Sequence[str], timeout: float) -> Executed:
        """Run a command."""
        lost = self._enter("exec", f"{namespace}/{pod}/{command[0]}")
        done = self.server.execute(namespace, pod, container, command, timeout)
        self.after()
        if lost is not None:
            raise lost
        return done

    def _enter(self, verb: str, path: str) -> Exception | None:
        lost = self.before(verb, path)
        if verb not in READS:
            before_effect()
        return lost

    def _answered(self, verb: str, answer: Json, lost: Exception | None) -> Json:
        self.after()
        if lost is not None:
            raise lost
        self.written(verb, answer)
        return answer
