"""Alertmanager's inhibition as its documentation defines it, and a real Alertmanager where there is one."""

import json
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from contracts.render import ROOT
from functional.prometheus import free_port

CONFIGURATION = ROOT / "deploy" / "alertmanager.yaml"
MATCHER = re.compile(r'^(?P<label>\w+)\s*(?P<how>=~|!~|!=|=)\s*"(?P<value>.*)"$')
Labels = Mapping[str, str]


def configuration() -> Any:
    """Return the example that users are given."""
    return yaml.safe_load(CONFIGURATION.read_text(encoding="utf-8"))


def alertmanager_binary() -> str:
    """Where Alertmanager is; Debian gives it a longer name. It fails where there is none."""
    found = shutil.which("alertmanager") or shutil.which("prometheus-alertmanager")
    assert found is not None, "Alertmanager is missing: install Debian's prometheus-alertmanager"
    return found


def notified(alerts: Sequence[Labels]) -> list[Labels]:
    """Return the alerts that no other one inhibits."""
    rules = configuration()["inhibit_rules"]
    return [each for each in alerts if not any(_inhibits(rule, alerts, each) for rule in rules)]


def _inhibits(rule: Any, alerts: Iterable[Labels], target: Labels) -> bool:
    if not _match(rule["target_matchers"], target):
        return False
    if _match(rule["source_matchers"], target):
        return False  # what is on both sides does not inhibit itself
    sources = (each for each in alerts if _match(rule["source_matchers"], each))
    return any(all(each.get(name, "") == target.get(name, "") for name in rule.get("equal", ())) for each in sources)


def _match(matchers: Iterable[str], labels: Labels) -> bool:
    return all(_matches(each, labels) for each in matchers)


def _matches(matcher: str, labels: Labels) -> bool:
    found = MATCHER.match(matcher)
    assert found is not None, matcher
    value, given = found["value"], labels.get(found["label"], "")
    same = re.fullmatch(value, given) is not None if "~" in found["how"] else given == value
    return same is not found["how"].startswith("!")


class Alertmanager:
    """What a running Alertmanager can be asked."""

    def __init__(self, port: int) -> None:
        self.address = f"127.0.0.1:{port}"
        self._url = f"http://{self.address}/api/v2"

    def await_groups(self, wanted: Callable[[list[list[Labels]]], bool], within: float = 90.0) -> list[list[Labels]]:
        """Wait until what is not inhibited, by notification, is as wanted; fails with what was seen last."""
        deadline, seen = time.monotonic() + within, list[list[Labels]]()
        while time.monotonic() < deadline:
            groups = self._get("/alerts/groups?inhibited=false")
            seen = [[each["labels"] for each in group["alerts"]] for group in groups if group["alerts"]]
            if wanted(seen):
                return seen
            time.sleep(0.2)
        raise AssertionError(f"Alertmanager notifies of {seen}")

    def await_ready(self, within: float = 60.0) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            try:
                self._get("/status")
            except OSError:
                time.sleep(0.2)
            else:
                return
        raise AssertionError("Alertmanager does not answer")

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(self._url + path, timeout=5) as answer:
            return json.load(answer)


@contextmanager
def alertmanager(folder: Path) -> Iterator[Alertmanager]:
    """Run Alertmanager with the example as it is."""
    port, binary = free_port(), alertmanager_binary()
    options = ["--cluster.listen-address=", f"--storage.path={folder / 'data'}", f"--config.file={CONFIGURATION}"]
    with (folder / "alertmanager.log").open("w") as log:
        process = subprocess.Popen(
            [binary, *options, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=subprocess.STDOUT
        )
        try:
            running = Alertmanager(port)
            running.await_ready()
            yield running
        finally:
            process.terminate()
            process.wait(timeout=20)
