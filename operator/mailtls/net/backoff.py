"""How long to wait after a failure: one policy, and all its uses by name. Pure: the caller draws the random number.

The delay grows by a factor with each failure in a row, up to a cap. Where events cause extra tries, as those of a pod
that starts do, it follows the time since the first failure instead. `mailtls_retries_total` counts by the same names.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

_MOST_GROWTH: Final = 64  # failures in a row, so that no power overflows


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential back-off of one `kind`: `first` after the first failure, `factor` times as long each time, to `cap`.

    `jitter` is the part of the delay by which a draw lengthens it at most; where negative, shortens it.
    """

    kind: str
    first: timedelta
    cap: timedelta
    factor: float = 2.0
    jitter: float = 0.0

    def after(self, failures: int, draw: float = 0.0) -> timedelta:
        """Return the delay after so many failures in a row, 1 or more; `draw` is uniform in [0, 1)."""
        grown = self.first.total_seconds() * self.factor ** min(max(failures, 1) - 1, _MOST_GROWTH)
        return min(timedelta(seconds=min(grown, self.cap.total_seconds())), self.cap) * (1 + self.jitter * draw)

    def after_failing_for(self, failing_for: timedelta) -> timedelta:
        """Return the delay of what has failed for so long: `factor` times that, within the same bounds."""
        return min(max(self.first, failing_for * self.factor), self.cap)


_SECOND, _MINUTE, _DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
ISSUANCE: Final = Backoff("issuance", _MINUTE, _DAY, factor=10, jitter=0.2)
"""Orders that failed: each costs at the CA, and counts against its limits."""
CHALLENGE: Final = Backoff("challenge", _MINUTE / 2, 10 * _MINUTE, jitter=0.2)
"""Challenge responses that the DNS server refuses: the CA receives nothing of them."""
TRANSIENT: Final = Backoff("transient", _SECOND, _MINUTE, jitter=0.2)
"""What a CA or DNS server that is away for a moment keeps from going on, while the order lives."""
CLOSING: Final = Backoff("closing", _SECOND, _MINUTE, jitter=0.2)
"""Orders that are over and cannot be closed yet."""
CA_GATE: Final = Backoff("ca", 15 * _SECOND, 5 * _MINUTE, jitter=-0.2)
"""A CA that cannot be reached; one request checks whether it is back."""
ROLLOUT: Final = Backoff("rollout", 15 * _SECOND, 30 * _MINUTE, factor=5, jitter=0.2)
"""Attempts to bring one certificate into pods."""
REFUSED_CERTIFICATE: Final = Backoff("refused-certificate", _DAY, 16 * _DAY)
"""Another order after a certificate that failed in a pod and was rolled back."""
EXEC: Final = Backoff("exec", 2 * _SECOND, _MINUTE)
"""Commands in a pod whose exec channel fails, within an attempt."""
EVICTION: Final = Backoff("eviction", 5 * _SECOND, _MINUTE)
"""Evictions that a PodDisruptionBudget does not allow, within an attempt."""
PROBE: Final = Backoff("probe", 5 * _SECOND, 5 * _MINUTE)
"""Endpoints that fail, by the time that they have."""
REFUSED_PORT: Final = Backoff("refused-port", _SECOND, 5 * _MINUTE, factor=0.5)
"""Ports that nobody listens on: a connection costs nothing, and the server may just be starting."""
RECONCILE: Final = Backoff("reconcile", _SECOND, 5 * _MINUTE, jitter=-0.5)
"""Reconciles that failed, because the API server was away or by a defect of ours."""
CONFLICT: Final = Backoff("conflict", _SECOND / 10, 5 * _MINUTE, jitter=-0.5)
"""Reconciles that met an object which somebody else wrote meanwhile: read it again soon."""
API_REQUEST: Final = Backoff("api-request", _SECOND / 10, _SECOND, factor=3, jitter=0.3)
"""Requests to the API server that are sent again within one call."""
LEADER: Final = Backoff("leader", 2 * _SECOND, 10 * _SECOND, jitter=-0.2)
"""The beginning of a leader's work, while the API server is away or something of the installation is missing."""
ELECTION: Final = Backoff("election", 2 * _SECOND, 5 * _SECOND, jitter=-0.2)
"""A replica that stands by and cannot read the Lease, or may not; soon again, as nobody may lead meanwhile."""
WATCH: Final = Backoff("watch", _SECOND, _MINUTE, factor=1.6)
"""Watches that fail, kopf's and ours."""
NAMESAKE: Final = Backoff("namesake", 2 * _SECOND, _MINUTE / 2, factor=0.125)
"""Secrets that an earlier resource of the name left: they go soon, or somebody keeps them."""
POD: Final = Backoff("pod", 2 * _SECOND, 10 * _SECOND, factor=0.125)
"""Pods that a rollout waits for, by the time that it has."""
WATCHED_POD: Final = Backoff("watched-pod", 2 * _SECOND, _MINUTE / 2, factor=0.125)
"""The same where an event comes when their state changes."""
FILE: Final = Backoff("file", _SECOND / 20, 2 * _SECOND, factor=1.5)
"""A mounted file that the kubelet is about to write, within one step: a woken one takes a tenth of a second."""
SERVER: Final = Backoff("server", _SECOND / 20, _SECOND / 2, factor=1.5)
"""A server that was just reloaded and serves what it has for a moment longer, within one step."""
SETTLING: Final = Backoff("settling", _SECOND / 2, 5 * _SECOND, factor=0.125)
"""The same from step to step, by the time since its reload."""
LATE_FILE: Final = Backoff("late-file", 5 * _SECOND, 5 * _SECOND)
"""The same from step to step: the kubelet was woken, and takes its time."""
COUNTED: Final = (
    ISSUANCE, CHALLENGE, TRANSIENT, CLOSING, CA_GATE, ROLLOUT, REFUSED_CERTIFICATE, EXEC, EVICTION, PROBE,
    REFUSED_PORT, RECONCILE, CONFLICT, API_REQUEST, LEADER, ELECTION,
)  # fmt: skip
ALL: Final = (*COUNTED, WATCH, NAMESAKE, POD, WATCHED_POD, FILE, SERVER, SETTLING, LATE_FILE)
"""Watches end and begin anew all the time, kopf's unseen by us; what is only waited for has not failed."""
