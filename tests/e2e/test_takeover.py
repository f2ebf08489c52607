"""Replicas come and go: what one has begun the next one ends, and one at a time leads."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from e2e.installation import STAGED, Installation
from e2e.laggard import await_challenge_record, challenge_records, orders_held
from testbed.sandbox import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from testbed.zones import NameServer

pytestmark = pytest.mark.cluster

LEASE = 15.0  # seconds that a silent leader keeps the lease


def test_sigterm_in_mid_order_ends_the_process_in_time_and_the_next_goes_on(
    installation: Installation, names: NameServer
) -> None:
    """The order, its key and its challenge wait for the next process."""
    with orders_held(names, installation.zone):
        replica = installation.start()
        installation.apply()
        url = installation.await_order()
        await_challenge_record(names, installation.zone)
        replica.stop()
        key = installation.sandbox.secret(STAGED)["tls.key"]
        installation.start("mailtls-1")
        installation.replica("mailtls-1").await_text("step=AdvanceOrder")
        journal = installation.journal()
        assert journal is not None
        assert (journal["url"], journal["open"]) == (url, True)
    installation.await_ready()
    assert installation.pebble.orders() == 1
    assert installation.sandbox.secret("mx-tls")["tls.key"] == key
    assert challenge_records(names, installation.zone) == []


def test_second_replica_takes_over(installation: Installation) -> None:
    """At once when the leader is asked to end, and when its lease has run out where it is killed."""
    first = installation.start("mailtls-a")
    first.await_text("working")
    second = installation.start("mailtls-b")
    second.await_text("standing by")
    installation.apply("a", name="a", secret="a-tls")
    installation.await_ready("a")
    assert holder(installation) == "mailtls-a"
    assert "working" not in second.text()

    first.stop()
    assert holder(installation) != "mailtls-a", "the lease was not released"
    wait_until(lambda: holder(installation) == "mailtls-b")
    installation.apply("b", name="b", secret="b-tls")
    installation.await_ready("b")

    first.start()
    wait_until(lambda: first.text().count("standing by") == 2)
    second.kill()
    renewed = lease_time(installation, "renewTime")
    wait_until(lambda: holder(installation) == "mailtls-a")
    waited = lease_time(installation, "acquireTime") - renewed
    assert waited.total_seconds() > LEASE - 1, "a lease of somebody who may still act was taken"
    installation.apply("c", name="c", secret="c-tls")
    installation.await_ready("c")
    assert installation.pebble.orders() == 3


def test_leader_that_is_stopped_and_goes_on_later_orders_nothing_twice(installation: Installation) -> None:
    """It finds by its own clock that the lease is over, before the next thing it does to the world.

    It is stopped while its requests are refused: one that is on its way already is looked at by nobody any more.
    """
    first, count = installation.start("mailtls-a"), 6
    first.await_text("working")
    second = installation.start("mailtls-b")
    second.await_text("standing by")
    with installation.pebble.unreachable():
        for number in range(count):
            installation.apply(f"m{number}", name=f"m{number}", secret=f"m{number}-tls")
        for number in range(count):
            installation.await_reason("AcmeUnreachable", f"m{number}")
        first.pause()
    wait_until(lambda: holder(installation) == "mailtls-b")
    for number in range(count):
        installation.await_ready(f"m{number}")
    orders = installation.pebble.orders()
    first.resume()
    assert first.wait(PATIENCE) == 1
    assert installation.pebble.orders() == orders == count


def holder(installation: Installation) -> str:
    """Who holds the lease."""
    return str(installation.sandbox.get("leases", "mailtls")["spec"].get("holderIdentity") or "")


def lease_time(installation: Installation, which: str) -> datetime:
    """A time that is written in the lease."""
    return datetime.fromisoformat(installation.sandbox.get("leases", "mailtls")["spec"][which])


def wait_until(done: Callable[[], bool], *, within: float = PATIENCE) -> None:
    """Look ten times a second."""
    deadline = time.monotonic() + within
    while not done():
        assert time.monotonic() < deadline, f"it did not come within {within:.1f} s"
        time.sleep(0.1)
