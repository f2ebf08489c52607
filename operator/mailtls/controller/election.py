"""One replica leads: elected by a `coordination.k8s.io/v1` Lease, as Kubernetes' own controllers are.

Clocks of machines differ, so nobody compares times written in the Lease: whoever waits counts, by his own monotonic
clock, how long the record has not changed; whoever leads stops acting well before others may think it gone.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Lock
from typing import Final

import structlog

from mailtls.api.reading.document import Json
from mailtls.kube.interface import ApiError, Cluster, Conflict, Unreachable
from mailtls.net.backoff import ELECTION, Backoff
from mailtls.net.effects import ReconcileEnded
from mailtls.times import Clock

log = structlog.get_logger()


class LeadershipLost(ReconcileEnded):
    """Another replica may lead by now; nothing more may be done to the world."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds: others take over after `lease`, we stop after `deadline`; `renew` and `look` lie between tries.

    These two are no back-off. A leader renews at an even pace whether it succeeds or not: each longer wait would take
    from what is left until `deadline`. Who stands by looks at an even pace at a Lease that somebody else holds, so that
    it notices soon when that ends; only where it has no answer it waits by `outage`, as nobody could take over then.
    """

    lease: float = 15.0
    deadline: float = 10.0
    renew: float = 2.0
    look: float = 1.5
    outage: Backoff = ELECTION


@dataclass(frozen=True, slots=True)
class Candidate:
    """Which Lease, and under what name we ask for it; the name must be unique among running replicas."""

    namespace: str
    lease: str
    identity: str


class Leadership:
    """What the rest of the operator may know: whether we lead at this very moment. Safe for threads, and cheap."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._until = float("-inf")

    def is_leading(self) -> bool:
        """Whether the Lease is ours for sure, were the network to break now."""
        return self._monotonic() < self._until

    def require(self) -> None:
        """Raise `LeadershipLost` unless we lead; called before each effect."""
        if not self.is_leading():
            raise LeadershipLost("Another replica may lead by now.")

    def extend(self, until: float) -> None:
        """Lead until this monotonic time."""
        self._until = until

    def end(self) -> None:
        """Lead no longer."""
        self._until = float("-inf")


