"""One cgroup for each cluster: the kubelet's pods and our own programs in it, and in nobody else's.

Without a root of its own, the kubelets of two clusters would each take the other's pods for orphans and kill them.
The tree also tells, after a run that was killed, which processes were ours: shims and containers outlive containerd.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.record import Record, end, start_time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.layout import Layout

_ROOT = Path("/sys/fs/cgroup")
_NEEDED = ("cpu", "memory", "pids")
_OURS = "testbed"  # a leaf: cgroup v2 lets no group hold both processes and groups with controllers


def hierarchies() -> list[Path]:
    """The roots of the cgroup trees: one with version 2, one for each controller with version 1."""
    if (_ROOT / "cgroup.controllers").exists():
        return [_ROOT]
    return sorted(folder for folder in _ROOT.iterdir() if (folder / "cgroup.procs").exists())


def create(layout: Layout) -> None:
    """Make the cluster's group in every hierarchy."""
    for root in hierarchies():
        group = root / layout.cgroup / _OURS
        group.mkdir(parents=True, exist_ok=True)
        _inherit_cpuset(group)
        _pass_controllers_on(root, group.parent)


def missing_controllers() -> list[str]:
    """Which controllers of version 2 the kubelet would not find in a group of ours; none with version 1."""
    if hierarchies() != [_ROOT]:
        return []
    _pass_controllers_on(_ROOT)
    enabled = (_ROOT / "cgroup.subtree_control").read_text(encoding="ascii").split()
    return [name for name in _NEEDED if name not in enabled]


def doors(layout: Layout) -> list[str]:
    """The files that a process writes its id to, to be (with whatever it starts later) in the cluster's group."""
    files = (root / layout.cgroup / _OURS / "cgroup.procs" for root in hierarchies())
    return [str(file) for file in files if file.exists()]


def members(layout: Layout) -> list[Record]:
    """Every process in the cluster's groups, pods' included, except this one and those that wait for it."""
    spared = set(_ancestors(os.getpid()))
    found: dict[int, Record] = {}
    for root in hierarchies():
        for listing in (root / layout.cgroup).rglob("cgroup.procs"):
            for pid in _pids(listing):
                started = start_time(pid)
                if started is not None and pid not in spared:
                    found[pid] = Record(f"pid {pid}", pid, started)
    return list(found.values())


def kill_members(layout: Layout, *, within: float = 10.0) -> None:
    """Kill whatever is left in the cluster's groups, and see it gone; forks may need another look."""
    deadline = time.monotonic() + within
    while (left := members(layout)) and time.monotonic() < deadline:
        for record in left:
            record.signal(signal.SIGKILL)
        for record in left:
            end(record, grace=0.5, first=signal.SIGKILL)


def remove(layout: Layout) -> None:
    """Remove the cluster's groups, innermost first."""
    for root in hierarchies():
        top = root / layout.cgroup
        for folder, _, _ in os.walk(top, topdown=False):
            _remove_group(Path(folder))


def _remove_group(group: Path, tries: int = 100) -> None:
    for _ in range(tries):
        try:
            group.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.05)  # a process that was killed leaves its group a little later
        else:
            return


def _inherit_cpuset(group: Path) -> None:
    """Version 1's cpuset takes no process until its processors and memory nodes are said."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        for folder in (group.parent, group):
            file = folder / name
            if file.exists() and not file.read_text(encoding="ascii").strip():
                file.write_text((folder.parent / name).read_text(encoding="ascii"), encoding="ascii")


def _pass_controllers_on(*groups: Path) -> None:
    """Version 2 gives a group only the controllers that its parent passes on; one by one, for some may be refused."""
    for group in groups:
        offered = group / "cgroup.controllers"
        for name in offered.read_text(encoding="ascii").split() if offered.exists() else ():
            with suppress(OSError):
                (group / "cgroup.subtree_control").write_text(f"+{name}", encoding="ascii")


def _pids(listing: Path) -> Iterator[int]:
    try:
        yield from map(int, listing.read_text(encoding="ascii").split())
    except OSError:
        return


def _ancestors(pid: int) -> Iterator[int]:
    while pid > 0:
        yield pid
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        pid = int(stat.rpartition(")")[2].split()[1])
