"""Every query of the Grafana dashboard, answered by a real Prometheus that scraped the operator's HTTP server."""

import json
import re
import shutil
from collections.abc import Iterator
from threading import Event, Thread

import pytest

from builders.metrics import NOW, operate, report
from contracts.render import CHART
from functional.prometheus import Prometheus, prometheus
from mailtls.api.spec import Key
from mailtls.api.status import Condition, ConditionType, Truth
from mailtls.controller.health import Checks, HealthServer
from mailtls.metrics import Metrics
from mailtls.reasons.reason import Reason
from mailtls.resource_metrics import Known

pytestmark = pytest.mark.skipif(shutil.which("prometheus") is None, reason="Prometheus is missing: no query was run")

DASHBOARD = json.loads((CHART / "files" / "dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]
OF_GRAFANA = {"$__rate_interval": "1m", "$namespace": "mail", "$name": "mx-0|mx-1|mx-2"}


def fine() -> None:
    """Report no trouble to a kubelet that nobody runs here."""


def filled(expression: str) -> str:
    """Put values in the place of Grafana's variables."""
    for name, value in OF_GRAFANA.items():
        expression = expression.replace(name, value)
    assert "$" not in expression
    return expression


@pytest.fixture(scope="module")
def watching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Run an operator's metrics while it works, and a Prometheus that scrapes them."""
    metrics, stopping = Metrics(), Event()
    metrics.watch_queue(lambda: 3, lambda: 2.5)
    metrics.watch_leader(lambda: True)
    for number in range(2):
        report(metrics, number)
    refused = (Condition(kind, Truth.FALSE, Reason.INVALID_SPEC, "", NOW, 1) for kind in ConditionType)
    metrics.update(Key("mail", "mx-2"), Known(conditions=refused))

    def work() -> None:
        while not stopping.wait(0.2):
            operate(metrics)

    server, working = HealthServer(0, Checks(fine, fine), metrics.text), Thread(target=work)
    port = server.start()
    working.start()
    try:
        with prometheus(tmp_path_factory.mktemp("prometheus"), f"127.0.0.1:{port}") as running:
            yield running
    finally:
        stopping.set()
        working.join()
        server.stop()


@pytest.mark.parametrize(("title", "expression"), QUERIES)
def test_query_finds_numbers(title: str, expression: str, watching: Prometheus) -> None:
    """Metrics and labels are those that the operator has, joins fit, and quantiles are no NaN."""
    assert watching.await_answer(filled(expression)), title


def test_panels_name_series_by_labels_that_they_have(watching: Prometheus) -> None:
    """A legend whose label the query drops would be an empty word."""
    for panel in PANELS:
        for target in panel["targets"]:
            wanted = set(re.findall(r"{{(\w+)}}", target.get("legendFormat", "")))
            for labels, _ in watching.await_answer(filled(target["expr"])):
                assert wanted - set(labels) <= {"namespace"}, (panel["title"], labels)


def test_numbers_of_the_first_row_are_right(watching: Prometheus) -> None:
    """Three mail servers, of which one is not Ready, and twenty ports each of the two others, which are good."""
    shown = {title: watching.await_answer(filled(expression)) for title, expression in QUERIES}
    assert {name: shown[name][0][1] for name in ("Mail servers", "Not Ready", "Ports that fail", "Leaders")} == {
        "Mail servers": 3,
        "Not Ready": 1,
        "Ports that fail": 0,
        "Leaders": 1,
    }
    assert {labels["reason"] for labels, _ in shown["Conditions that are not True"]} == {"InvalidSpec"}
    assert {labels["reason"] for labels, _ in shown["Findings at ports"]} == {"WeakCrypto"}
