"""Watches Secrets by their metadata alone, and keeps nothing of it: those of the operator, and those of others.

Anybody can write a Secret, with our label too, so that no watch may receive their contents: the API server sends
names and versions. A resource that is woken reads what it needs, one Secret at a time. After a gap all resources
concerned look themselves, so that no list is needed.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event, Thread
from typing import Final, Protocol

import structlog

from mailtls.api.reading.document import Json
from mailtls.api.resource import OURS, OWNER
from mailtls.controller.intake import Intake
from mailtls.kube.interface import ApiError, Unreachable
from mailtls.kube.pairs import path
from mailtls.net.backoff import WATCH

BOOKMARK: Final = "BOOKMARK"
ECHO_SECONDS: Final = 0.25  # a watch may be faster than the answer to the write that it reports
OWN: Final = {
    "labelSelector": OURS,
    "fieldSelector": "type=kubernetes.io/tls",  # the others are our journal: three events an issuance
}
"""What the watch of the operator's own Secrets selects: those that pods mount."""
KEPT: Final = ("namespace", "name", "uid", "resourceVersion")
log = structlog.get_logger()


class Changes(Protocol):
    """What of the Kubernetes API is needed here."""

    def version(self, path: str) -> str:
        """Return the version that a list has now."""

    def changes(self, path: str, version: str) -> Iterator[Json]:
        """Yield a bookmark of `version` once the server sends, and events after it; ends when the connection does."""


@dataclass(slots=True)
class _Place:
    """Where Secrets are listed, and how far they were followed there; no version: what happened is not known."""

    path: str
    version: str | None = None
    failures: int = 0

    def lose(self) -> None:
        """Begin anew the next time, as after a gap."""
        self.version, self.failures = None, self.failures + 1


class SecretWatch:
    """One thread for each namespace, or one for the whole cluster."""

    def __init__(self, cluster: Changes, namespaces: tuple[str, ...], intake: Intake, stopping: Event) -> None:
        self._cluster, self._intake, self._stopping = cluster, intake, stopping
        self._places = [_Place(path(namespace)) for namespace in namespaces] or [_Place("/api/v1/secrets")]
        self._threads = [
            Thread(target=self._run, args=(each,), name="secret-watch", daemon=True) for each in self._places
        ]

    def begin(self) -> None:
        """Remember that all Secrets are looked at after now; raises what `Changes` raises. May be left out."""
        for place in self._places:
            place.version = self._cluster.version(place.path)

    def start(self) -> None:
        """Begin; returns at once. The threads end with the process."""
        for each in self._threads:
            each.start()

    def is_alive(self) -> bool:
        """Whether every thread runs."""
        return all(each.is_alive() for each in self._threads)

    def _await_wanted(self) -> None:
        """Wait until there is something to watch."""

    def _unseen(self) -> None:
        """Have all Secrets looked at: what happened to them is not known."""
        raise NotImplementedError

    def _take(self, event: Json) -> None:
        """Take in what happened to one Secret."""
        raise NotImplementedError

    def _run(self, place: _Place) -> None:
        self._await_wanted()
        while not self._stopping.is_set():
            try:
                self._follow(place)
                place.failures = 0
            except (ApiError, Unreachable) as problem:
                place.lose()
                log.warning("the watch of Secrets ended", error=str(problem))
            except Exception:
                place.lose()
                log.exception("the watch of Secrets broke")
            # Whoever ends watches at once is not asked in a loop.
            self._stopping.wait(WATCH.after(place.failures).total_seconds())

    def _follow(self, place: _Place) -> None:
        """Follow the changes from where the last watch ended, or from now, until this one ends."""
        is_anew, version = place.version is None, place.version or self._cluster.version(place.path)
        for event in self._cluster.changes(place.path, version):
            place.version = event["object"]["metadata"]["resourceVersion"]
            if is_anew:
                self._unseen()
                is_anew = False
            if event["type"] != BOOKMARK:
                self._take(event)


class ExternalSecretWatch(SecretWatch):
    """Watches all Secrets for those that resources name and others write; no connection before there is one."""

    def _await_wanted(self) -> None:
        self._intake.external.wanted.wait()

    def _unseen(self) -> None:
        self._intake.external_secrets_unseen()

    def _take(self, event: Json) -> None:
        meta = event["object"]["metadata"]
        self._intake.external_secret(meta["namespace"], meta["name"])


class OwnSecretWatch(SecretWatch):
    """Watches the Secrets that the operator keeps: `cluster` selects them as `OWN` says.

    One thread more hands events over a moment after they came, as the answers to our own writes are known by then.
    """

    def __init__(self, cluster: Changes, namespaces: tuple[str, ...], intake: Intake, stopping: Event) -> None:
        super().__init__(cluster, namespaces, intake, stopping)
        self._fresh: SimpleQueue[tuple[float, str, Json]] = SimpleQueue()
        self._threads.append(Thread(target=self._hand_over, name="own-secrets", daemon=True))

    def _unseen(self) -> None:
        self._intake.secrets_unseen()

    def _take(self, event: Json) -> None:
        meta = event["object"]["metadata"]
        owner = (meta.get("labels") or {}).get(OWNER)
        kept = {**{name: meta[name] for name in KEPT}, "labels": {OWNER: owner}}  # the rest may be large
        self._fresh.put((time.monotonic() + ECHO_SECONDS, event["type"], kept))

    def _hand_over(self) -> None:
        while True:
            due, change, meta = self._fresh.get()
            self._stopping.wait(max(0.0, due - time.monotonic()))
            self._intake.secret(change, {"metadata": meta})
