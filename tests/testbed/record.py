"""One process, known by its id and the time that it started: a recycled id is never taken for it."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

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
