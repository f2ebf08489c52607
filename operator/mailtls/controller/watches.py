"""kopf's part: it watches resources and workloads in its own thread; events go to the intake.

It would receive Secrets whole, so these have a watch of their own (`secret_watch`).
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from itertools import count
from threading import Event, Thread
from typing import Any, Final, cast

import kopf
import structlog

from mailtls.api.resource import API, GROUP, PLURAL, VERSION
from mailtls.api.workload import WorkloadKind
from mailtls.controller.intake import Intake
from mailtls.kube.interface import ApiError, Cluster, Unreachable
from mailtls.kube.workloads import PLURALS, WATCHED
from mailtls.net.backoff import LEADER, WATCH


def register(
    intake: Intake, load: Callable[[], Any], kinds: Iterable[WorkloadKind], *, scan: bool
) -> kopf.OperatorRegistry:
    """Return a registry that feeds `intake`; `load` gives the official client's configuration.

    `kinds` are the workloads to watch. `scan` False is for an operator that may not see CustomResourceDefinitions,
    having rights in namespaces only.
    """
    registry = kopf.OperatorRegistry()

    @kopf.on.startup(registry=registry)
    async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        tune(settings, scan=scan)

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return credentials(load())

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def resource(event: kopf.RawEvent, **_: Any) -> None:
        intake.resource(event["type"], dict(event["object"]))

    for kind in kinds:
        _watch_workloads(registry, intake, kind)
    return registry


def _watch_workloads(registry: kopf.OperatorRegistry, intake: Intake, kind: WorkloadKind) -> None:
    """Watch the workloads and not their pods: there are far fewer, and their status changes with their pods."""

    @kopf.on.event("apps", "v1", PLURALS[kind], registry=registry)
    async def workload(event: kopf.RawEvent, **_: Any) -> None:
        intake.workload(event["type"], kind, dict(event["object"]))


class NoHistory(kopf.DiffBaseStorage):
    """Compares nothing with what was before: our handlers take events as they are, and copying each is not free."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Return what is worth comparing: nothing."""
        return cast("kopf.BodyEssence", {})

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        """Return what was there before: nothing is known."""
        return None

    def store(self, **_: Any) -> None:
        """Keep nothing."""


def tune(settings: kopf.OperatorSettings, *, scan: bool) -> None:
    """Set what kopf's defaults leave too slow, too eager, or to chance."""
    settings.peering.standalone = True  # a Lease elects; peering pauses both of two equal replicas
    settings.scanning.disabled = not scan
    settings.persistence.diffbase_storage = NoHistory()
    settings.posting.enabled = False  # Events report transitions, and are our own
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.watching.connect_timeout = 10
    settings.watching.inactivity_timeout = 70
    settings.watching.reconnect_backoff = WATCH.after(
        2
    ).total_seconds()  # the default makes ten lists a second of a lasting 410
    settings.watching.chunk_size = 500
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.networking.enforce_retry_after = True
    settings.queueing.worker_limit = None
    settings.queueing.idle_timeout = 1  # memory of a listing goes back soon
    settings.queueing.exit_timeout = 0.5
    settings.queueing.error_delays = tuple(WATCH.after(each).total_seconds() for each in range(1, 11))
    settings.process.ultimate_exiting_timeout = None  # the process ends by its own clock


def credentials(configuration: Any) -> kopf.ConnectionInfo:
    """Say in kopf's words what the official client found."""
    proof = next((each["value"] for each in configuration.auth_settings().values()), None) or ""
    scheme, _, token = proof.strip().partition(" ")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        scheme=scheme if token else None,
        token=token or proof.strip() or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
    )


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
        """Start watching resources and workloads of these kinds; returns at once."""
        self._kinds = tuple(kinds)
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether the event loop runs, and has answered the last time it was asked."""
        if not self._thread.is_alive() or self._loop is None:
            return False
        asked_at = self._asked_at
        if asked_at is None:
            self._asked_at = time.monotonic()
            with suppress(RuntimeError):  # it ends at this very moment: the next check will say
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


def await_access(
    cluster: Cluster,
    namespaces: tuple[str, ...],
    stopping: Event,
    retried: Callable[[str], None] = lambda _kind: None,
) -> tuple[WorkloadKind, ...] | None:
    """Wait until there is something to watch and we may; say once per cause what is missing.

    Return the kinds of workloads that may be watched too, None when stopped. Without those the work goes on: a pod
    that changes is then found out by the next probe.
    """
    said = None
    for failures in count(1):
        if stopping.is_set():
            break
        try:
            missing = _missing(cluster, namespaces)
            if missing is None:
                return tuple(kind for kind in WATCHED if _may_watch(cluster, namespaces, kind))
        except Unreachable as problem:
            missing = str(problem)
        if missing != said:
            log.error(missing)
            said = missing
        retried(LEADER.kind)
        stopping.wait(LEADER.after(failures, random.random()).total_seconds())  # noqa: S311 - jitter
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
