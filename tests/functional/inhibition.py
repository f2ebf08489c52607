"""Alertmanager's inhibition as its documentation defines it, and a real Alertmanager where there is one."""

import json
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any

import yaml

from contracts.render import ROOT
from functional.receiving import receiving
from mailservers.instance import end, free_ports

CONFIGURATION = ROOT / "deploy" / "alertmanager.yaml"
MATCHER = re.compile(r'^(?P<label>\w+)\s*(?P<how>=~|!~|!=|=)\s*"(?P<value>.*)"$')
WAIT = "5s"
"""Of a group, before its first notification and between two: long enough for all alerts of one fault to come."""
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

    def inhibited(self) -> set[tuple[str, str]]:
        """The alerts that fire and of which nobody is notified, by name and resource."""
        alerts = [each["labels"] for each in self._get("/alerts?active=false&inhibited=true&silenced=false")]
        return {(each["alertname"].removeprefix("MailTls"), each.get("name", "")) for each in alerts}

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
        with urllib.request.urlopen(self._url + path, timeout=30) as answer:
            return json.load(answer)


@dataclass(frozen=True, slots=True)
class Notification:
    """What a receiver is sent: of which group, and the names of its alerts that fire and of those that ended."""

    receiver: str
    group: Labels
    firing: frozenset[str]
    ended: frozenset[str]


@dataclass
class Receivers:
    """All receivers of the example, which keep what they are sent."""

    address: str = ""
    got: list[Notification] = field(default_factory=list)

    def of(self, receiver: str, **group: str) -> list[set[str]]:
        """Alerts that fire in each notification of a group to a receiver in turn; none where it says that all ended."""
        return [{*each.firing} for each in self.got if (each.receiver, each.group) == (receiver, group)]

    def await_(self, wanted: Callable[[], bool], within: float = 90.0) -> None:
        """Wait until the notifications are as wanted; fails with all there are."""
        deadline = time.monotonic() + within
        while not wanted():
            assert time.monotonic() < deadline, "\n".join(map(str, self.got))
            time.sleep(0.2)

    def take(self, _path: str, _headers: Message, body: bytes) -> bool:
        """Keep one, as Alertmanager's webhook sends it."""
        said = json.loads(body)
        names = [(each["status"], each["labels"]["alertname"].removeprefix("MailTls")) for each in said["alerts"]]
        firing, ended = (frozenset(name for how, name in names if how == wanted) for wanted in ("firing", "resolved"))
        self.got.append(Notification(said["receiver"], said["groupLabels"], firing, ended))
        return True


@contextmanager
def receivers() -> Iterator[Receivers]:
    """Listen for notifications."""
    made = Receivers()
    with receiving(made.take) as port:
        made.address = f"http://127.0.0.1:{port}/"
        yield made


def _delivering(folder: Path, address: str) -> Path:
    """Write the example as a user completes it: its receivers have an address; groups wait for seconds only."""
    whole = configuration()
    whole["route"] |= {"group_wait": WAIT, "group_interval": WAIT}
    for each in whole["receivers"]:
        each["webhook_configs"] = [{"url": address, "send_resolved": True}]
    file = folder / "alertmanager.yaml"
    file.write_text(yaml.safe_dump(whole), encoding="utf-8")
    return file


@contextmanager
def alertmanager(folder: Path, deliver_to: Receivers | None = None) -> Iterator[Alertmanager]:
    """Run Alertmanager with the example as it is, or with addresses in its receivers."""
    port, binary = free_ports(("web",))["web"], alertmanager_binary()
    file = _delivering(folder, deliver_to.address) if deliver_to else CONFIGURATION
    options = ["--cluster.listen-address=", f"--storage.path={folder / 'data'}", f"--config.file={file}"]
    with (folder / "alertmanager.log").open("w") as log:
        process = subprocess.Popen(
            [binary, *options, f"--web.listen-address=127.0.0.1:{port}"],
            stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            running = Alertmanager(port)
            running.await_ready()
            yield running
        finally:
            end(process)
