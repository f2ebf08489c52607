"""Runs kopf in a thread of its own, once the cluster has what there is to watch."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from threading import Event, Thread
from typing import Any, Final

import kopf
import structlog

from mailtls.handlers import register
from mailtls.intake import Intake
from mailtls.model.spec import WorkloadKind
from mailtls.world.cluster.resource import API, GROUP, PLURAL
from mailtls.world.cluster.workloads import PLURALS
from mailtls.world.ports import ApiError, Cluster, Unreachable

PATIENCE: Final = 5.0  # seconds between looks at what is missing
SILENCE: Final = 30.0  # seconds without an answer after which the event loop counts as stuck
log = structlog.get_logger()


class Watches:
    """kopf's operator for some namespaces, or for the whole cluster; `broke` is called if it ends unasked."""

    def __init__(
        self, intake: Intake, load: Callable[[], Any], namespaces: tuple[str, ...], broke: Callable[[], None]
    ) -> None:
        self._namespaces, self._broke = namespaces, broke
        self._register = partial(register, intake, load, scan=not namespaces)
        self._kinds: tuple[WorkloadKind, ...] = ()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._ready, self._stopping = Event(), Event()
        self._asked_at: float | None = None
        self._thread = Thread(target=self._run, name="watches", daemon=True)

    def start(self, kinds: Iterable[WorkloadKind]) -> None:
        """Start watching resources, Secrets and workloads of these kinds; returns at once."""
        self._kinds = tuple(kinds)
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether the event loop runs, and has answered the last time it was asked."""
        if not self._thread.is_alive() or self._loop is None:
            return False
        asked_at = self._asked_at
        if asked_at is None:
            self._asked_at = time.monotonic()
            with suppress(RuntimeError):  # it ends at this very moment: the next look will tell
                self._loop.call_soon_threadsafe(self._answer)
            return True
        return time.monotonic() - asked_at < SILENCE

    def is_ready(self) -> bool:
        """Whether kopf has started."""
        return self._ready.is_set()

    def stop(self) -> None:
        """Ask the watches to end; `join` waits. What kopf says of connections that are cut then is no news."""
        self._stopping.set()
        logging.getLogger("kopf").setLevel(logging.CRITICAL)
        logging.getLogger("kopf._core.reactor.running").setLevel(logging.CRITICAL)
        if self._loop is not None and self._stop is not None:
            with suppress(RuntimeError):  # the loop has ended already
                self._loop.call_soon_threadsafe(self._stop.set)

    def join(self, grace: float) -> bool:
        """Wait up to `grace` seconds; False when the watches still run."""
        if self._thread.ident is not None:
            self._thread.join(grace)
        return not self._thread.is_alive()

    def _answer(self) -> None:
        self._asked_at = None

    def _run(self) -> None:
        try:
            asyncio.run(self._watch())
        except Exception as problem:
            if not self._stopping.is_set():
                log.exception("the watches ended", error=str(problem))
        if not self._stopping.is_set():
            self._broke()

    async def _watch(self) -> None:
        self._stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        if self._stopping.is_set():
            return
        await kopf.operator(
            registry=self._register(self._kinds),
            standalone=True,
            # Without one kopf asks for a user name, which a pod's numeric user has not. Its type is not public.
            identity="mailtls",  # type: ignore[arg-type]
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
            stop_flag=self._stop,
            ready_flag=self._ready,
        )


def await_access(cluster: Cluster, namespaces: tuple[str, ...], stopping: Event) -> tuple[WorkloadKind, ...] | None:
    """Wait until there is something to watch and we may; say once per cause what is missing.

    Return the kinds of workloads that may be watched too, None when stopped. Without those the work goes on: a pod
    that changes is then found out by the next probe.
    """
    said = None
    while not stopping.is_set():
        try:
            missing = _missing(cluster, namespaces)
            if missing is None:
                return tuple(kind for kind in WorkloadKind if _may_watch(cluster, namespaces, kind))
        except Unreachable as problem:
            missing = f"The API server does not answer: {problem}"
        if missing != said:
            log.error(missing)
            said = missing
        stopping.wait(PATIENCE)
    return None


def _missing(cluster: Cluster, namespaces: tuple[str, ...]) -> str | None:
    """Say what keeps us from working: no CustomResourceDefinition, or no rights."""
    group = cluster.get(API)
    if group is None or PLURAL not in {each["name"] for each in group.get("resources", ())}:
        return (
            f"The CustomResourceDefinition {PLURAL}.{GROUP} is missing: apply crds/ of this version, then all goes on."
        )
    for api, resource in ((API, f"{PLURAL}.{GROUP}"), ("/api/v1", "secrets")):
        forbidden = _forbidden(cluster, namespaces, api, resource)
        if forbidden is not None:
            return f"{forbidden}: install the roles of the chart."
    return None


def _may_watch(cluster: Cluster, namespaces: tuple[str, ...], kind: WorkloadKind) -> bool:
    forbidden = _forbidden(cluster, namespaces, "/apis/apps/v1", f"{PLURALS[kind]}.apps")
    if forbidden is not None:
        consequence = "pods that change are noticed by the next probe only"
        log.warning("%s: %s. Install the roles of the chart, then restart the operator.", forbidden, consequence)
    return forbidden is None


def _forbidden(cluster: Cluster, namespaces: tuple[str, ...], api: str, resource: str) -> str | None:
    plural = resource.partition(".")[0]
    for place in namespaces or (None,):
        path = f"{api}/namespaces/{place}/{plural}" if place else f"{api}/{plural}"
        if not _may_list(cluster, path):
            where = f"in namespace {place}" if place else "in the whole cluster"
            return f"RBAC forbids the operator to list {resource} {where}"
    return None


def _may_list(cluster: Cluster, path: str) -> bool:
    try:
        cluster.get(f"{path}?limit=1")
    except ApiError as error:
        if error.is_forbidden:
            return False
        raise
    return True
