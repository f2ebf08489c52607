"""`make test`: every stage of it, the builds going on while linters and unit tests run, and an honest end."""

from __future__ import annotations

import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from testbed import host
from testbed.console import Trouble, say
from testbed.layout import project_folder
from testbed.ready import prepare
from testbed.tools import ensure_tools

if TYPE_CHECKING:
    from concurrent.futures import Future

    from testbed.cluster import Cluster

_WITHOUT_TOOLS = ("lint", "unit")
_WITH_TOOLS = ("contracts", "functional")


@dataclass(frozen=True, slots=True)
class Stage:
    """How one part ended."""

    name: str
    passed: bool
    seconds: float


def run_everything(cluster: Cluster) -> int:
    """Run all stages, each to its end, so that one run tells all there is to tell; gives the exit code."""
    obstacle = host.obstacle()
    with ThreadPoolExecutor(max_workers=1) as pool:
        built = pool.submit(_build, obstacle)
        stages = [_make(name) for name in _WITHOUT_TOOLS]
        stages.append(_await(built))
    stages += [_make(name) for name in _WITH_TOOLS]
    if obstacle is None:
        try:
            stages.append(_make("e2e"))
        finally:
            cluster.down()
    return _conclude(stages, obstacle)


def _build(obstacle: str | None) -> None:
    """The programs are of use without a cluster too: Pebble to the functional tests, Helm to the chart's."""
    if obstacle is None:
        prepare(for_tests=True, with_operator=True)
    else:
        ensure_tools()


def _await(built: Future[None]) -> Stage:
    began_at = time.monotonic()
    try:
        built.result()
    except (Trouble, OSError, subprocess.CalledProcessError) as problem:
        say(f"BUILD FAILED: {problem}")
        return Stage("build", passed=False, seconds=time.monotonic() - began_at)
    return Stage("build", passed=True, seconds=time.monotonic() - began_at)


def _make(target: str) -> Stage:
    say(f"===== make {target}")
    began_at = time.monotonic()
    done = subprocess.run(["make", "--no-print-directory", target], check=False, cwd=project_folder())
    return Stage(target, done.returncode == 0, time.monotonic() - began_at)


def _conclude(stages: list[Stage], obstacle: str | None) -> int:
    say("===== summary")
    for stage in stages:
        say(f"{stage.name:12} {'passed' if stage.passed else 'FAILED'} in {stage.seconds:.0f}s")
    failed = not all(stage.passed for stage in stages)
    if obstacle is not None:
        say(f"LEFT OUT: every test on the real cluster, because {obstacle}.")
        failed |= os.environ.get("CI") == "true"
    return int(failed)
