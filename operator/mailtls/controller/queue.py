"""A work queue of keys: each key at most once in the queue, never twice at work, none forgotten.

Level-triggered, as controllers are: a key says only that something about it may have changed. While it is worked on,
any number of further hints end in exactly one more reconcile.
"""

import random
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition, Lock, Thread
from typing import Final, Generic, TypeVar

import structlog

from mailtls.controller.waiting import FairQueue, Timers
from mailtls.kube.interface import ApiError, Conflict, Unreachable
from mailtls.net.backoff import CONFLICT, RECONCILE, Backoff
from mailtls.net.effects import ReconcileEnded

log = structlog.get_logger()
K = TypeVar("K")
WORKERS: Final = 16


@dataclass(frozen=True, slots=True)
class Delays:
    """After failed reconciles; `rest` is how many seconds a failed key is left alone at least, hints or not."""

    failed: Backoff = RECONCILE
    conflict: Backoff = CONFLICT
    rest: float = 5.0

    def of(self, error: Exception) -> Backoff:
        """Return the policy for an error."""
        return self.conflict if isinstance(error, Conflict) else self.failed


class WorkQueue(Generic[K]):
    """Runs `reconcile(key)` in worker threads; it returns the seconds until the next reconcile, None for no timer.

    When a reconcile begins, the key's timer is cleared: it decides anew when the next one is due. Of the requests
    while it runs and the one it returns the earliest counts. `add` means at once, but a key whose last reconcile
    failed rests for `Delays.rest` seconds at most, so that events caused by the failing reconcile itself make no loop.

    `workers` reconciles are at work at a time. `spare` threads stand in for reconciles that are `away`. Of those
    that wait, a key of the `group` that has the fewest at work is next.
    """

    def __init__(
        self,
        reconcile: Callable[[K], float | None],
        *,
        workers: int = WORKERS,
        spare: int = 0,
        delays: Delays | None = None,
        took: Callable[[float], None] | None = None,
        retried: Callable[[str], None] = lambda _kind: None,
        group: Callable[[K], Hashable] = lambda _key: None,
    ) -> None:
        self._reconcile = reconcile
        self._delays, self._retried = delays or Delays(), retried
        self._took = took or (lambda _seconds: None)
        lock = Lock()
        self._work, self._time = Condition(lock), Condition(lock)
        self._ready = FairQueue(group)
        self._queued: dict[K, float] = {}  # since when each waits, the oldest first
        self._busy: set[K] = set()
        self._dirty: set[K] = set()
        self._failures: dict[K, int] = {}
        self._rests_until: dict[K, float] = {}
        self._timers: Timers[K] = Timers()
        self._stopped = False
        self._workers, self._at_work = workers, 0
        self._threads = [Thread(target=self._work_on, name=f"worker-{n}", daemon=True) for n in range(workers + spare)]
        self._threads.append(Thread(target=self._keep_time, name="timekeeper", daemon=True))

    def start(self) -> None:
        """Start the workers; keys added before are waiting for them."""
        for thread in self._threads:
            thread.start()

    def add(self, key: K) -> None:
        """Request a reconcile now, or for one more when the key is being worked on."""
        with self._work:
            self._add(key)

    def add_after(self, key: K, delay: float) -> None:
        """Request a reconcile in `delay` seconds; an earlier one that is due already stays."""
        with self._work:
            self._schedule(key, delay)

    def depth(self) -> int:
        """Return how many keys wait for a worker; timers do not count."""
        with self._work:
            return len(self._ready)

    def oldest(self) -> float:
        """Return for how many seconds the key that waits longest has waited for a worker; 0 where none waits."""
        with self._work:
            since = next(iter(self._queued.values()), None)
            return 0.0 if since is None else time.monotonic() - since

    @contextmanager
    def away(self) -> Iterator[None]:
        """Let another key be worked on meanwhile: who calls this only waits, for something that may be dead.

        When it is back, it goes on at once; others begin only when there are few enough at work again.
        """
        with self._work:
            self._at_work -= 1
            self._work.notify()
        try:
            yield
        finally:
            with self._work:
                self._at_work += 1

    def is_alive(self) -> bool:
        """Whether every thread runs."""
        return all(thread.is_alive() for thread in self._threads)

    def stop(self, grace: float) -> bool:
        """Begin no more reconciles and wait up to `grace` seconds for those that run; False when some still do."""
        with self._work:
            self._stopped = True
            self._work.notify_all()
            self._time.notify_all()
        deadline = time.monotonic() + grace
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _add(self, key: K) -> None:
        if self._stopped or key in self._queued:
            return
        if key in self._busy:
            self._dirty.add(key)
        elif (rest := self._rests_until.get(key, 0.0) - time.monotonic()) > 0:
            self._schedule(key, rest)
        else:
            self._queued[key] = time.monotonic()
            self._ready.append(key)
            self._work.notify()

    def _schedule(self, key: K, delay: float) -> None:
        if self._stopped:
            return
        head = self._timers.head()
        at = time.monotonic() + delay
        self._timers.set(key, at)
        if head is None or at < head:
            self._time.notify()

    def _keep_time(self) -> None:
        with self._time:
            while not self._stopped:
                now = time.monotonic()
                for key in self._timers.pop_due(now):
                    self._add(key)
                head = self._timers.head()
                self._time.wait(None if head is None else max(0.0, head - now))

    def _work_on(self) -> None:
        while (key := self._take()) is not None:
            with structlog.contextvars.bound_contextvars(resource=str(key)):
                self._run(key)

    def _take(self) -> K | None:
        with self._work:
            while (not self._ready or self._at_work >= self._workers) and not self._stopped:
                self._work.wait()
            if self._stopped:
                return None
            key = self._ready.pop()
            del self._queued[key]
            self._busy.add(key)
            self._at_work += 1
            self._timers.drop(key)
            return key

    def _run(self, key: K) -> None:
        begun = time.monotonic()
        delay: float | None = None
        error: Exception | None = None
        try:
            delay = self._reconcile(key)
        except Exception as failure:  # noqa: BLE001 - whatever a reconcile meets, the worker goes on
            error = failure
        self._took(time.monotonic() - begun)
        if error is None:
            with self._work:
                self._finish(key, delay)
        else:
            self._fail(key, error)

    def _finish(self, key: K, delay: float | None) -> None:
        self._failures.pop(key, None)
        self._rests_until.pop(key, None)
        self._leave(key)
        if delay is not None:
            self._schedule(key, delay)
        self._add_if_dirty(key)

    def _leave(self, key: K) -> None:
        self._busy.discard(key)
        self._ready.finished(key)
        self._at_work -= 1
        self._work.notify()

    def _fail(self, key: K, error: Exception) -> None:
        failures = self._failures.get(key, 0) + 1  # nobody else touches a busy key's
        backoff = self._delays.of(error)
        delay = backoff.after(failures, random.random()).total_seconds()  # noqa: S311 - spreads load
        self._retried(backoff.kind)
        if not self._stopped:
            _say(error, failures, delay)
        with self._work:
            self._failures[key] = failures
            self._rests_until[key] = time.monotonic() + min(delay, self._delays.rest)
            self._leave(key)
            self._schedule(key, delay)
            self._add_if_dirty(key)

    def _add_if_dirty(self, key: K) -> None:
        if key in self._dirty:
            self._dirty.discard(key)
            self._add(key)


def _say(error: Exception, failures: int, delay: float) -> None:
    """What the outside did is one line; a defect of ours comes with its traceback."""
    if isinstance(error, ReconcileEnded):
        log.info("the reconcile ends", why=str(error))
    elif isinstance(error, Conflict) and failures == 1:
        log.debug("somebody else wrote first", error=str(error))
    elif isinstance(error, ApiError | Unreachable):
        log.warning("the reconcile is tried again", error=str(error), failures=failures, seconds=round(delay, 1))
    else:
        log.error("the reconcile failed", failures=failures, seconds=round(delay, 1), exc_info=error)
