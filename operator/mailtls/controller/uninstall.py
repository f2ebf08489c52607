"""The last act of an installation: close all open orders, so that no finalizer outlives the operator.

`helm uninstall` runs it as a Job before it deletes anything. It must end soon and never be in the way: what cannot be
closed in time is let go of: a challenge response that stays behind is harmless, a namespace that cannot be deleted is
not.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from threading import Event
from typing import Any, Final

import structlog

from mailtls.api.reading.document import Json
from mailtls.controller.composition import closing
from mailtls.controller.election import Candidate, Elector
from mailtls.controller.parts import Closing, Parts
from mailtls.issuance.solvers.http01_server import Tokens
from mailtls.kube.claims import Claims
from mailtls.kube.client import KubernetesCluster
from mailtls.kube.interface import ApiError, Conflict, Unreachable
from mailtls.metrics import Metrics
from mailtls.net.effects import SystemClock
from mailtls.settings import Settings

HELD_FOR: Final = 120.0  # seconds for which no replica leads: longer than all that is done here
LEFT_FOR: Final = 30.0  # seconds for which none leads afterwards, until the Deployment is gone
AT_ONCE: Final = 8
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: until the earlier leader has noticed, for the cleaning up, and between two tries."""

    handover: float = 5.0
    cleaning: float = 40.0
    pause: float = 2.0


class Uninstall:
    """Takes the lead for good, closes open orders, and lets go of those that cannot be closed."""

    def __init__(self, orders: Closing, elector: Elector, patience: Patience | None = None) -> None:
        self._orders, self._elector, self._patience = orders, elector, patience or Patience()

    def run(self) -> int:
        """Return how many staged Secrets are still held: none, unless the API server refuses."""
        try:
            self._take_the_lead()
            closed = self._close_in_time()
            left = self._let_go()
            self._elector.seize(LEFT_FOR)
        except (ApiError, Unreachable) as problem:
            log.warning("open orders could not be looked for", error=str(problem))
            return 1
        log.info("open orders are closed", closed=closed, still_held=left)
        return left

    def _take_the_lead(self) -> None:
        self._elector.seize(HELD_FOR)
        time.sleep(self._patience.handover)

    def _close_in_time(self) -> int:
        """Close all orders side by side, and those that failed again, until none is left or the time is over."""
        deadline, closed = time.monotonic() + self._patience.cleaning, 0
        workers = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="uninstall")
        while (held := self._orders.held()) and (left := deadline - time.monotonic()) > 0:
            done, late = wait([workers.submit(self._close, secret) for secret in held], timeout=left)
            succeeded = sum(each.result() for each in done)
            closed += succeeded
            if late:
                break
            if succeeded < len(held):
                time.sleep(min(self._patience.pause, max(0.0, deadline - time.monotonic())))
        workers.shutdown(wait=False, cancel_futures=True)
        return closed

    def _close(self, secret: Json) -> bool:
        name = _name(secret)
        try:
            self._orders.close(secret)
        except Conflict:
            return False  # somebody wrote it meanwhile: it is listed anew
        except Exception as problem:  # noqa: BLE001 - whatever it is, the others are closed and this one is let go of
            reason = str(problem) if isinstance(problem, self._orders.describing) else type(problem).__name__
            log.warning("an order could not be closed", secret=name, error=reason)
            return False
        log.info("an order was closed", secret=name)
        return True

    def _let_go(self) -> int:
        left = 0
        for secret in self._orders.held():
            try:
                self._orders.let_go(secret)
                log.warning("let go of, its challenge responses may stay behind", secret=_name(secret))
            except (ApiError, Unreachable) as problem:
                log.warning("the finalizer could not be removed", secret=_name(secret), error=str(problem))
                left += 1
        return left


def close_all_orders(settings: Settings, load: Callable[[], Any]) -> int:
    """Close every order and let go of every Secret that the operator holds; returns how many it still holds."""
    cluster = KubernetesCluster(load)
    elector = Elector(cluster, Candidate(settings.namespace, settings.lease, settings.identity), SystemClock())
    parts = Parts(settings, cluster, Metrics(), elector.leadership, Tokens(), Claims(), stopping=Event())
    return Uninstall(closing(parts), elector).run()


def _name(secret: Json) -> str:
    return f"{secret['metadata']['namespace']}/{secret['metadata']['name']}"
