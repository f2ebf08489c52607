"""What the operator needs goes away while it works, and comes back: no order is lost, and none is made twice."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

import pytest

from e2e.conftest import install_crd
from e2e.installation import Installation
from e2e.laggard import await_challenge_record, challenge_records, orders_held
from testbed import network
from testbed.api import Api
from testbed.cluster import Cluster
from testbed.guard import belonging
from testbed.layout import Layout
from testbed.pebble import Pebble, PebbleSettings
from testbed.ready import ensure_up
from testbed.sandbox import PATIENCE, Sandbox, condition_of
from testbed.zones import NameServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.operator_process import OperatorProcess

pytestmark = pytest.mark.cluster

OUTAGE = 10.0
MANY = 10


@pytest.fixture
def pebble(pebbles: Callable[[PebbleSettings], Pebble], request: pytest.FixtureRequest) -> Pebble:
    """Give an authority that behaves as the test asks for; by default it never fails."""
    settings: PebbleSettings = getattr(request, "param", PebbleSettings())
    return pebbles(settings)


@pytest.mark.parametrize("pebble", [PebbleSettings(nonce_reject_percent=20)], indirect=True, ids=["rejecting"])
def test_authority_that_rejects_every_fifth_nonce_issues_all_the_same(
    installation: Installation, names: NameServer
) -> None:
    """Ten resources at once, one order each."""
    installation.start()
    for number in range(MANY):
        installation.apply(f"mx{number}", name=f"mx{number}", secret=f"mx{number}-tls")
    for number in range(MANY):
        installation.await_ready(f"mx{number}")
    assert installation.pebble.orders() == MANY
    assert challenge_records(names, installation.zone) == []
    assert "status=400" in installation.replica().text(), "no nonce was rejected"


def test_authority_that_is_away_in_mid_order_is_waited_for(installation: Installation, names: NameServer) -> None:
    """Ten seconds without an authority cost ten seconds and nothing else."""
    with orders_held(names, installation.zone) as laggard:
        installation.start()
        installation.apply()
        installation.await_order()
        await_challenge_record(names, installation.zone)
        with installation.pebble.unreachable():
            laggard.release()
            installation.await_reason("AcmeUnreachable")
            time.sleep(OUTAGE)
    installation.await_ready()
    expect_one_order(installation, names)


@pytest.mark.usefixtures("host_network")
def test_api_server_that_restarts_in_mid_order_is_waited_for(tmp_path: Path) -> None:
    """The order goes on where it was; the cluster is the test's own, for nobody else could bear this."""
    with belonging(Cluster(Layout.of(f"api{secrets.token_hex(2)}"))) as cluster:
        ensure_up(cluster)
        with network.outside(cluster.layout.namespace):
            install_crd(cluster)
            names = NameServer(cluster.layout)
            zone = names.add_zone("restart.test")
            sandbox = Sandbox.create(cluster, Api(cluster.layout), "restart")
            installation = Installation(sandbox, zone, Pebble(cluster.layout, 14000), tmp_path)
            try:
                issue_across_a_restart(installation, names)
            finally:
                installation.remove()


def issue_across_a_restart(installation: Installation, names: NameServer) -> None:
    """Hold the order, restart the API server, let go."""
    with orders_held(names, installation.zone):
        replica = installation.start()
        installation.apply()
        url = installation.await_order()
        await_challenge_record(names, installation.zone)
        installation.sandbox.cluster.restart_apiserver(down_for=3.0)
        journal = installation.journal()
        assert journal is not None
        assert (journal["url"], journal["open"]) == (url, True)
    await_ready_as_a_pod(installation, replica)
    expect_one_order(installation, names)


def await_ready_as_a_pod(installation: Installation, replica: OperatorProcess) -> None:
    """Wait until all is Ready; a replica that lost its lease meanwhile ends, and is started as by a kubelet."""
    deadline = time.monotonic() + PATIENCE
    while (condition_of(installation.get(), "Ready") or {}).get("status") != "True":
        assert time.monotonic() < deadline, installation.get()["status"]
        if not replica.is_alive:
            replica.start()
        time.sleep(0.2)


def expect_one_order(installation: Installation, names: NameServer) -> None:
    """See that the outage cost no order, and that all is tidy."""
    assert installation.pebble.orders() == 1
    assert "attempts" not in installation.get()["status"]
    assert challenge_records(names, installation.zone) == []
