"""The cluster's network namespace: its own ports, links and firewall, and one cable to the host."""

from __future__ import annotations

import ctypes
import fcntl
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.console import Trouble
from testbed.layout import NODE_ADDRESS, cache_folder
from testbed.processes import inside

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from testbed.layout import Layout

_CABLES = "198.18.255"  # the /30 networks of the cables: 64 clusters side by side
_STEP = 4
_CLONE_NEWNET = 0x40000000


def create(layout: Layout) -> str:
    """Make the namespace, its node address and its cable; gives the address that the host reaches it by."""
    _run("ip", "netns", "add", layout.name)
    _inside(layout, "ip", "link", "set", "lo", "up")
    _inside(layout, "sysctl", "-qw", "net.ipv4.ip_forward=1")
    # A bridge without ports stands in for a dummy link, which some kernels lack; the kubelet refuses loopback.
    _inside(layout, "ip", "link", "add", "node0", "type", "bridge")
    _inside(layout, "ip", "addr", "add", f"{NODE_ADDRESS}/32", "dev", "node0")
    _inside(layout, "ip", "link", "set", "node0", "up")
    return _lay_cable(layout)


def delete(layout: Layout) -> None:
    """Take the cable and the namespace away; nothing to take is fine."""
    subprocess.run(["ip", "link", "del", layout.host_link], check=False, capture_output=True)
    if layout.namespace.exists():
        subprocess.run(["ip", "netns", "del", layout.name], check=False, capture_output=True)
        layout.namespace.unlink(missing_ok=True)  # a mount point that a killed `ip netns add` left empty


def exists(layout: Layout) -> bool:
    """Whether the cluster's namespace is there."""
    return layout.namespace.exists()


def is_inside(layout: Layout) -> bool:
    """Whether this process already lives in the cluster's namespace."""
    try:
        return Path("/proc/thread-self/ns/net").stat().st_ino == layout.namespace.stat().st_ino
    except FileNotFoundError:
        return False


def enter(layout: Layout) -> None:
    """Move this thread, and so every thread and process that it starts from now on, into the namespace."""
    _set_namespace(layout.namespace)


@contextmanager
def outside(home: Path) -> Iterator[None]:
    """Be in the namespace of an open descriptor (`/proc/self/fd/N`) for a while, then back where we were."""
    with Path("/proc/thread-self/ns/net").open("rb") as here:
        _set_namespace(home)
        try:
            yield
        finally:
            _set_namespace(Path(f"/proc/self/fd/{here.fileno()}"))


def _set_namespace(path: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    with path.open("rb") as namespace:
        if libc.setns(namespace.fileno(), _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter {path}")


def _lay_cable(layout: Layout) -> str:
    """Take the first free /30; a lock, for two clusters may start at once."""
    with (cache_folder() / "cables.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        taken = subprocess.run(["ip", "-4", "-o", "addr"], check=True, capture_output=True, text=True).stdout
        for base in range(0, 256, _STEP):
            outer, inner = f"{_CABLES}.{base + 1}", f"{_CABLES}.{base + 2}"
            if f" {outer}/30 " not in taken:
                _plug_in(layout, outer, inner)
                return inner
    message = f"all 64 networks of {_CABLES}.0/24 are taken: take a cluster down first"
    raise Trouble(message)


def _plug_in(layout: Layout, outer: str, inner: str) -> None:
    link = layout.host_link
    _run("ip", "link", "add", link, "type", "veth", "peer", "name", "host0", "netns", layout.name)
    _run("ip", "addr", "add", f"{outer}/30", "dev", link)
    _run("ip", "link", "set", link, "up")
    _inside(layout, "ip", "addr", "add", f"{inner}/30", "dev", "host0")
    _inside(layout, "ip", "link", "set", "host0", "up")
    _inside(layout, "ip", "route", "add", "default", "via", outer)
    # The node's and the pods' addresses are the same in every cluster: the host reaches those of the first one.
    subprocess.run(["ip", "route", "add", "198.18.0.0/23", "via", inner, "dev", link], check=False, capture_output=True)


def _inside(layout: Layout, *command: str) -> None:
    _run(*inside(layout, command))


def _run(*command: str) -> None:
    _checked(command)


def _checked(command: Sequence[str]) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        message = f"{' '.join(command)}: {done.stderr.strip()}"
        raise Trouble(message)
