"""The last act of an installation: orders are closed, and what cannot be closed is let go of in time."""

import threading
import time
from dataclasses import dataclass, field

from builders.replicas import PLACE, Replica, holder, seconds_until
from fakes.clock import WallClock
from fakes.cluster import FakeCluster
from mailtls.api.reading.document import Json
from mailtls.controller.election import Candidate, Elector
from mailtls.controller.parts import Closing
from mailtls.controller.uninstall import Patience, Uninstall
from mailtls.kube.interface import ApiError, Conflict, Unreachable

QUICK = Patience(handover=0.0, cleaning=1.0, pause=0.01)


def secret(name: str) -> Json:
    """A staged Secret, as far as anybody looks at it here."""
    return {"metadata": {"namespace": "mail", "name": name}}


@dataclass
class Orders:
    """Open orders by the names of their Secrets, each with what happens to its next tries to close it."""

    troubles: dict[str, list[Exception]]
    closed: list[str] = field(default_factory=list)
    let_go: list[str] = field(default_factory=list)
    refusal: ApiError | None = None
    stuck: threading.Event | None = None

    def closing(self) -> Closing:
        """What the composition makes of the real ones."""
        return Closing(held=self._held, close=self._close, let_go=self._let_go, describing=(Unreachable,))

    def _held(self) -> list[Json]:
        return [secret(name) for name in self.troubles if name not in (*self.closed, *self.let_go)]

    def _close(self, held: Json) -> None:
        name = held["metadata"]["name"]
        if self.stuck is not None:
            self.stuck.wait(10)
        if self.troubles[name]:
            raise self.troubles[name].pop(0)
        self.closed.append(name)

    def _let_go(self, held: Json) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.let_go.append(held["metadata"]["name"])


def run(orders: Orders, cluster: FakeCluster | None = None, patience: Patience = QUICK) -> int:
    """Release them all."""
    elector = Elector(cluster or FakeCluster(), Candidate("mail", "mailtls", "uninstall"), WallClock())
    return Uninstall(orders.closing(), elector, patience).run()


def test_every_open_order_is_closed() -> None:
    """Nothing is held afterwards, and nothing had to be let go of."""
    orders = Orders({"a-next": [], "b-next": []})
    assert run(orders) == 0
    assert sorted(orders.closed) == ["a-next", "b-next"]
    assert orders.let_go == []


def test_order_that_fails_once_is_closed_by_the_next_try() -> None:
    """A conflict with the last write of the operator, or a CA that was away for a moment, is no end."""
    orders = Orders({"a-next": [Conflict(409, "Conflict", "a")], "b-next": [Unreachable("away"), RuntimeError("?")]})
    assert run(orders) == 0
    assert sorted(orders.closed) == ["a-next", "b-next"]


def test_order_that_cannot_be_closed_is_let_go_in_time() -> None:
    """A CA that is gone for good does not hold a namespace."""
    orders = Orders({"a-next": [Unreachable("gone")] * 10_000, "b-next": []})
    assert run(orders) == 0
    assert orders.closed == ["b-next"]
    assert orders.let_go == ["a-next"]


def test_server_that_never_answers_does_not_hold_it_up() -> None:
    """Threads that hang are left behind."""
    orders = Orders({"a-next": []}, stuck=threading.Event())
    begun = time.monotonic()
    assert run(orders, patience=Patience(handover=0.0, cleaning=0.2, pause=0.01)) == 0
    assert time.monotonic() - begun < 5
    assert orders.let_go == ["a-next"]
    assert orders.stuck is not None
    orders.stuck.set()


def test_finalizer_that_may_not_be_removed_is_counted() -> None:
    """Whoever runs it by hand learns that something is left."""
    orders = Orders({"a-next": [Unreachable("gone")] * 10_000}, refusal=ApiError(403, "Forbidden", "no"))
    assert run(orders) == 1


def test_api_server_that_is_away_is_told_and_no_traceback() -> None:
    """There is nothing to be done then."""
    cluster = FakeCluster()
    cluster.is_down = True
    assert run(Orders({"a-next": []}), cluster) == 1


def test_operator_that_leads_stops_and_none_takes_over_meanwhile() -> None:
    """It would stage the next key at once, with a new finalizer."""
    cluster = FakeCluster()
    leader = Replica(cluster, "leader")
    seconds_until(lambda: leader.leads)
    orders = Orders({"a-next": []})
    assert run(orders, cluster) == 0
    seconds_until(leader.lost.is_set)
    assert not leader.leads
    assert holder(cluster) == "uninstall"
    waiting = Replica(cluster, "waiting")
    time.sleep(1.5)  # longer than the lease of a replica
    assert not waiting.leads
    waiting.die()
    assert cluster.objects[PLACE]["spec"]["leaseDurationSeconds"] >= 30
