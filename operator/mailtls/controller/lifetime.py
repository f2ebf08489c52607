"""The life of the process: stand by, lead, and within five seconds of a SIGTERM leave the way clear for the next."""

import random
import signal
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from threading import Event, Thread
from typing import Any, Final

import structlog

from mailtls import __version__
from mailtls.api.reading.document import Json
from mailtls.controller.composition import Controller, build
from mailtls.controller.election import Candidate, Elector
from mailtls.controller.health import Checks, HealthServer
from mailtls.controller.intake import Seen
from mailtls.controller.parts import Parts, Work
from mailtls.controller.secret_watch import OWN, ExternalSecretWatch, OwnSecretWatch
from mailtls.controller.traces import start_traces
from mailtls.controller.watches import Watches, await_access
from mailtls.issuance.solvers.http01_server import Http01Server, Tokens
from mailtls.kube.claims import Claims
from mailtls.kube.client import KubernetesCluster
from mailtls.kube.connection import Patience
from mailtls.kube.interface import ApiError, Unreachable
from mailtls.kube.watching import Watch
from mailtls.metrics import Metrics
from mailtls.net.backoff import LEADER
from mailtls.net.effects import ReconcileEnded, SystemClock
from mailtls.page.serving import StatusPage
from mailtls.settings import Settings

LEASE_PATIENCE: Final = Patience(connect=3.0, read=4.0, retries=0)  # well within the renewal deadline
WORKERS_GRACE: Final = 3.0  # seconds after the signal until workers are left behind,
WATCHES_GRACE: Final = 3.5  # until the watches are,
WITHDRAW_GRACE: Final = 4.0  # the HTTP-01 endpoint is,
RELEASE_GRACE: Final = 4.5  # and until the lease must be released
TRACES_GRACE: Final = 4.8  # the last traces are sent where there is time
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
log = structlog.get_logger()