class Elector:
    """Takes, renews and releases the Lease; `run` belongs in a thread of its own. `retried` counts what backs off."""

    def __init__(
        self,
        cluster: Cluster,
        candidate: Candidate,
        clock: Clock,
        timing: Timing | None = None,
        *,
        retried: Callable[[str], None] = lambda _kind: None,
    ) -> None:
        self._cluster, self._candidate, self._clock = cluster, candidate, clock
        self._timing, self._retried = timing or Timing(), retried
        self._failures = 0  # in a row, of requests about the Lease
        self.leadership = Leadership()
        self.stopping = Event()
        self._record: Json | None = None  # the Lease as last seen or written
        self._changed_at = 0.0
        self._lock = Lock()  # a renewal and the release must not overlap
        self._place = f"/apis/coordination.k8s.io/v1/namespaces/{candidate.namespace}/leases"

    def run(self, elected: Callable[[], None], lost: Callable[[], None]) -> None:
        """Wait for the Lease and call `elected`, then renew it; call `lost` when it slips away. Ends by `release`."""
        while not self._try(self._acquire):
            if self.stopping.wait(self._seconds_until_next_look()):
                return
        log.info("leading", lease=self._candidate.lease, identity=self._candidate.identity)
        elected()
        while not self.stopping.wait(self._timing.renew):
            renewed = self._try(self._renew)
            if not renewed and not self.leadership.is_leading() and not self.stopping.is_set():
                log.error("the lease is lost", lease=self._candidate.lease)
                lost()
                return

    def _seconds_until_next_look(self) -> float:
        if not self._failures:
            return self._timing.look * random.uniform(0.8, 1.0)  # noqa: S311 - spreads load
        self._retried(self._timing.outage.kind)
        return self._timing.outage.after(self._failures, random.random()).total_seconds()  # noqa: S311 - jitter

    def release(self) -> None:
        """Stop, and when we lead leave the Lease without a holder, so that another replica leads at once."""
        self.stopping.set()
        with self._lock:
            if not self.leadership.is_leading() or self._record is None:
                return
            self.leadership.end()
            try:
                self._write(holder="", seconds=1)
            except (ApiError, Unreachable) as problem:
                log.warning("the lease could not be released", error=str(problem))

    def seize(self, seconds: float) -> None:
        """Take the Lease from whoever holds it, for so long; who led ends at the next renewal.

        For the last act of an installation: nobody is asked, and nobody renews it. Raises what the API server says.
        """
        with self._lock:
            for tries_left in reversed(range(_SEIZE_TRIES)):
                try:
                    self._overwrite(seconds)
                except Conflict:  # the holder has renewed at this very moment
                    if not tries_left:
                        raise
                else:
                    return

    def _overwrite(self, seconds: float) -> None:
        self._record = self._cluster.get(f"{self._place}/{self._candidate.lease}")
        if self._record is None:
            self._create()
        self._write(holder=self._candidate.identity, seconds=seconds)
        self.leadership.extend(time.monotonic() + seconds)

    def _try(self, step: Callable[[], bool]) -> bool:
        with self._lock:
            if self.stopping.is_set():
                return False
            try:
                done = step()
            except Conflict:
                done = False  # somebody else was faster, which is an answer
            except (ApiError, Unreachable) as problem:
                self._failures += 1
                log.warning("no access to the lease", lease=self._candidate.lease, error=str(problem))
                return False
            self._failures = 0
            return done

    def _acquire(self) -> bool:
        begun = time.monotonic()
        found = self._cluster.get(f"{self._place}/{self._candidate.lease}")
        if found is None:
            self._create()
        else:
            self._note(found)
            if not self._is_free():
                return False
            self._write(holder=self._candidate.identity, seconds=self._timing.lease)
        self.leadership.extend(begun + self._timing.deadline)
        return True

    def _renew(self) -> bool:
        begun = time.monotonic()
        try:
            self._write(holder=self._candidate.identity, seconds=self._timing.lease)
        except Conflict:
            # Perhaps our own earlier write, whose answer was lost; perhaps somebody else leads.
            found = self._cluster.get(f"{self._place}/{self._candidate.lease}")
            if found is None or _holder(found) != self._candidate.identity:
                self.leadership.end()
                return False
            self._record = found
            self._write(holder=self._candidate.identity, seconds=self._timing.lease)
        self.leadership.extend(begun + self._timing.deadline)
        return True

    def _note(self, found: Json) -> None:
        if self._record is None or self._record["metadata"]["resourceVersion"] != found["metadata"]["resourceVersion"]:
            self._changed_at = time.monotonic()
        self._record = found

    def _is_free(self) -> bool:
        """Whether nobody holds it, its holder is silent for too long, or it is ours from before a restart."""
        spec = (self._record or {}).get("spec") or {}
        holder = spec.get("holderIdentity")
        if not holder or holder == self._candidate.identity:
            return True
        return time.monotonic() >= self._changed_at + float(spec.get("leaseDurationSeconds") or self._timing.lease)

    def _create(self) -> None:
        spec = self._spec({}, self._candidate.identity, self._timing.lease)
        metadata = {"name": self._candidate.lease, "namespace": self._candidate.namespace}
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
        self._record = self._cluster.create(self._place, body)

    def _write(self, holder: str, seconds: float) -> None:
        record = self._record or {}
        body = record | {"spec": self._spec(record.get("spec") or {}, holder, seconds)}
        self._record = self._cluster.replace(f"{self._place}/{self._candidate.lease}", body)

    def _spec(self, before: Json, holder: str, seconds: float) -> Json:
        now = self._clock.now().strftime(_MICRO_TIME)
        changes = before.get("holderIdentity") != holder
        return before | {
            "holderIdentity": holder,
            "leaseDurationSeconds": max(1, round(seconds)),
            "renewTime": now,
            "acquireTime": now if changes else before.get("acquireTime", now),
            "leaseTransitions": int(before.get("leaseTransitions") or 0) + int(bool(changes and before and holder)),
        }


_SEIZE_TRIES: Final = 5
_MICRO_TIME: Final = "%Y-%m-%dT%H:%M:%S.%fZ"


def _holder(lease: Json) -> str:
    return str((lease.get("spec") or {}).get("holderIdentity") or "")
