"""Start programs in the namespace, write down which they are, and end exactly those.

A process is known by its id and the time that it started: an id that the kernel gave to somebody else since then is
never killed. Whatever the records miss (containers, their shims) is found by the cluster's own cgroup.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from testbed.layout import Layout

_START_TIME = 19  # field 22 of /proc/PID/stat, counted after the name in parentheses and the state


@dataclass(frozen=True, slots=True)
class Record:
    """One process: a recycled id has another start time."""

    name: str
    pid: int
    started: int

    @property
    def alive(self) -> bool:
        """Whether that very process still runs."""
        return start_time(self.pid) == self.started

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it is still the same process."""
        if self.alive:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return


def start_time(pid: int) -> int | None:
    """When the process started, in the kernel's ticks; None when there is none, or only its zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[_START_TIME])


def inside(layout: Layout, command: Sequence[str]) -> list[str]:
    """The command, run in the namespace; nsenter leaves /sys as it is, `ip netns exec` would hide the cgroups."""
    return ["nsenter", f"--net={layout.namespace}", "--", *command]


def start(layout: Layout, name: str, command: Sequence[str], *, environment: Mapping[str, str] | None = None) -> Record:
    """Start a program of the cluster: in its namespace, in its cgroup, in a session of its own, with a log."""
    layout.logs.mkdir(parents=True, exist_ok=True)
    layout.records.mkdir(parents=True, exist_ok=True)
    with (layout.logs / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            inside(layout, command),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=layout.work,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    record = Record(name, process.pid, start_time(process.pid) or 0)
    _file(layout, name).write_text(json.dumps(asdict(record)), encoding="utf-8")
    _join_cgroup(layout, process.pid)
    return record


def recorded(layout: Layout, name: str) -> Record | None:
    """The process that was written down under this name."""
    try:
        return Record(**json.loads(_file(layout, name).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def names(layout: Layout) -> list[str]:
    """Every name that a process was written down under."""
    return sorted(file.stem for file in layout.records.glob("*.json"))


def is_alive(layout: Layout, name: str) -> bool:
    """Whether the process of this name runs."""
    record = recorded(layout, name)
    return record is not None and record.alive


def stop(layout: Layout, name: str, *, grace: float = 5.0, first: signal.Signals = signal.SIGTERM) -> None:
    """End a process: ask, wait, then insist; its record goes when it is gone."""
    record = recorded(layout, name)
    if record is not None:
        end(record, grace=grace, first=first)
    _file(layout, name).unlink(missing_ok=True)


def end_strays(layout: Layout) -> None:
    """End what was started but never written down, because the starter was killed in between.

    Only programs of the cluster's folder that live in the cluster's namespace: a test or a person may be in there too.
    """
    if not layout.namespace.exists():
        return
    ours = layout.namespace.stat().st_ino
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            is_ours = (folder / "ns" / "net").stat().st_ino == ours
            command = (folder / "cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
        except OSError:
            continue  # it ended while we looked
        pid = int(folder.name)
        if is_ours and command.startswith(f"{layout.work}/"):
            end(Record("stray", pid, start_time(pid) or 0), grace=2.0)


def end(record: Record, *, grace: float, first: signal.Signals = signal.SIGTERM) -> None:
    """Ask a process to end; kill it when it does not within its grace."""
    record.signal(first)
    if not _gone(record, grace):
        record.signal(signal.SIGKILL)
        _gone(record, grace)


def _gone(record: Record, within: float) -> bool:
    deadline = time.monotonic() + within
    while record.alive:
        _reap(record.pid)
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _reap(pid: int) -> None:
    """Collect our own child's end; another process' child is not ours to collect."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def _file(layout: Layout, name: str) -> Path:
    return layout.records / f"{name}.json"


def _join_cgroup(layout: Layout, pid: int) -> None:
    from testbed import cgroups  # noqa: PLC0415  # cgroups knows Record: the import would be circular above

    cgroups.adopt(layout, pid)
