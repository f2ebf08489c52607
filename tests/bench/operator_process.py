"""The operator as a process of this machine, so that /proc tells what it costs."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.console import Trouble
from testbed.layout import project_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TICKS = os.sysconf("SC_CLK_TCK")
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_UNTIL_READY = 20.0

Sample = tuple[str, dict[str, str], float]


@dataclass(frozen=True, slots=True)
class OperatorProcess:
    """A running operator."""

    process: subprocess.Popen[bytes]
    port: int

    def samples(self, name: str) -> list[tuple[dict[str, str], float]]:
        """The samples of one metric, with their labels."""
        with _direct().open(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        found = (each.groups() for each in _SAMPLE.finditer(text))
        return [(dict(_LABEL.findall(labels or "")), float(value)) for named, labels, value in found if named == name]

    def acme_requests(self) -> dict[str, float]:
        """How many ACME requests were made so far, by type."""
        counted: dict[str, float] = {}
        for labels, value in self.samples("mailtls_acme_requests_total"):
            counted[labels["type"]] = counted.get(labels["type"], 0.0) + value
        return counted

    def passes(self) -> float:
        """How many passes there were so far."""
        return sum(value for _, value in self.samples("mailtls_reconcile_duration_seconds_count"))

    def cpu_seconds(self) -> float:
        """Processor time used so far."""
        return cpu_seconds(self.process.pid)

    def resident_mebibytes(self) -> float:
        """Memory in use now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) / 1024


def cpu_seconds(pid: int) -> float:
    """Processor time, in the kernel and outside, that a process used so far; 0 when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return 0.0
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


@contextmanager
def running(settings: Mapping[str, str], log: Path) -> Iterator[OperatorProcess]:
    """Run the operator of this checkout with these settings; its log goes to a file."""
    port = _free_port()
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment = {
        **kept,
        **settings,
        "PYTHONPATH": str(project_folder() / "operator"),
        "MAILTLS_METRICS_PORT": str(port),
        "MAILTLS_HTTP01_PORT": str(_free_port()),
    }
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-m", "mailtls", "run"], env=environment, stderr=output)
    try:
        _await_leading(OperatorProcess(process, port), log)
        yield OperatorProcess(process, port)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def kubeconfig(server: str, authority: Path, token: str) -> str:
    """A kubeconfig, which may be JSON, for a bearer token."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "bench",
            "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
            "clusters": [{"name": "bench", "cluster": {"server": server, "certificate-authority": str(authority)}}],
            "users": [{"name": "bench", "user": {"token": token}}],
        }
    )


def _await_leading(operator: OperatorProcess, log: Path) -> None:
    deadline = time.monotonic() + _UNTIL_READY
    while not _is_leading(operator):
        if operator.process.poll() is not None or time.monotonic() > deadline:
            said = log.read_text(encoding="utf-8", errors="replace")[-2000:]
            message = f"the operator does not come up: {said}"
            raise Trouble(message)
        time.sleep(0.1)
    time.sleep(1.0)  # its watches begin right after


def _is_leading(operator: OperatorProcess) -> bool:
    try:
        return any(value == 1 for _, value in operator.samples("mailtls_leader"))
    except OSError:
        return False


def _direct() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
