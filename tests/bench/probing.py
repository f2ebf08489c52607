"""What the probe costs: by the number of probes at a time, beside other people's programs, and over a large fleet."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from bench import peers
from bench.dead import black_hole
from bench.figures import Chapter, Figure
from bench.mailserver import IMPLICIT_PORT, SILENT_PORT, STARTTLS_PORT
from mailservers.certificates import HOST, Authority
from mailtls.probe.conversation import Limits
from mailtls.probe.prober import Prober
from mailtls.probe.target import Endpoint, Expected, Port, Target, TlsMode, TlsPolicy
from testbed import host
from testbed.console import Trouble, step
from testbed.layout import project_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

AT_A_TIME = (1, 50, 500)
PROBES = 1000
ROUNDS = 5
LOOKS = 100  # of each kind in a round
FLEET = 5000
DEAD_SHARE = 0.05
SWEEP_TARGET = 60.0  # seconds
HANDSHAKES_TARGET = 2.0  # the processor time of a bare client's look at the same server
_MEBIBYTE = 1024.0  # KiB
_DEAD_PORT = 2527


@dataclass(frozen=True, slots=True)
class Range:
    """Where probes are shot at: servers of one certificate, with nothing else on their processor if there are two."""

    folder: Path
    expected: Expected

    @property
    def roots(self) -> Path:
        """The file of the roots that other programs are to trust."""
        return self.folder / "roots.pem"


def chapters() -> list[Chapter]:
    """Measure all; raises `Trouble` where a program is missing or refuses to work."""
    host.ensure_packages(more=peers.PROGRAMS)
    with _range() as ready:
        with step("probes at a time"):
            told = [_by_number(ready)]
        with step("beside other programs"):
            told.append(_beside(ready))
        with step(f"{FLEET} endpoints, {DEAD_SHARE:.0%} of them dead"):
            told.append(_fleet(ready))
    return told


@contextmanager
def _range() -> Iterator[Range]:
    authority = Authority()
    served = authority.issue()
    processors = sorted(os.sched_getaffinity(0))
    with TemporaryDirectory(prefix="mailtls-bench-") as name:
        folder = Path(name)
        (folder / "served.pem").write_bytes(served.pem)
        (folder / "roots.pem").write_text(authority.roots_pem, encoding="ascii")
        os.sched_setaffinity(0, processors[:1])  # one core is what is measured
        try:
            with _servers(folder, processors[-1]):
                yield Range(folder, authority.expects(served))
        finally:
            os.sched_setaffinity(0, processors)


@contextmanager
def _servers(folder: Path, processor: int) -> Iterator[None]:
    tests = project_folder() / "tests"
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.mailserver", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": f"{tests}{os.pathsep}{project_folder() / 'operator'}"},
    )
    try:
        os.sched_setaffinity(process.pid, {processor})
        if process.stdout is None or process.stdout.readline() != b"ready\n":
            raise Trouble("the mail servers of the bench do not come up")
        yield
    finally:
        process.terminate()
        process.wait(10)


def _by_number(ready: Range) -> Chapter:
    figures = []
    for at_a_time in AT_A_TIME:
        seconds = _sweep(_targets(PROBES, STARTTLS_PORT), ready, at_a_time)[1]
        figures.append(Figure(f"quick probes per second, {at_a_time} at a time", PROBES / seconds, "1/s"))
    return Chapter("the probe on one core, the servers on another, STARTTLS and a chain of two", tuple(figures))


def _beside(ready: Range) -> Chapter:
    """Take turns, round by round, so that whatever else the machine does falls on all alike; medians of the rounds."""
    bare = peers.BareClient(ready.roots)
    costs: dict[str, list[float]] = {}
    with peers.blackbox(ready.roots) as (ask, blackbox_seconds):
        for _ in range(ROUNDS):
            took = {
                "a bare client": peers.measured(bare.look, LOOKS, peers.own_seconds),
                "quick probe, STARTTLS": _cost(ready, STARTTLS_PORT),
                "quick probe, implicit TLS": _cost(ready, IMPLICIT_PORT),
                "posttls-finger": peers.measured(
                    lambda: peers.posttls_finger(ready.roots), LOOKS // 10, peers.children_seconds
                ),
                "blackbox_exporter": peers.measured(ask, LOOKS, blackbox_seconds),
            }
            for name, cost in took.items():
                costs.setdefault(name, []).append(cost.processor)
    costs["testssl.sh, protocols and certificate"] = [
        peers.measured(lambda: peers.testssl(ready.roots), 1, peers.children_seconds).processor
    ]
    pairs = zip(costs["quick probe, STARTTLS"], costs["a bare client"], strict=True)
    ratio = statistics.median(probe / bare for probe, bare in pairs)
    return Chapter(
        f"processor time of one look at a server, medians of {ROUNDS} rounds",
        (
            *(Figure(f"{name}", 1000 * statistics.median(each), "ms") for name, each in costs.items()),
            Figure("quick probe to bare client", ratio, "", HANDSHAKES_TARGET),
        ),
    )


def _cost(ready: Range, port: int) -> peers.Cost:
    targets = _targets(LOOKS, port)
    spent = peers.own_seconds()
    _, seconds = _sweep(targets, ready, at_a_time=50)
    return peers.Cost((peers.own_seconds() - spent) / LOOKS, seconds / LOOKS)


def _fleet(ready: Range) -> Chapter:
    """Half of the dead drop our packets, as a node that is gone does; the other half take the call and stay silent."""
    dead = int(FLEET * DEAD_SHARE)
    with black_hole(_DEAD_PORT):
        living = _targets(FLEET - dead, STARTTLS_PORT)
        before = _peak_mebibytes()
        endpoints, seconds = _sweep(_mixed(living, dead), ready, Limits().concurrency)
        once = _peak_mebibytes()
        _sweep(_mixed(living, dead), ready, Limits().concurrency)
        twice = _peak_mebibytes()
    failed = [endpoint for endpoint in endpoints if endpoint.failure]
    if len(failed) != dead:
        reasons = {str(endpoint.failure.reason) for endpoint in failed if endpoint.failure}
        raise Trouble(f"{len(failed)} endpoints failed, of which {dead} are dead: {', '.join(sorted(reasons))}")
    slowest = _seconds_until_living(endpoints)
    return Chapter(
        f"a fleet of {FLEET} endpoints, {dead} of them dead, the operator's own limits",
        (
            Figure("all are swept in", seconds, "s", SWEEP_TARGET),
            Figure("the last of the living was judged after", slowest, "s"),
            Figure("memory that the first sweep added at its peak", once - before, "MiB"),
            Figure("memory that the second sweep added to that", twice - once, "MiB", 8),
        ),
    )


def _seconds_until_living(endpoints: Sequence[Endpoint]) -> float:
    begun = min(endpoint.checked_at for endpoint in endpoints)
    return max((each.checked_at - begun).total_seconds() for each in endpoints if each.failure is None)


def _mixed(living: Sequence[Target], dead: int) -> list[Target]:
    """Put the dead first, where they can delay most."""
    ports = islice(cycle((_DEAD_PORT, SILENT_PORT)), dead)
    return [*(_target(number, port) for number, port in enumerate(ports)), *living]


def _sweep(targets: Sequence[Target], ready: Range, at_a_time: int | None = None) -> tuple[list[Endpoint], float]:
    prober = Prober(Limits(concurrency=at_a_time) if at_a_time else None)
    began = time.monotonic()
    endpoints = prober.probe(targets, ready.expected)
    seconds = time.monotonic() - began
    wrong = [each for each in endpoints if each.failure and each.target.port.port in {STARTTLS_PORT, IMPLICIT_PORT}]
    if wrong and wrong[0].failure:
        raise Trouble(f"{len(wrong)} probes of a server that is well failed: {wrong[0].failure.message}")
    return endpoints, seconds


def _targets(count: int, port: int) -> list[Target]:
    return [_target(number, port) for number in range(count)]


def _target(number: int, port: int) -> Target:
    address = f"127.1.{number // 250}.{number % 250 + 1}"
    mode = TlsMode.IMPLICIT if port == IMPLICIT_PORT else TlsMode.START_TLS
    return Target(
        address, Port(port, mode, TlsPolicy.OPPORTUNISTIC), HOST, pod=f"pod-{number}", workload="StatefulSet/bench"
    )


def _peak_mebibytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MEBIBYTE
