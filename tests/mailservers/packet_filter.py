"""A packet filter before mail ports that listen: a network namespace at the end of a cable, with rules of nftables.

The option of a case is what the filter does with its packets.
"""

import fcntl
import os
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from mailservers.case import IMPATIENT, Case, Table
from mailservers.instance import Instance, folder
from mailtls.probe.target import TlsMode
from mailtls.reasons.reason import Reason
from testbed import host, network
from testbed.traces import FILTER_LINK, FILTER_NAMESPACE

DROP, PROHIBIT, RESET = "drop", "reject with icmpx admin-prohibited", "reject with tcp reset"
CASES = {
    "drops": Case(options=(DROP,), reason=Reason.CONNECT_TIMEOUT, says="drop the packets", patience=IMPATIENT),
    "drops-465": Case(
        options=(DROP,), tls=TlsMode.IMPLICIT, reason=Reason.CONNECT_TIMEOUT, says="drop", patience=IMPATIENT
    ),
    "prohibits": Case(options=(PROHIBIT,), reason=Reason.NETWORK_UNREACHABLE, says="reject"),
    "prohibits-465": Case(options=(PROHIBIT,), tls=TlsMode.IMPLICIT, reason=Reason.NETWORK_UNREACHABLE, says="reject"),
    "resets": Case(options=(RESET,), reason=Reason.CONNECTION_REFUSED, says="Nothing listens"),
}
_NETWORKS = "198.18.254"  # the /30 networks of the cables: 64 runs side by side
_STEP = 4
_FIRST_PORT = 1025
_PATIENCE = 60  # seconds that a cable takes at most to carry


@contextmanager
def serve(cases: Mapping[str, Case]) -> Iterator[Instance]:
    """Lay a cable to a namespace in which every case has a port that listens, behind the filter."""
    with folder("packet-filter") as home, _own_network() as (outer, inner), _namespace(outer, inner) as name:
        ports = {case: _FIRST_PORT + number for number, case in enumerate(cases)}
        with ExitStack() as stack:
            with network.outside(Path("/run/netns") / name):
                for port in (*ports.values(), _FIRST_PORT + len(cases)):
                    stack.enter_context(socket.create_server((inner, port)))
            _wait_for_cable((inner, _FIRST_PORT + len(cases)))  # the port that no rule is about
            rules = [f"add rule inet filter input tcp dport {ports[one]} {cases[one].options[0]}" for one in cases]
            chain = "add chain inet filter input { type filter hook input priority 0; policy accept; }"
            _run("ip", "netns", "exec", name, "nft", "\n".join(["add table inet filter", chain, *rules]))
            yield Instance(home, ports, dict.fromkeys(ports, inner))


@contextmanager
def _own_network() -> Iterator[tuple[str, str]]:
    """Give both addresses of a network that no other run has, as long as this one holds its lock."""
    for base in range(0, 256, _STEP):
        lock = os.open(f"/tmp/mailtls-filter-{base}.lock", os.O_CREAT | os.O_RDWR, 0o666)
        try:
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield f"{_NETWORKS}.{base + 1}", f"{_NETWORKS}.{base + 2}"
                return
        finally:
            os.close(lock)
    raise AssertionError(f"all networks of {_NETWORKS}.0/24 are taken")


@contextmanager
def _namespace(outer: str, inner: str) -> Iterator[str]:
    name = f"{FILTER_NAMESPACE}{inner.rpartition('.')[2]}"
    subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)  # left by a run that was killed
    link = f"{FILTER_LINK}{inner.rpartition('.')[2]}"
    _run("ip", "netns", "add", name)
    try:
        _run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
        _run("ip", "addr", "add", f"{outer}/30", "dev", link)
        _run("ip", "link", "set", link, "up")
        _run("ip", "-n", name, "addr", "add", f"{inner}/30", "dev", "eth0")
        _run("ip", "-n", name, "link", "set", "eth0", "up")
        yield name
    finally:
        subprocess.run(["ip", "link", "del", link], check=False, capture_output=True)
        _run("ip", "netns", "del", name)


def _wait_for_cable(where: tuple[str, int]) -> None:
    socket.create_connection(where, _PATIENCE).close()


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.strip()}"


PACKET_FILTER = Table("packet filter", CASES, serve, lambda: host.obstacle() or "")
