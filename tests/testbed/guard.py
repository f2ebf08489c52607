"""A cluster that goes with the process that it belongs to, however that process ends.

A time-out may end a test anywhere, in its clean-up too, and a kill asks nobody. So a process of its own takes the
cluster down: its input is a pipe, which ends when nobody holds the other end any more.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import asdict
from typing import IO, TYPE_CHECKING

from testbed.cluster import Cluster
from testbed.console import Trouble
from testbed.layout import Layout, cache_folder
from testbed.record import Record, start_time

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def belonging(cluster: Cluster) -> Iterator[Cluster]:
    """Take the cluster down when the block ends, or the process does."""
    take_down_orphans()
    with start_guard(cluster, subprocess.PIPE) as guard:
        yield cluster
    if guard.returncode:
        message = f"cluster {cluster.layout.name} was not taken down: its guard ended with {guard.returncode}"
        raise Trouble(message)


def start_guard(cluster: Cluster, life: int | IO[bytes]) -> subprocess.Popen[bytes]:
    """Start what takes the cluster down at the end of its input, in a session of its own, as no Ctrl-C may end it."""
    name = cluster.layout.name
    command = [sys.executable, "-m", "testbed", "--name", name, "guard"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, stdin=life, env=environment, start_new_session=True)
    record = Record(name, process.pid, start_time(process.pid) or 0)
    _file(name).write_text(json.dumps(asdict(record)), encoding="utf-8")
    return process


def guard(cluster: Cluster) -> None:
    """Be the guard: wait for the end of the input, then take the cluster down."""
    sys.stdin.buffer.read()
    cluster.down()
    _file(cluster.layout.name).unlink(missing_ok=True)


def take_down_orphans() -> None:
    """Take down what is left of clusters whose guards were killed."""
    for file in _file("").parent.glob("*.json"):
        try:
            killed = not Record(**json.loads(file.read_text(encoding="utf-8"))).alive
        except (FileNotFoundError, ValueError):
            continue  # it went just now, or is being written
        if killed:
            Cluster(Layout.of(file.stem)).down()
            file.unlink(missing_ok=True)


def _file(name: str) -> Path:
    folder = cache_folder() / "guards"
    folder.mkdir(exist_ok=True)
    return folder / f"{name}.json"
