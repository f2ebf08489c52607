"""Runs BIND's named on loopback addresses with a free port, with zones and TSIG keys of a test's own making."""

import base64
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rdataclass
import dns.rdatatype
import dns.resolver
import pytest

from mailservers.instance import free_ports
from mailtls.api.spec import DataRef
from mailtls.issuance.solvers.dns_update import Rfc2136
from mailtls.issuance.solvers.propagation import Names

PRIMARY, SECONDARY = "127.0.0.1", "::1"  # BIND listens on addresses that an interface has, so not on 127.0.0.2
_STARTS_WITHIN_SECONDS = 120.0
_RUNS = re.compile(r"^\S+ \S+ running$", re.MULTILINE)
_SECRET_REF = DataRef("Secret", "mail", "dns-key", "secret")

_OPTIONS = """\
options {{
  directory "{folder}";
  pid-file none;
  session-keyfile none;
  listen-on port {port} {{ {address4}; }};
  listen-on-v6 port {port} {{ {address6}; }};
  {recursion}
  allow-transfer {{ any; }};
  notify no;
  empty-zones-enable no;
}};
controls {{ inet {address} port {control_port} allow {{ any; }} keys {{ "control"; }}; }};
"""


@dataclass(frozen=True, slots=True)
class Key:
    """A TSIG key as `tsig-keygen` makes it."""

    name: str
    algorithm: str = "hmac-sha256"
    secret: str = field(default_factory=lambda: base64.b64encode(secrets.token_bytes(32)).decode())

    @property
    def file(self) -> str:
        """The key file of BIND."""
        return f'key "{self.name}" {{\n\talgorithm {self.algorithm};\n\tsecret "{self.secret}";\n}};\n'


@dataclass(frozen=True, slots=True)
class ZoneFile:
    """A zone: its records besides SOA, and what a key may do (`policy`), or the primary it is a copy of."""

    name: str
    records: str = "@ NS ns1.nowhere.invalid.\n"
    policy: str = ""
    primary: str = ""


@dataclass(frozen=True, slots=True)
class Validating:
    """Makes named a resolver that asks one other server, and validates from `anchor` (a DNSKEY of the root) on."""

    upstream: str
    port: int
    anchor: str

    @property
    def options(self) -> str:
        """What the options say of it."""
        forward = f"forward only; forwarders {{ {self.upstream} port {self.port}; }};"
        return f"recursion yes; dnssec-validation yes; {forward}"

    @property
    def statement(self) -> str:
        """The root's key, as BIND wants it."""
        flags, protocol, algorithm, *key = self.anchor.split()
        return f'trust-anchors {{ . static-key {flags} {protocol} {algorithm} "{"".join(key)}"; }};\n'


@dataclass(frozen=True, slots=True)
class Server:
    """A DNS server that takes updates, whoever made it."""

    address: str
    port: int

    @property
    def server(self) -> str:
        """host:port, as in a spec."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    def settings(self, key: Key, **changes: str | int) -> Rfc2136:
        """Return settings that update this server with `key`."""
        own = Rfc2136(self.server, key.name, _SECRET_REF, key.algorithm)
        return replace(own, **changes)  # type: ignore[arg-type]

    def names(self) -> Names:
        """Return a resolver that asks this server, and finds name servers at its port."""
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = [self.address], self.port
        return Names(resolver, self.port)

    def texts(self, name: str) -> set[str]:
        """Return the TXT values at a name."""
        return {b"".join(each.strings).decode() for each in self._ask(name, dns.rdatatype.TXT)}

    def serial(self, zone: str) -> int:
        """Return the serial number of a zone, by which secondaries learn of changes."""
        return int(next(iter(self._ask(zone, dns.rdatatype.SOA))).serial)

    def await_zone(self, zone: str) -> None:
        """Wait until it has a zone; a secondary has to fetch its copy first."""
        query, until = dns.message.make_query(zone, dns.rdatatype.SOA), time.monotonic() + _STARTS_WITHIN_SECONDS
        while time.monotonic() < until:
            with suppress(OSError, dns.exception.DNSException):
                answer = dns.query.udp(query, self.address, port=self.port, timeout=1)
                if answer.flags & dns.flags.AA and answer.answer:
                    return
            time.sleep(0.02)
        raise AssertionError(f"{self.server} does not have the zone {zone}")

    def _ask(self, name: str, kind: dns.rdatatype.RdataType) -> Iterable[Any]:
        answer = dns.query.udp(dns.message.make_query(name, kind), self.address, port=self.port, timeout=30)
        return answer.get_rrset(answer.answer, dns.name.from_text(name), dns.rdataclass.IN, kind) or ()


@dataclass(frozen=True, slots=True)
class Bind(Server):
    """A running named; `rndc` commands it."""

    folder: Path
    process: subprocess.Popen[bytes]

    def rndc(self, *command: str) -> None:
        """Command the server."""
        arguments = ["rndc", "-c", str(self.folder / "rndc.conf"), *command]
        subprocess.run(arguments, check=True, capture_output=True, timeout=120)

    def stop(self) -> None:
        """End the server at once."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=60)


