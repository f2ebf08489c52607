"""Electors in threads, beside an API server that is only in memory."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from fakes.clock import WallClock
from fakes.cluster import FakeCluster
from mailtls.controller.election import Candidate, Elector, Timing
from mailtls.net.backoff import Backoff

if TYPE_CHECKING:
    from mailtls.api.reading.document import Json

OUTAGE = Backoff("election", timedelta(seconds=0.05), timedelta(seconds=0.1))
FAST = Timing(lease=1.0, deadline=0.6, renew=0.1, look=0.05, outage=OUTAGE)
PLACE = "/apis/coordination.k8s.io/v1/namespaces/mail/leases/mailtls"


class Replica:
    """An elector in its thread, and what it was told."""

    def __init__(self, cluster: FakeCluster, name: str, timing: Timing = FAST) -> None:
        self.elected, self.lost = threading.Event(), threading.Event()
        self.retries: list[str] = []
        candidate = Candidate("mail", "mailtls", name)
        self.elector = Elector(cluster, candidate, WallClock(), timing, retried=self.retries.append)
        run = self.elector.run
        self.thread = threading.Thread(target=lambda: run(self.elected.set, self.lost.set), daemon=True)
        self.thread.start()

    @property
    def leads(self) -> bool:
        """Whether it may act now."""
        return self.elector.leadership.is_leading()

    def die(self) -> None:
        """Fall silent without a word, as after SIGKILL."""
        self.elector.stopping.set()
        self.thread.join()


def holder(cluster: FakeCluster) -> str:
    """Who holds the Lease."""
    spec: Json = cluster.objects[PLACE]["spec"]
    return str(spec["holderIdentity"])


def seconds_until(condition: Callable[[], bool], within: float = 5.0) -> float:
    """Wait until the condition holds, and tell how long it took."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() < begun + within
        time.sleep(0.005)
    return time.monotonic() - begun
