"""What comes in from the watches, and which resources it is about; what only echoes our own writes wakes nobody."""

import random
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from threading import Event, Lock
from typing import Final

import structlog

from mailtls.api.reading.document import Json
from mailtls.api.resource import MANAGER, OWNER, decided, owner_of, resources_path
from mailtls.api.spec import Key
from mailtls.api.workload import WorkloadKind
from mailtls.kube.claims import Claims, ExternalSecrets, Listings
from mailtls.kube.interface import ApiError, Cluster, Unreachable
from mailtls.kube.secrets import Secrets
from mailtls.net.effects import ReconcileEnded
from mailtls.times import share_of

SWEEP: Final = 3600.0  # seconds between full lists
CALM: Final = 0.5  # seconds in which a workload's changes count as one: pods come and go in bursts
KINDS: Final = frozenset({"MailServerTLS", "Secret"})
log = structlog.get_logger()


class Seen:
    """The versions of objects that we wrote ourselves, so that their events are known. Bounded; safe for threads."""

    OBJECTS: Final = 20_000
    VERSIONS: Final = 16  # the events of a busy reconcile arrive late, and then all at once

    def __init__(self) -> None:
        self._lock = Lock()
        self._versions: OrderedDict[str, deque[str]] = OrderedDict()

    def record(self, written: Json) -> None:
        """Remember an object as the API server answered it to a write of ours."""
        meta = written.get("metadata") or {}
        if written.get("kind") not in KINDS or "uid" not in meta:
            return
        with self._lock:
            self._versions.setdefault(meta["uid"], deque(maxlen=self.VERSIONS)).append(meta["resourceVersion"])
            self._versions.move_to_end(meta["uid"])
            if len(self._versions) > self.OBJECTS:
                self._versions.popitem(last=False)

    def is_echo(self, seen: Json) -> bool:
        """Whether exactly this version is our own work."""
        meta = seen["metadata"]
        with self._lock:
            return meta["resourceVersion"] in self._versions.get(meta["uid"], ())

    def forget(self, gone: Json) -> None:
        """Drop an object that is gone."""
        with self._lock:
            self._versions.pop(gone["metadata"]["uid"], None)


