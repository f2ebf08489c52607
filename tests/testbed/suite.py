"""`make test`: every stage of it, the builds going on while linters and unit tests run, and an honest end."""

from __future__ import annotations

import json
import os
import shutil
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
    from pathlib import Path

    from testbed.cluster import Cluster

_WITHOUT_TOOLS = ("lint", "unit")
# Tests that talk to real servers on a busy machine meet races of those servers. So few failures of one run are tried
# once more, alone; more of them are no accident.
_TRIED_AGAIN = 2


@dataclass(frozen=True, slots=True)
class Stage:
    """How one part ended."""

    name: str
    passed: bool
    seconds: float
    at_second_try: tuple[str, ...] = ()  # tests that failed first


def run_everything(cluster: Cluster) -> int:
    """Run all stages, each to its end, so that one run tells all there is to tell; gives the exit code."""
    obstacle = host.obstacle()
    with ThreadPoolExecutor(max_workers=1) as pool:
        built = pool.submit(_build, obstacle)
        stages = [_make(name) for name in _WITHOUT_TOOLS]
        stages.append(_await(built))
    stages.append(_make("contracts"))
    stages.append(make_twice("functional", project_folder()))
    if obstacle is None:
        try:
            stages.append(make_twice("e2e", project_folder()))
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


def _make(target: str, project: Path | None = None, pytest_options: str = "") -> Stage:
    say(f"===== make {target}")
    began_at = time.monotonic()
    done = subprocess.run(
        ["make", "--no-print-directory", target], check=False, cwd=project or project_folder(),
        env={**os.environ, "PYTEST_ADDOPTS": f"{os.environ.get('PYTEST_ADDOPTS', '')} {pytest_options}"},
    )  # fmt: skip
    return Stage(target, done.returncode == 0, time.monotonic() - began_at)


def make_twice(target: str, project: Path) -> Stage:
    """Make a target whose tests talk to real servers, and once more where few of them failed, with these alone."""
    kept = project / "build" / "pytest" / target
    shutil.rmtree(kept, ignore_errors=True)
    first = _make(target, project, f"-o cache_dir={kept}")
    failed = _failures(kept)
    if first.passed or not 0 < len(failed) <= _TRIED_AGAIN:
        return first
    say(f"===== once more, alone: {', '.join(failed)}")
    second = _make(target, project, f"-o cache_dir={kept} --last-failed")
    return Stage(target, second.passed, first.seconds + second.seconds, failed if second.passed else ())


def _failures(kept: Path) -> tuple[str, ...]:
    """Names of the tests that failed, from pytest's cache in this folder."""
    file = kept / "v" / "cache" / "lastfailed"
    return tuple(json.loads(file.read_text())) if file.exists() else ()


def _conclude(stages: list[Stage], obstacle: str | None) -> int:
    say("===== summary")
    for stage in stages:
        say(f"{stage.name:12} {'passed' if stage.passed else 'FAILED'} in {stage.seconds:.0f}s")
        for test in stage.at_second_try:
            say(f"UNSTABLE: {test} failed, and passed when it was run again: find out what it races against.")
    failed = not all(stage.passed for stage in stages)
    if obstacle is not None:
        say(f"LEFT OUT: every test on the real cluster, because {obstacle}.")
        failed |= os.environ.get("CI") == "true"
    return int(failed)