class Operator:
    """One replica. `build` puts the adapters together, `load` gives the official client's configuration."""

    def __init__(self, settings: Settings, load: Callable[[], Any], build: Callable[[Parts], Work] = build) -> None:
        self._settings = settings
        self._metrics, self._seen, tokens = Metrics(), Seen(), Tokens()
        self._ended, self._elected = Event(), Event()
        self._exit_code = 0
        self._cluster = KubernetesCluster(load, written=self._note_write, retried=self._metrics.retried)
        candidate = Candidate(settings.namespace, settings.lease, settings.identity)
        self._hasty = KubernetesCluster(load, patience=LEASE_PATIENCE)
        self._elector = Elector(self._hasty, candidate, SystemClock(), retried=self._metrics.retried)
        leadership = self._elector.leadership
        parts = Parts(settings, self._cluster, self._metrics, leadership, tokens, Claims(), self._ended)
        self._controller = Controller(parts, self._seen, build)
        self._work, self._queue = self._controller.work, self._controller.queue
        self._sweeper, intake = self._controller.sweeper, self._controller.intake
        namespaces = settings.watch_namespaces
        self._watches = Watches(intake, load, namespaces, self._fail)
        self._own_secrets = OwnSecretWatch(Watch(load, selected=OWN), namespaces, intake, self._ended)
        self._external_secrets = ExternalSecretWatch(Watch(load), namespaces, intake, self._ended)
        self._health = HealthServer(settings.metrics_port, Checks(self._live, self._ready), self._metrics.text)
        self._traces = start_traces(settings)
        self._http01 = Http01Server(tokens, settings.http01_port) if settings.http01_service else None
        self._page = self._status_page(load)

    def run(self) -> int:
        """Live until a signal, or until the lease is lost; return the exit code. Call it in the main thread."""
        # A handler would run amid whatever the main thread does, and an Event it holds then can never be set.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        Thread(target=self._await_signal, name="signals", daemon=True).start()
        self._health.start()
        if self._http01 is not None:
            self._http01.start()
        if self._page is not None:
            self._page.start()
        log.info("standing by", version=__version__, identity=self._settings.identity)
        Thread(target=self._elect, name="election", daemon=True).start()
        self._ended.wait()
        return self._stop(time.monotonic())

    def _status_page(self, load: Callable[[], Any]) -> StatusPage | None:
        """Make the page, which every replica serves, whether it leads or not."""
        settings = self._settings
        if settings.status_page_port is None:
            return None
        files, namespaces = settings.status_page_certificate, settings.watch_namespaces
        port, docs_url = settings.status_page_port, settings.docs_url
        return StatusPage(port, files, load, namespaces, self._ended, docs_url=docs_url)

    def _await_signal(self) -> None:
        signal.sigwait(SIGNALS)
        self._ended.set()

    def _elect(self) -> None:
        try:
            self._elector.run(elected=self._start_leading, lost=self._fail)
        except Exception:
            log.exception("the election ended")
            self._fail()

    def _start_leading(self) -> None:
        self._elected.set()
        Thread(target=self._lead, name="lead", daemon=True).start()

    def _lead(self) -> None:
        """Begin the work; then sweep now and then until the end."""
        try:
            namespaces = self._settings.watch_namespaces
            kinds = await_access(self._cluster, namespaces, self._ended, self._metrics.retried)
            if kinds is not None and self._begin():
                self._queue.start()
                self._own_secrets.start()
                self._external_secrets.start()
                self._watches.start(kinds)  # the last: once they are ready, all must be alive
                self._sweeper.run(self._ended, renew=self._work.begin)
        except Exception:
            log.exception("leading failed")
            self._fail()

    def _begin(self) -> bool:
        """Learn of all resources; False when the end came first."""
        for failures in count(1):
            if self._ended.is_set():
                break
            try:
                self._work.begin()
                self._own_secrets.begin()
                resources = self._sweeper.list()
            except (ApiError, Unreachable, ReconcileEnded) as problem:
                log.warning("the work cannot begin yet", error=str(problem))
                self._metrics.retried(LEADER.kind)
                self._ended.wait(LEADER.after(failures, random.random()).total_seconds())  # noqa: S311 - jitter
                continue
            self._controller.restore(resources)
            log.info("working", resources=len(resources))
            self._take_up_open_orders()
            return True
        return False

    def _take_up_open_orders(self) -> None:
        try:
            self._sweeper.look_for_open_orders()
        except (ApiError, Unreachable) as problem:
            log.warning("open orders of deleted resources could not be listed; the sweep does it", error=str(problem))

    def _fail(self) -> None:
        """End the process so that a fresh one starts: the lease is lost, or a part of us broke."""
        if not self._ended.is_set():  # what breaks while we stop is no failure
            self._exit_code = 1
            self._ended.set()

    def _stop(self, begun: float) -> int:
        left = partial(_left, begun)
        self._watches.stop()
        if not self._queue.stop(left(WORKERS_GRACE)):
            log.warning("a reconcile did not end in time and is cut off; the next leader goes on from what it saved")
        if not self._watches.join(left(WATCHES_GRACE)):
            log.warning("the watches did not end in time")
        withdrawal = Thread(target=self._withdraw, name="withdraw", daemon=True)
        withdrawal.start()
        withdrawal.join(left(WITHDRAW_GRACE))  # while it still leads, so that no other leader's endpoint is taken away
        release = Thread(target=self._elector.release, name="release", daemon=True)
        release.start()
        release.join(left(RELEASE_GRACE))
        if self._http01 is not None:
            self._http01.stop()
        if self._page is not None:
            self._page.stop()
        if self._traces is not None and not self._traces.stop(left(TRACES_GRACE)):
            log.warning("the collector of traces did not answer in time, and misses the last ones")
        log.info("stopped", seconds=round(time.monotonic() - begun, 2), exit_code=self._exit_code)
        return self._exit_code

    def _withdraw(self) -> None:
        try:
            self._work.withdraw(self._hasty)
        except ReconcileEnded:
            log.debug("another replica may lead by now: its HTTP-01 endpoint is left alone")
        except (ApiError, Unreachable) as problem:
            log.warning("the HTTP-01 endpoint could not be withdrawn", error=str(problem))

    def _note_write(self, verb: str, answer: Json) -> None:
        self._metrics.written(verb)
        self._seen.record(answer)

    def _live(self) -> str | None:
        if not self._watches.is_ready():
            return None
        if not self._queue.is_alive():
            return "a worker has died"
        if not self._watches.is_alive():
            return "the watches do not answer"
        if not (self._own_secrets.is_alive() and self._external_secrets.is_alive()):
            return "a watch of Secrets has died"
        return self._work.stuck()

    def _ready(self) -> str | None:
        if self._elected.is_set() and not self._watches.is_ready():
            return "leading, and about to watch"
        return None


def _left(begun: float, grace: float) -> float:
    return max(0.1, begun + grace - time.monotonic())