class Intake:
    """Turns events into keys. Never waits and never raises, because it runs in the watches' event loop.

    Of a resource only what its user decides wakes it: generation, our annotations, deletion. The status is ours, so an
    event that changed nothing else is dropped, unless somebody else wrote it.
    """

    def __init__(
        self, add: Callable[[Key], None], add_after: Callable[[Key, float], None], claims: Claims, seen: Seen
    ) -> None:
        self._add, self._add_after, self._claims, self._seen = add, add_after, claims, seen
        self._listings = Listings()
        self.external = ExternalSecrets()
        self._lock = Lock()
        self._decided: dict[Key, bytes] = {}
        self._primed: set[Key] = set()  # those whose first listing is still to come
        self._events_meanwhile: set[Key] = set()  # those with an event since the last sweep began to list

    def prime(self, resources: Iterable[Json]) -> None:
        """Take in all resources before the watches start; their first listing then says nothing new."""
        for resource in resources:
            key = _key(resource)
            with self._lock:
                self._decided[key] = decided(resource)
                self._primed.add(key)
            self._wake(key, self._note(resource))

    def resource(self, change: str | None, resource: Json) -> None:
        """Take in an event of a MailServerTLS; `change` None means that it was listed."""
        key = _key(resource)
        with self._lock:
            self._events_meanwhile.add(key)
            if change == "DELETED":
                others = self._forget(key)
                self._seen.forget(resource)
            elif self._is_news(key, change, resource):
                others = self._note(resource)
            else:
                return
        self._wake(key, others)

    def secret(self, change: str, secret: Json) -> None:
        """Take in an event of a Secret that we labelled, its metadata: edited or deleted, its owner puts it right."""
        owner = (secret["metadata"].get("labels") or {}).get(OWNER)
        echo = change != "DELETED" and self._seen.is_echo(secret)
        if change == "DELETED":
            self._seen.forget(secret)
        if echo:
            return
        # Labels may have been changed with the rest: who names the Secret knows what should be in it.
        namespace, name = secret["metadata"]["namespace"], secret["metadata"]["name"]
        named, keeper = Key(namespace, owner) if owner else None, self._claims.holder(namespace, name)
        for key in dict.fromkeys((named, keeper)):
            if key is not None:
                self._add(key)

    def secrets_unseen(self) -> None:
        """Have all Secrets of our own looked at: what happened to them meanwhile is not known."""
        with self._lock:
            keys = tuple(self._decided)
        for key in keys:
            self._add(key)

    def external_secret(self, namespace: str, name: str) -> None:
        """Take in that a Secret changed that may not be ours: only those count that resources name."""
        for key in self.external.keys_of(namespace, name):
            self._add(key)

    def external_secrets_unseen(self) -> None:
        """Have all Secrets of others looked at: what happened to them meanwhile is not known."""
        for key in self.external.every_key():
            self._add(key)

    def left_behind(self, held: Iterable[Json]) -> None:
        """Take in the journals that open orders hold: whose resource went unseen, nobody else would ever close."""
        for owner in {found for secret in held if (found := owner_of(secret))}:
            with self._lock:
                is_known = owner in self._decided
            if not is_known:
                self._add(owner)

    def workload(self, change: str | None, kind: WorkloadKind, workload: Json) -> None:
        """Take in an event of a workload: when its pods change, those who list it look at them."""
        for key in self._listings.news(change, kind, workload):
            self._add_after(key, CALM)

    def sweep(self, list_all: Callable[[], Iterable[Json]]) -> None:
        """List everything: every resource is looked at, and those that vanished unseen are taken leave of.

        An event that comes meanwhile is newer than the list: such a resource is neither taken from the list nor missed
        in it.
        """
        with self._lock:
            known, self._events_meanwhile = set(self._decided), set()
        listed = set()
        for resource in list_all():
            listed.add(_key(resource))
            self._take_from_list(_key(resource), resource)
        for key in known - listed:
            self._take_from_list(key, None)

    def _take_from_list(self, key: Key, resource: Json | None) -> None:
        with self._lock:
            is_old = key in self._events_meanwhile
            if resource is not None and not is_old:
                before, self._decided[key] = self._decided.get(key), decided(resource)
                is_news = before != self._decided[key]
                others = self._note(resource)
                if not is_news and not others:  # nothing was missed: it is looked at in its own time, not with all
                    self._add_after(key, SWEEP * share_of(resource["metadata"]["uid"]))
                    return
            elif resource is None and not is_old:
                others = self._forget(key)
            else:
                others = ()
        self._wake(key, others)

    def _forget(self, key: Key) -> Iterable[Key]:
        self._decided.pop(key, None)
        self._primed.discard(key)
        self._listings.forget(key)
        self.external.forget(key)
        return self._claims.forget(key)

    def _note(self, resource: Json) -> Iterable[Key]:
        self._listings.note(resource)
        self.external.note(resource)
        return self._claims.note(resource)

    def _wake(self, key: Key, others: Iterable[Key]) -> None:
        for each in (key, *others):
            self._add(each)

    def _is_news(self, key: Key, change: str | None, resource: Json) -> bool:
        now, before = decided(resource), self._decided.get(key)
        self._decided[key] = now
        is_primed = key in self._primed
        self._primed.discard(key)
        if before != now:
            return True
        if change is None and not is_primed:  # listed anew after a gap in the watch: look at everything
            return True
        return _has_foreign_status(resource) and not self._seen.is_echo(resource)


class Sweeper:
    """Lists everything now and then: a watch that missed something must not leave a certificate alone for ever."""

    def __init__(self, cluster: Cluster, namespaces: tuple[str, ...], intake: Intake) -> None:
        self._cluster, self._namespaces, self._intake = cluster, namespaces, intake
        self._secrets = Secrets(cluster)

    def list(self) -> list[Json]:
        """Return all resources that are served."""
        places = self._namespaces or (None,)
        return [item for place in places for item in self._cluster.list(resources_path(place))]

    def look_for_open_orders(self) -> None:
        """Have the orders closed of resources that are gone: their journals would hold the namespace for ever."""
        self._intake.left_behind(self._secrets.held(self._namespaces))

    def run(self, stopping: Event, renew: Callable[[], None] = lambda: None) -> None:
        """Sweep about once an hour, until stopped; `renew` puts right what the process itself has published."""
        while not stopping.wait(SWEEP * random.uniform(0.9, 1.1)):  # noqa: S311 - spreads load
            try:
                renew()
                self._intake.sweep(self.list)
                self.look_for_open_orders()
            except (ApiError, Unreachable, ReconcileEnded) as problem:
                log.warning("the resources could not be listed", error=str(problem))


def _key(resource: Json) -> Key:
    return Key(resource["metadata"]["namespace"], resource["metadata"]["name"])


def _has_foreign_status(resource: Json) -> bool:
    entries = resource["metadata"].get("managedFields") or ()
    return any(entry.get("subresource") == "status" and entry.get("manager") != MANAGER for entry in entries)
