"""A cluster that goes with the process that it belongs to, however that process ends.

A time-out may end a test anywhere, in its clean-up too, and a kill asks nobody. So a process of its own, the guard,
takes the cluster down: its input is a pipe, which ends when nobody holds the other end any more. Where the guard was
killed too, the next to start a cluster takes down what is left: owner and guard hold one lock, which the kernel lets go
of when both have ended, and not before.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from testbed.cluster import Cluster
from testbed.console import Trouble
from testbed.layout import Layout, cache_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def belonging(cluster: Cluster) -> Iterator[Cluster]:
    """Take the cluster down when the block ends, or the process does; nobody else may have one of its name."""
    folder = cache_folder() / "guards"
    folder.mkdir(exist_ok=True)
    take_down_orphans(folder)
    with hold(folder, cluster) as held:
        with start_guard(cluster, subprocess.PIPE, held.fileno()) as guard:
            yield cluster
        if guard.returncode:
            message = f"cluster {cluster.layout.name} was not taken down: its guard ended with {guard.returncode}"
            raise Trouble(message)
        _file(folder, cluster.layout.name).unlink(missing_ok=True)


def hold(folder: Path, cluster: Cluster) -> IO[str]:
    """Lock the cluster's file; it is locked from the moment on that others can find it."""
    new = folder / f".{cluster.layout.name}"
    held = new.open("w", encoding="utf-8")
    fcntl.flock(held, fcntl.LOCK_EX)
    new.rename(_file(folder, cluster.layout.name))
    return held


def start_guard(cluster: Cluster, life: int | IO[bytes], *locks: int) -> subprocess.Popen[bytes]:
    """Start what takes the cluster down at the end of its input, in a session of its own, as no Ctrl-C may end it."""
    command = [sys.executable, "-m", "testbed", "--name", cluster.layout.name, "guard"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(command, stdin=life, env=environment, start_new_session=True, pass_fds=locks)


def guard(cluster: Cluster) -> None:
    """Be the guard: wait for the end of the input, then take the cluster down."""
    sys.stdin.buffer.read()
    cluster.down()


def take_down_orphans(folder: Path) -> None:
    """Take down what is left of each cluster whose owner and guard have both ended."""
    for file in folder.glob("*.lock"):
        try:
            with file.open("r", encoding="utf-8") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                Cluster(Layout.of(file.stem)).down()
                file.unlink(missing_ok=True)
        except (BlockingIOError, FileNotFoundError):
            continue  # somebody holds it, or it went just now


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.lock"
