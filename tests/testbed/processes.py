"""Start programs in the namespace, write down which they are, and end exactly those.

A process is known by its id and the time that it started: an id that the kernel gave to somebody else since then is
never killed. Whatever the records miss (containers, their shims) is found by the cluster's own cgroup.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from dataclasses import asdict
from typing import TYPE_CHECKING

from testbed import cgroups
from testbed.record import Record, end, start_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from testbed.layout import Layout

# A process joins the cluster's cgroup before it becomes the program: if the starter is killed before it can write the
# process down, the cgroup still tells whose it is.
_JOIN_AND_BECOME = """
while [ "$1" != -- ]; do { echo $$ > "$1"; } 2>/dev/null; shift; done
shift
exec "$@"
"""


def inside(layout: Layout, command: Sequence[str]) -> list[str]:
    """The command, run in the namespace; nsenter leaves /sys as it is, `ip netns exec` would hide the cgroups."""
    return ["nsenter", f"--net={layout.namespace}", "--", *command]


def start(layout: Layout, name: str, command: Sequence[str], *, environment: Mapping[str, str] | None = None) -> Record:
    """Start a program of the cluster: in its namespace, in its cgroup, in a session of its own, with a log."""
    layout.logs.mkdir(parents=True, exist_ok=True)
    layout.records.mkdir(parents=True, exist_ok=True)
    with (layout.logs / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            ["/bin/sh", "-c", _JOIN_AND_BECOME, "sh", *cgroups.doors(layout), "--", *inside(layout, command)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=layout.work,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    record = Record(name, process.pid, start_time(process.pid) or 0)
    _file(layout, name).write_text(json.dumps(asdict(record)), encoding="utf-8")
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


def _file(layout: Layout, name: str) -> Path:
    return layout.records / f"{name}.json"
