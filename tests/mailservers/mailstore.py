"""A real Dovecot on loopback that speaks all it knows: IMAP, POP3, LMTP and ManageSieve, also behind PROXY."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mailservers.certificates import HOST, Served
from mailservers.instance import free_ports
from mailtls.probe.target import Port, Protocol, ProxyProtocol, TlsMode, TlsPolicy

START_PATIENCE = 120  # seconds
_SERVICES = {Protocol.IMAP: "imap-login", Protocol.POP3: "pop3-login", Protocol.SIEVE: "managesieve-login"}

CONFIGURATION = """
base_dir = {home}/run
state_dir = {home}/run
log_path = {home}/log
hostname = {host}
protocols = imap pop3 lmtp sieve
listen = 127.0.0.1
ssl = yes
ssl_cert = <{home}/chain.pem
ssl_key = <{home}/key.pem
auth_mechanisms = plain login
haproxy_trusted_networks = 127.0.0.0/8
mail_location = maildir:{home}/mail
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid=mail gid=mail home={home}/mail
}}
"""
LISTENER = """  inet_listener {name} {{
    port = {port}
    ssl = {ssl}
    haproxy = {haproxy}
  }}"""


def missing() -> str:
    """Say why Dovecot cannot be run here, empty when it can."""
    if not Path("/usr/lib/dovecot/managesieve-login").exists() or shutil.which("dovecot") is None:
        return "dovecot is not installed (Debian packages dovecot-imapd, -pop3d, -lmtpd and -managesieved)"
    if os.geteuid() != 0:
        return "dovecot's master must be started by root"
    version = subprocess.run(["dovecot", "--version"], check=True, capture_output=True, text=True).stdout
    return "" if version.startswith("2.3.") else f"the settings are those of Dovecot 2.3, and this is {version.strip()}"


@dataclass(frozen=True, slots=True)
class Mailstore:
    """A running Dovecot; `ports` by the names they were asked for."""

    home: Path
    ports: Mapping[str, Port]

    def reload(self) -> None:
        """Let new login processes read the files again, as the preset of the operator does."""
        subprocess.run(["doveadm", "-c", str(self.home / "dovecot.conf"), "reload"], check=True, capture_output=True)

    def install(self, served: Served) -> None:
        """Put key and chain where Dovecot reads them."""
        (self.home / "chain.pem").write_bytes(served.chain_pem)
        (self.home / "key.pem").write_bytes(served.key_pem)

    def log(self) -> str:
        """Everything logged so far."""
        file = self.home / "log"
        return file.read_text() if file.exists() else ""


@contextmanager
def mailstore(served: Served) -> Iterator[Mailstore]:
    """Run Dovecot with a port of each kind."""
    home = Path(tempfile.mkdtemp(prefix="dovecot-", dir="/tmp"))  # its login user must get there: not pytest's
    home.chmod(0o755)
    server = Mailstore(home, dict(_ports()))
    server.install(served)
    (home / "dovecot.conf").write_text(_configuration(server))
    try:
        master = subprocess.Popen(
            ["dovecot", "-F", "-c", str(home / "dovecot.conf")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            _wait(master, server)
            yield server
        finally:
            os.killpg(master.pid, signal.SIGTERM)
            master.wait(START_PATIENCE)
    finally:
        shutil.rmtree(home)


def _ports() -> Iterator[tuple[str, Port]]:
    kinds = [
        (protocol, tls, proxy)
        for protocol in _SERVICES
        for tls in (TlsMode.START_TLS, TlsMode.IMPLICIT)
        for proxy in (ProxyProtocol.NONE, ProxyProtocol.V1, ProxyProtocol.V2)
    ]
    kinds.append((Protocol.LMTP, TlsMode.START_TLS, ProxyProtocol.NONE))
    named = {f"{protocol}-{tls}-{proxy}": (protocol, tls, proxy) for protocol, tls, proxy in kinds}
    for name, number in free_ports(named).items():
        protocol, tls, proxy = named[name]
        yield name, Port(number, tls, TlsPolicy.OPPORTUNISTIC, protocol, proxy)


def _configuration(server: Mailstore) -> str:
    parts = [CONFIGURATION.format(home=server.home, host=HOST)]
    for protocol, service in {**_SERVICES, Protocol.LMTP: "lmtp"}.items():
        listeners = [_listener(name, port) for name, port in server.ports.items() if port.protocol is protocol]
        unused = f"  inet_listener {protocol}s {{\n    port = 0\n  }}" if protocol in {"imap", "pop3"} else ""
        plain = f"  inet_listener {protocol} {{\n    port = 0\n  }}" if protocol in _SERVICES else ""
        parts.append("\n".join([f"service {service} {{", unused, plain, *listeners, "}"]))
    return "\n".join(parts) + "\n"


def _listener(name: str, port: Port) -> str:
    ssl = "yes" if port.tls_mode is TlsMode.IMPLICIT else "no"
    haproxy = "no" if port.proxy_protocol is ProxyProtocol.NONE else "yes"
    return LISTENER.format(name=name.lower(), port=port.port, ssl=ssl, haproxy=haproxy)


def _wait(master: subprocess.Popen[bytes], server: Mailstore) -> None:
    deadline = time.monotonic() + START_PATIENCE
    while time.monotonic() < deadline and master.poll() is None:
        if "starting up" in server.log():
            return
        time.sleep(0.05)
    raise AssertionError(f"dovecot did not start: {server.log()}")
