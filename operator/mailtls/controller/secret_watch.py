"""Watches the Secrets that others write: their metadata alone, of which nothing is kept.

kopf's own watch takes only our Secrets, whole. Here the API server sends names and versions, and no contents: however
many Secrets a cluster has, only those that a resource names wake one. After a gap all resources concerned look
themselves, so that no list is needed.
"""

import random
from collections.abc import Iterator
from threading import Event, Thread
from typing import Final, Protocol

import structlog

from mailtls.api.reading.document import Json
from mailtls.controller.intake import Intake
from mailtls.kube.interface import ApiError, Unreachable
from mailtls.kube.pairs import path
from mailtls.net.backoff import WATCH

BOOKMARK: Final = "BOOKMARK"
log = structlog.get_logger()


class Changes(Protocol):
    """What of the Kubernetes API is needed here."""

    def version(self, path: str) -> str:
        """Return the version that a list has now."""

    def changes(self, path: str, version: str) -> Iterator[Json]:
        """Yield events after `version`, metadata alone; ends when the server ends it."""


class SecretWatch:
    """One thread for each namespace, or one for the whole cluster; none has work before a resource wants it."""

    def __init__(self, cluster: Changes, namespaces: tuple[str, ...], intake: Intake, stopping: Event) -> None:
        self._cluster, self._intake, self._stopping = cluster, intake, stopping
        self._paths = [path(namespace) for namespace in namespaces] or ["/api/v1/secrets"]

    def start(self) -> None:
        """Begin; returns at once. The threads end with the process."""
        for each in self._paths:
            Thread(target=self._run, args=(each,), name="secret-watch", daemon=True).start()

    def _run(self, place: str) -> None:
        self._intake.external.wanted.wait()
        failures = 0
        while not self._stopping.wait(WATCH.after(failures, random.random()).total_seconds() if failures else 0):  # noqa: S311 - jitter
            failures = 1 if self._follow(place) else failures + 1

    def _follow(self, place: str) -> bool:
        """Follow the changes until that fails, or the process ends; return whether it had begun."""
        version: str | None = None
        try:
            version = self._cluster.version(place)
            self._intake.external_secrets_unseen()
            while not self._stopping.is_set():
                version = self._take(place, version)
                self._stopping.wait(WATCH.first.total_seconds())  # whoever ends watches at once is not asked in a loop
        except (ApiError, Unreachable) as problem:
            log.warning("the watch of Secrets ended", error=str(problem))
        except Exception:
            log.exception("the watch of Secrets broke")
        return version is not None

    def _take(self, place: str, version: str) -> str:
        """Take in what one watch receives; return the version that it came to."""
        for event in self._cluster.changes(place, version):
            meta = event["object"]["metadata"]
            version = meta["resourceVersion"]
            if event["type"] != BOOKMARK:
                self._intake.external_secret(meta["namespace"], meta["name"])
        return version
