"""What is measured, one function for each chapter of the table."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from bench.figures import Chapter, Figure

if TYPE_CHECKING:
    from bench.stage import Cost, Stage

READY_TARGET = 2.0  # seconds
RATE_TARGET = 20.0  # certificates per second
WRITES_TARGET = 6
RUNS = 5
MANY = 100
APPLYING = 8  # users at the same time: one alone takes half of the whole time for it
IDLE_RESOURCES = 500
IDLE_SECONDS = 30.0
SETTLING_SECONDS = 5.0
_RENEWAL_INFO = "renewal-info"


def latency(stage: Stage) -> Chapter:
    """One resource after the other, each alone: from the apply to Ready, and what it asked the API server for."""
    _issue(stage, "warm-up", 1)
    time.sleep(0.5)
    mark, passes, seconds = stage.audit.mark(), stage.operator.passes(), []
    for run in range(RUNS):
        seconds.append(_issue(stage, f"one-{run}", 1))
        time.sleep(0.3)
    asked = stage.requests(mark)
    writes = sum(each.is_write for each in asked)
    reads = sum(each.verb in {"get", "list"} for each in asked)
    return Chapter(
        "one resource without workloads, a warm account, a CA that answers finalize with Retry-After: 1",
        (
            Figure(f"apply to Ready, median of {RUNS}", statistics.median(seconds), "s", READY_TARGET),
            Figure(f"apply to Ready, slowest of {RUNS}", max(seconds), "s"),
            Figure("Kubernetes writes per issuance", writes / RUNS, "requests", WRITES_TARGET),
            Figure("Kubernetes reads per issuance", reads / RUNS, "requests"),
            Figure("reconciles per issuance", (stage.operator.passes() - passes) / RUNS, "reconciles"),
        ),
    )


def acme_requests(stage: Stage) -> Chapter:
    """What an issuance asks of the CA, by the number of names: order, finalize, poll, download, and 3 for each name."""
    figures = []
    for names in (1, 2, 5):
        before = Counter(stage.operator.acme_requests())
        _issue(stage, f"names-{names}", names)
        after = Counter(stage.operator.acme_requests())
        asked = after - before
        renewal_info = asked.pop(_RENEWAL_INFO, 0.0)
        floor = 4 + 3 * names
        figures += [
            Figure(f"ACME requests for {_counted(names)}", sum(asked.values()), "requests", floor),
            Figure(f"and renewal-info (ARI), for {_counted(names)}", renewal_info, "requests"),
        ]
    return Chapter("requests to the CA, a warm account, every poll counted", tuple(figures))


def throughput(stage: Stage, bare_rate: float) -> Chapter:
    """Many resources at once, from the first apply to the last Ready."""
    names = [f"many-{number:03}" for number in range(MANY)]
    mark, before, begun = stage.audit.mark(), stage.cost(), time.monotonic()
    with ThreadPoolExecutor(max_workers=APPLYING) as users:
        list(users.map(lambda name: stage.apply(name, [name]), names))
    applied = time.monotonic() - begun
    last = max(stage.readiness.wait(names, 90).values())
    after, rate = stage.cost(), MANY / (last - begun)
    time.sleep(0.5)
    asked = stage.requests(mark)
    writes, own = sum(each.is_write for each in asked) / MANY, _milliseconds(before, after, "operator")
    return Chapter(
        f"{MANY} resources at once",
        (
            Figure("certificates per second", rate, "1/s", RATE_TARGET, more_is_better=True),
            Figure("of these seconds, applying", applied, "s"),
            Figure("certificates per second without Kubernetes", bare_rate, "1/s"),
            Figure("ratio of the two", rate / bare_rate, ""),
            Figure("Kubernetes writes per issuance among many", writes, "requests", WRITES_TARGET),
            Figure("Kubernetes reads per issuance among many", len(asked) / MANY - writes, "requests"),
            Figure("operator's processor time per issuance", own, "ms"),
            Figure("certificates per second that this time allows on one processor", 1000 / own, "1/s"),
            Figure("API server, etcd, CA and DNS: processor time per issuance", _milliseconds(before, after, "parts"),
                   "ms"),
            Figure("of the processor time spent meanwhile, not for any of these", 100 * _others(before, after), "%"),
        ),
    )  # fmt: skip


def idle(stage: Stage) -> Chapter:
    """Nothing happens to many resources: what it costs that they are there."""
    have = MANY + RUNS + 4  # warm-up, and one for each number of names
    names = [f"idle-{number:03}" for number in range(IDLE_RESOURCES - have)]
    for name in names:
        stage.apply(name, [name])
    stage.readiness.wait(names, 120)
    time.sleep(SETTLING_SECONDS)
    mark, before, passes = stage.audit.mark(), stage.cost(), stage.operator.passes()
    acme = sum(stage.operator.acme_requests().values())
    time.sleep(IDLE_SECONDS)
    after, asked = stage.cost(), stage.all_requests(mark)
    lease = [each for each in asked if each.resource == "leases"]
    rest = [each for each in asked if each.resource != "leases" and each.verb != "watch"]
    writes = sum(each.is_write for each in rest)
    minutes = (after.at - before.at) / 60
    return Chapter(
        f"{IDLE_RESOURCES} resources, nothing to do, {IDLE_SECONDS:.0f} s",
        (
            Figure("idle: Kubernetes writes", writes, "requests", 0),
            Figure("idle: Kubernetes reads", len(rest) - writes, "requests", 0),
            Figure("idle: ACME requests", sum(stage.operator.acme_requests().values()) - acme, "requests", 0),
            Figure("idle: reconciles", stage.operator.passes() - passes, "reconciles", 0),
            Figure("idle: requests for the lease per minute", len(lease) / minutes, "requests"),
            Figure("idle: processor time per minute", (after.operator - before.operator) / minutes, "s"),
            Figure("idle: resident memory", stage.operator.resident_mebibytes(), "MiB"),
        ),
    )


def _issue(stage: Stage, name: str, hosts: int) -> float:
    begun = time.monotonic()
    stage.apply(name, [f"{name}-{host}" for host in range(hosts)])
    return stage.readiness.wait([name], 60)[name] - begun


def _counted(names: int) -> str:
    return "1 name" if names == 1 else f"{names} names"


def _milliseconds(before: Cost, after: Cost, of: str) -> float:
    used: float = getattr(after, of) - getattr(before, of)
    return 1000 * used / MANY


def _others(before: Cost, after: Cost) -> float:
    ours = after.operator - before.operator + after.parts - before.parts
    return 1 - ours / (after.machine - before.machine)
