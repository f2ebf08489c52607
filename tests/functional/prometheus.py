"""A real Prometheus on loopback, with the project's alert rules and no patience."""

import json
import math
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from contracts.render import ROOT
from mailservers.instance import end, free_ports

INTERVAL = "500ms"
SECONDS = {"m": 60, "h": 3600}


class Prometheus:
    """What a running Prometheus can be asked."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1"

    def firing(self) -> set[tuple[str, str]]:
        """Return the alerts that fire, by name and resource."""
        alerts = self._get("/alerts")["alerts"]
        return {
            (each["labels"]["alertname"], each["labels"].get("name", ""))
            for each in alerts
            if each["state"] == "firing"
        }

    def firing_labels(self) -> list[dict[str, str]]:
        """Return the alerts that fire, by all their labels."""
        return [each["labels"] for each in self._get("/alerts")["alerts"] if each["state"] == "firing"]

    def summaries(self) -> dict[str, str]:
        """Return what a person would read, by alert."""
        return {each["labels"]["alertname"]: each["annotations"]["summary"] for each in self._get("/alerts")["alerts"]}

    def await_firing(
        self, wanted: Callable[[set[tuple[str, str]]], bool], within: float = 120.0
    ) -> set[tuple[str, str]]:
        """Wait until the firing alerts are as wanted; fails with those that were seen last."""
        deadline, seen = time.monotonic() + within, set[tuple[str, str]]()
        while time.monotonic() < deadline:
            try:
                if wanted(seen := self.firing()):
                    return seen
            except OSError:
                pass  # it is still starting
            time.sleep(0.2)
        raise AssertionError(f"these alerts fire: {sorted(seen)}")

    def await_series(self, metric: str, within: float = 120.0) -> list[dict[str, str]]:
        """Wait until Prometheus has scraped a metric; returns the labels of its series."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            try:
                if found := self._get(f"/query?query={metric}")["result"]:
                    return [each["metric"] for each in found]
            except OSError:
                pass  # it is still starting
            time.sleep(0.2)
        raise AssertionError(f"{metric} was not scraped")

    def await_answer(self, expression: str, within: float = 120.0) -> list[tuple[dict[str, str], float]]:
        """Wait until a query is answered with samples that are numbers; returns them, and fails on a faulty query."""
        deadline, found = time.monotonic() + within, list[tuple[dict[str, str], float]]()
        while time.monotonic() < deadline:
            try:
                result = self._get(f"/query?query={quote(expression)}")["result"]
            except OSError as problem:
                if isinstance(problem, urllib.error.HTTPError) and problem.code in {400, 422}:
                    raise AssertionError(f"{expression}: {problem.read().decode()}") from None
                result = []  # it is still starting, for which it has 503, too
            found = [(each["metric"], float(each["value"][1])) for each in result]
            if found and not any(math.isnan(value) for _, value in found):
                return found
            time.sleep(0.2)
        raise AssertionError(f"{expression} is answered with {found}")

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(self._url + path, timeout=30) as answer:
            return json.load(answer)["data"]


def impatient_rules(patience: float = 0.0) -> Any:
    """Return deploy/alerts.yaml with this part of every `for`: expressions, labels and texts are untouched."""
    rules = yaml.safe_load((ROOT / "deploy" / "alerts.yaml").read_text(encoding="utf-8"))
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        found = re.fullmatch(r"(\d+)([mh])", rule.pop("for", "0m"))
        assert found is not None, rule["alert"]
        rule["for"] = f"{round(1000 * patience * int(found[1]) * SECONDS[found[2]])}ms"
    return rules


@contextmanager
def prometheus(
    folder: Path, target: str, notify: str | None = None, *, patience: float = 0.0, scrape: str = INTERVAL
) -> Iterator[Prometheus]:
    """Run Prometheus scraping `target` (host:port) every half second, as docs/how-to/metrics-and-alerts.md says.

    It sends what fires, and what no longer does, to the Alertmanager `notify` (host:port).
    """
    (folder / "alerts.yaml").write_text(yaml.safe_dump(impatient_rules(patience)))
    (folder / "prometheus.yaml").write_text(
        yaml.safe_dump(
            {
                "global": {"scrape_interval": scrape, "scrape_timeout": scrape, "evaluation_interval": INTERVAL},
                "rule_files": ["alerts.yaml"],
                "scrape_configs": [
                    {"job_name": "mailtls", "honor_labels": True, "static_configs": [{"targets": [target]}]}
                ],
                "alerting": {"alertmanagers": [{"static_configs": [{"targets": [notify]}]}] if notify else []},
            }
        )
    )
    port = free_ports(("web",))["web"]
    command = ["prometheus", f"--config.file={folder / 'prometheus.yaml'}", f"--storage.tsdb.path={folder / 'data'}"]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(
            [*command, f"--web.listen-address=127.0.0.1:{port}"],
            stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            yield Prometheus(port)
        finally:
            end(process)
