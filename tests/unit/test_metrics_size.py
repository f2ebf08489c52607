"""How many series there are: bounded by resources and ports, measured at 10,000 ports, and clean for promtool."""

import shutil
import subprocess
import sys
from collections import Counter

import pytest
from prometheus_client.parser import text_string_to_metric_families

from builders.metrics import NOW, PODS, PORTS, endpoints, operate, report
from mailtls.api.spec import Key
from mailtls.api.status import Condition, ConditionType, Truth
from mailtls.metrics import Metrics
from mailtls.probe.target import Endpoint
from mailtls.reasons.reason import Finding, Reason, Severity
from mailtls.resource_metrics import Known, Served

RESOURCES = 500
# Series of a port, of a resource and of the operator itself; docs/explanation/sizing.md has these numbers.
OF_PORT, OF_RESOURCE, OF_OPERATOR = 5, 34, 250


def series(metrics: Metrics) -> Counter[str]:
    """Count the series of each metric, as Prometheus stores them."""
    families = text_string_to_metric_families(metrics.text().decode())
    return Counter(family.name for family in families for _ in family.samples)


def test_ten_thousand_ports_make_a_known_number_of_series_that_all_go() -> None:
    """Each port and each resource that warns of one thing adds so many, and leaves none when it is gone."""
    metrics = Metrics()
    operate(metrics)
    own = series(metrics).total()
    keys = [report(metrics, number) for number in range(RESOURCES)]
    counted = series(metrics)
    ports = RESOURCES * PODS * len(PORTS)
    assert ports == 10_000
    assert counted["mailtls_endpoint_probe_success"] == ports
    assert own <= OF_OPERATOR
    assert counted.total() - own == ports * OF_PORT + RESOURCES * OF_RESOURCE
    for key in keys:
        metrics.forget(key)
    assert series(metrics).total() == own


def test_no_text_of_a_stranger_is_a_label() -> None:
    """Messages vary with each probe and would make series without end; only reasons from a fixed list are labels."""
    metrics = Metrics()
    key = report(metrics, 1)
    before = series(metrics)
    for each in range(20):
        odd = Finding(Reason.WEAK_CRYPTO, f"Cipher {each}.", Severity.WARN, evidence=f"{each}", subject=f"s{each}")
        ports = [Endpoint(one.target, NOW, (odd,), served_sha256=f"{each}" * 32) for one in endpoints(1)]
        said = [Condition(kind, Truth.TRUE, Reason.READY, f"{each}", NOW, 1, (odd,)) for kind in ConditionType]
        metrics.update(key, Known(served=Served(ports), conditions=said))
    assert series(metrics) == before
    assert "Cipher" not in metrics.text().decode()


def calls_for(failing: int) -> int:
    """How many functions are called to show so many failing ports."""
    metrics, called = Metrics(), 0
    bad = (Finding(Reason.CONNECTION_REFUSED, "Nobody listens."),)
    known = Known(served=Served([Endpoint(each.target, NOW, bad) for n in range(failing) for each in endpoints(n)]))

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal called
        called += event == "call"

    metrics.update(Key("mail", "mx"), known)
    sys.setprofile(count)
    metrics.update(Key("mail", "mx"), known)
    sys.setprofile(None)
    return called


def test_work_for_failing_ports_grows_with_their_number_only() -> None:
    """Nobody else is served while it goes on; what grows with the square took 20 seconds for 10,000 ports."""
    assert calls_for(40) < 1.2 * 4 * calls_for(10)


def test_statuses_of_a_hostile_ca_make_few_series() -> None:
    """It may answer each request with another one."""
    metrics = Metrics()
    for status in (*range(100, 1000), "none", "²²²"):
        metrics.acme_request("new-order", status)
    assert series(metrics)["mailtls_acme_requests"] <= 2 * 25  # each has a time of creation beside it
    assert 'code="404",type="new-order"} 1.0' in metrics.text().decode()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is missing: the metrics were not checked")
def test_promtool_finds_nothing_to_say() -> None:
    """Names, units, types and help texts are as Prometheus recommends, with every metric in use."""
    metrics = Metrics()
    operate(metrics)
    report(metrics, 1)
    done = subprocess.run(["promtool", "check", "metrics"], input=metrics.text(), capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