@contextmanager
def running(
    folder: Path,
    zones: Iterable[ZoneFile],
    keys: Iterable[Key] = (),
    *,
    address: str = PRIMARY,
    port: int = 0,
    validating: Validating | None = None,
) -> Iterator[Bind]:
    """Run named until the block ends; skips the test where there is no BIND."""
    program = _program(folder)
    if address == SECONDARY and not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 on loopback")
    port = port or free_port()
    _configure(folder, zones, keys, (address, port), validating)
    log = (folder / "named.log").open("wb")
    process = subprocess.Popen(
        [program, "-g", "-n", "1", "-c", str(folder / "named.conf")], stdout=log, stderr=subprocess.STDOUT
    )
    bind = Bind(address, port, folder, process)
    try:
        _await_answer(bind)
        yield bind
    finally:
        bind.stop()
        log.close()


def free_port() -> int:
    """Return a port that is free for TCP and UDP, over IPv4 and IPv6."""
    for _ in range(50):
        with ExitStack() as stack:
            (port,) = free_ports(("dns",), PRIMARY).values()
            try:
                stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)).bind((PRIMARY, port))
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM) if socket.has_dualstack_ipv6() else ():
                    stack.enter_context(socket.socket(socket.AF_INET6, kind)).bind((SECONDARY, port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")


def _program(folder: Path) -> str:
    found = shutil.which("named", path="/usr/sbin:/usr/local/sbin:/usr/bin:/bin")
    if found is None or shutil.which("rndc") is None:
        pytest.skip("no BIND: apt-get install bind9")
    folder.mkdir(parents=True, exist_ok=True)
    # A copy of the program: AppArmor's profile goes by path, and lets the packaged one read /etc/bind only.
    return str(shutil.copy2(found, folder / "named"))


def _configure(
    folder: Path, zones: Iterable[ZoneFile], keys: Iterable[Key], listen: tuple[str, int], validating: Validating | None
) -> None:
    address, port = listen
    control = Key("control")
    control_port = free_port()
    families = {"address4": "none", "address6": "none"} | {"address6" if ":" in address else "address4": address}
    text = control.file + "".join(key.file for key in keys)
    recursion = validating.options if validating else "recursion no; dnssec-validation no;"
    text += _OPTIONS.format(
        folder=folder, address=address, port=port, control_port=control_port, recursion=recursion, **families
    )
    text += validating.statement if validating else ""
    for zone in zones:
        if not zone.primary:
            soa = "$TTL 60\n@ SOA ns1.nowhere.invalid. hostmaster 1 3600 600 86400 1\n"
            (folder / f"{zone.name}.db").write_text(soa + zone.records)
        text += _zone(zone)
    (folder / "named.conf").write_text(text)
    (folder / "rndc.conf").write_text(
        control.file + f'options {{ default-key "control"; default-server {address}; default-port {control_port}; }};\n'
    )


def _zone(zone: ZoneFile) -> str:
    if zone.primary:
        return f'zone "{zone.name}" {{ type secondary; file "{zone.name}.copy"; {zone.primary} }};\n'
    policy = f"update-policy {{ {zone.policy} }};" if zone.policy else ""
    return f'zone "{zone.name}" {{ type primary; file "{zone.name}.db"; {policy} }};\n'


def _await_answer(bind: Bind) -> None:
    query = dns.message.make_query("version.bind", dns.rdatatype.TXT, "CH")
    until = time.monotonic() + _STARTS_WITHIN_SECONDS
    while time.monotonic() < until and bind.process.poll() is None:
        try:
            dns.query.tcp(query, bind.address, port=bind.port, timeout=1)
        except (OSError, EOFError, dns.exception.DNSException):
            time.sleep(0.02)
            continue
        if _RUNS.search((bind.folder / "named.log").read_text(errors="replace")):
            return  # before that it answers for itself, while it is still loading the zones
        time.sleep(0.02)
    raise AssertionError((bind.folder / "named.log").read_text())
