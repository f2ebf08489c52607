"""What a cluster leaves on the machine: taken before and after, the two must be equal."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from testbed import cgroups

if TYPE_CHECKING:
    from testbed.layout import Layout

FILTER_LINK, FILTER_NAMESPACE = "mtf", "mailtls-filter-"  # of the packet filters of tests, before a number


@dataclass(frozen=True, slots=True)
class Traces:
    """The machine's processes, mounts, links, namespaces, firewall and cgroups that could be this cluster's.

    Links, namespaces and the firewall are the whole machine's, except those that another cluster's name stands on, and
    those of the packet filters of tests: other clusters and test runs may come and go at the same time.
    """

    processes: frozenset[str]
    mounts: frozenset[str]
    links: frozenset[str]
    namespaces: frozenset[str]
    firewall: str
    groups: frozenset[str]

    @classmethod
    def take(cls, layout: Layout, *, others: tuple[Layout, ...] = ()) -> Traces:
        """Look at the machine now; call it in the host's network namespace."""
        strangers = {other.host_link for other in others}
        return cls(
            processes=frozenset(_processes_of(layout)),
            mounts=frozenset(_lines_with(Path("/proc/self/mounts"), str(layout.work), f"/netns/{layout.name} ")),
            links=frozenset(_links() - strangers),
            namespaces=frozenset(_names(Path("/run/netns")) - {other.name for other in others}),
            firewall=_run("nft", "list", "ruleset"),
            groups=frozenset(
                str(root / layout.cgroup) for root in cgroups.hierarchies() if (root / layout.cgroup).exists()
            ),
        )


def _processes_of(layout: Layout) -> list[str]:
    """Those in the cluster's cgroup or network namespace, and those started with something of its folder."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            groups = (folder / "cgroup").read_text(encoding="utf-8")
            namespace = (folder / "ns" / "net").stat().st_ino
        except OSError:
            continue  # it ended while we looked
        ours = layout.namespace.stat().st_ino if layout.namespace.exists() else -1
        if f"/{layout.cgroup}/" in groups or f"{layout.work}/" in command or namespace == ours:
            found.append(f"{folder.name} {command}")
    return found


def _links() -> set[str]:
    names = {link["ifname"] for link in json.loads(_run("ip", "-json", "link"))}
    return {name for name in names if not name.startswith(FILTER_LINK)}


def _names(folder: Path) -> set[str]:
    names = {entry.name for entry in folder.iterdir()} if folder.exists() else set()
    return {name for name in names if not name.startswith(FILTER_NAMESPACE)}


def _lines_with(file: Path, *parts: str) -> list[str]:
    lines = file.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if any(part in line for part in parts)]


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
