"""What tests ask for: a cluster to share, and in it a namespace, a zone and an authority of their own.

Nothing here needs a cluster to be imported. A test marked `cluster` is skipped where the machine cannot run one,
and the end of the run says so; with CI=true it fails instead.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from testbed import host, network
from testbed.api import Api
from testbed.audit import AuditLog
from testbed.cluster import Cluster
from testbed.layout import Layout
from testbed.mailserver import MailServer
from testbed.operator_image import NAME as OPERATOR_IMAGE
from testbed.pebble import Pebble, PebbleSettings
from testbed.ready import ensure_up, refresh_operator_image
from testbed.sandbox import Sandbox
from testbed.zones import NameServer, Zone

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

# How long an example takes says more of what else the machine does than of the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

_LEFT_OUT = "needs the cluster: "
# Kept open: the network namespace that the run began in.
_HOME_DESCRIPTOR = os.open("/proc/self/ns/net", os.O_RDONLY) if sys.platform == "linux" else -1
_HOME = Path(f"/proc/self/fd/{_HOME_DESCRIPTOR}")


def _require_a_host() -> None:
    """Skip the test where the machine cannot run the cluster; in CI, which must leave nothing out, fail it."""
    if (sentence := host.obstacle()) is not None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI runs every test, but {sentence}", pytrace=False)
        pytest.skip(f"{_LEFT_OUT}{sentence}")


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """Give the shared cluster, brought up by whoever comes first; the test run moves into its namespace.

    It stays up: `make test` takes it down at its end, and whoever runs single tests has it warm for the next time.
    """
    _require_a_host()
    shared = Cluster(Layout.of())
    ensure_up(shared)
    if not network.is_inside(shared.layout):
        network.enter(shared.layout)
    os.environ["KUBECONFIG"] = str(shared.layout.kubeconfig)
    os.environ["PATH"] = f"{shared.layout.bin}{os.pathsep}{os.environ['PATH']}"
    return shared


@pytest.fixture
def host_network() -> Iterator[None]:
    """Keep a test that brings up clusters of its own in the host's network, wherever the others went."""
    _require_a_host()
    with network.outside(_HOME):
        yield


@pytest.fixture(autouse=True)
def _inside_the_cluster(request: pytest.FixtureRequest) -> None:
    """Bring the cluster up for every test marked `cluster`, whatever fixtures it names."""
    wanted = request.node.get_closest_marker("cluster") is not None
    if wanted and "host_network" not in request.fixturenames:
        request.getfixturevalue("cluster")


@pytest.fixture(scope="session")
def api(cluster: Cluster) -> Api:
    """Give a connection to the API server with all rights."""
    return Api(cluster.layout)


@pytest.fixture(scope="session")
def names(cluster: Cluster) -> NameServer:
    """Give the name server."""
    return NameServer(cluster.layout)


@pytest.fixture(scope="session")
def audit(cluster: Cluster) -> AuditLog:
    """Give the API server's audit log."""
    return AuditLog.of(cluster.layout)


@pytest.fixture(scope="session")
def operator_image(cluster: Cluster) -> str:
    """Give the name of the operator's image, built from the code as it is now and known to the cluster."""
    refresh_operator_image(cluster)
    return OPERATOR_IMAGE


@pytest.fixture(scope="session")
def shared_pebble(cluster: Cluster) -> Pebble:
    """Give the ACME server that all tests share; one that is counted or disturbed comes from `pebbles`."""
    return Pebble(cluster.layout, 14000)


@pytest.fixture
def sandbox(cluster: Cluster, api: Api, request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """Give the test a Kubernetes namespace, named after it."""
    purpose = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower()).strip("-")
    made = Sandbox.create(cluster, api, purpose[:40].rstrip("-"))
    yield made
    made.remove()


@pytest.fixture
def zone(names: NameServer) -> Iterator[Zone]:
    """Give the test a DNS zone under `.test` with a TSIG key of its own."""
    made = names.add_zone(f"z{secrets.token_hex(4)}.test")
    yield made
    names.remove_zone(made)


@pytest.fixture
def email(zone: Zone) -> str:
    """Give an address that no other test has: the operator keeps one ACME account for each."""
    return f"postmaster@{zone.name}"


@pytest.fixture
def pebbles(cluster: Cluster) -> Iterator[Callable[[PebbleSettings], Pebble]]:
    """Start ACME servers of the test's own: `pebbles(PebbleSettings(nonce_reject_percent=20))`."""
    started: list[Pebble] = []

    def launch(settings: PebbleSettings) -> Pebble:
        started.append(Pebble.launch(cluster.layout, settings))
        return started[-1]

    yield launch
    for pebble in started:
        pebble.stop()


@pytest.fixture
def pebble(pebbles: Callable[[PebbleSettings], Pebble]) -> Pebble:
    """Give the test an ACME server of its own that never fails: its orders are this test's orders."""
    return pebbles(PebbleSettings())


@pytest.fixture
def postfix(sandbox: Sandbox, zone: Zone) -> MailServer:
    """Deploy two Postfix pods as `mx.ZONE`, with a self-signed certificate in the Secret `mx-tls`."""
    return MailServer(sandbox, host=zone.host("mx")).deploy()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what is in a failed test's namespace, while it is still there."""
    report = yield
    used = getattr(item, "funcargs", {}).get("sandbox")
    if report.when == "call" and report.failed and isinstance(used, Sandbox):
        try:
            report.sections.append(("the namespace", used.describe()))
        except Exception as problem:  # noqa: BLE001  # the test's own failure is the news, not this one
            report.sections.append(("the namespace", f"cannot be described: {problem}"))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly, at the very end, what was left out and why."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(str(report.longrepr[2]) for report in skipped if isinstance(report.longrepr, tuple))
    if reasons:
        terminalreporter.section("LEFT OUT", sep="!", red=True, bold=True)
    for reason, count in reasons.most_common():
        what = "1 test" if count == 1 else f"{count} tests"
        terminalreporter.line(f"{what}: {reason.removeprefix('Skipped: ')}", red=True, bold=True)
