"""What the page shows: all resources, listed and then watched by each replica for itself, whoever leads.

It has its own watch, so that the page goes on while a leader hangs or changes, and nothing of the page is in its way.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from threading import Event, Lock, Thread
from typing import Final, Protocol

import structlog

from mailtls.api.reading.document import Json
from mailtls.api.resource import resources_path
from mailtls.api.resource_view import ResourceView
from mailtls.api.spec import Key
from mailtls.kube.interface import ApiError, Unreachable
from mailtls.kube.resource_views import view
from mailtls.net.backoff import WATCH
from mailtls.page.story import MOST_ENDPOINTS, MOST_LINES
from mailtls.times import Clock

BOOKMARK: Final = "BOOKMARK"
log = structlog.get_logger()


class Lists(Protocol):
    """What lists."""

    def list(self, path: str, *, label_selector: str = "") -> list[Json]:
        """Return all items."""


class Changes(Protocol):
    """What watches."""

    def version(self, path: str) -> str:
        """Return the version that a list has now."""

    def changes(self, path: str, version: str) -> Iterator[Json]:
        """Yield events after `version`; ends when the server ends it."""


class Feed:
    """Keeps what is shown of each resource, and no more; safe for threads. One thread for each namespace, or one."""

    def __init__(
        self,
        cluster: Lists,
        watch: Changes,
        namespaces: tuple[str, ...],
        clock: Clock,
        stopping: Event,
        *,
        docs_url: str = "",
    ) -> None:
        self._docs_url = docs_url
        self._cluster, self._watch, self._clock, self._stopping = cluster, watch, clock, stopping
        self._lock = Lock()
        self._heard: dict[str, datetime | None] = dict.fromkeys(map(resources_path, namespaces or (None,)))
        self._known: dict[str, dict[Key, ResourceView]] = {path: {} for path in self._heard}
        self._sorted: tuple[ResourceView, ...] | None = None

    def start(self) -> None:
        """Begin; returns at once. The threads end with the process."""
        for path in self._heard:
            Thread(target=self._run, args=(path,), name="page-feed", daemon=True).start()

    def heard_at(self) -> datetime | None:
        """Return since when nothing is sure, None while not all was listed yet."""
        with self._lock:
            times = [each for each in self._heard.values() if each is not None]
            return min(times) if len(times) == len(self._heard) else None

    def views(self, wanted: Callable[[Key], bool]) -> tuple[ResourceView, ...]:
        """Return the resources whose key is wanted, by namespace and name."""
        with self._lock:
            if self._sorted is None:
                every = (each for of_path in self._known.values() for each in of_path.values())
                self._sorted = tuple(sorted(every, key=lambda each: each.key))
            found = self._sorted
        return tuple(each for each in found if wanted(each.key))

    def _run(self, path: str) -> None:
        failures = 0
        while not self._stopping.wait(WATCH.after(failures).total_seconds() if failures else 0):
            failures = 1 if self._follow(path) else failures + 1

    def _follow(self, path: str) -> bool:
        """List, then follow the changes until that fails; return whether it had begun."""
        has_begun = False
        try:
            version = self._watch.version(path)  # before the list: what changes meanwhile comes again
            self._take_all(path, self._cluster.list(path))
            has_begun = True
            while not self._stopping.is_set():
                for event in self._watch.changes(path, version):
                    version = event["object"]["metadata"]["resourceVersion"]
                    self._take(path, event)
                self._stopping.wait(WATCH.first.total_seconds())
        except (ApiError, Unreachable) as problem:
            log.warning("the status page's watch ended", error=str(problem))
        except Exception:
            log.exception("the status page's watch broke")
        return has_begun

    def _take_all(self, path: str, resources: Iterable[Json]) -> None:
        found = {each.key: each for each in filter(None, map(self._shown, resources))}
        with self._lock:
            self._known[path], self._heard[path], self._sorted = found, self._clock.now(), None

    def _take(self, path: str, event: Json) -> None:
        with self._lock:
            self._heard[path] = self._clock.now()
            if event["type"] == BOOKMARK:
                return
            self._sorted = None
            meta, shown = event["object"]["metadata"], self._shown(event["object"])
            if event["type"] == "DELETED" or shown is None:
                self._known[path].pop(Key(meta["namespace"], meta["name"]), None)
            else:
                self._known[path][shown.key] = shown

    def _shown(self, resource: Json) -> ResourceView | None:
        """Link to the installation's own documentation, whatever a status says."""
        shown = _shown(resource)
        return replace(shown, docs_url=self._docs_url) if shown is not None else None


def _shown(resource: Json) -> ResourceView | None:
    """Keep no more of a resource than a page shows; None for one that cannot be read, so that all others are shown."""
    try:
        seen = view(resource)
    except Exception:
        meta = resource["metadata"]
        log.exception("a resource is left out of the status page", namespace=meta["namespace"], name=meta["name"])
        return None
    return replace(seen, endpoints=seen.endpoints[:MOST_ENDPOINTS], names=seen.names[:MOST_LINES])
