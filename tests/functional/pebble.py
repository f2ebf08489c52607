"""Runs a real Pebble, the test CA of Let's Encrypt, on free loopback ports, always in strict mode."""

import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mailservers.instance import free_ports
from mailtls.issuance.acme.connection import Roots
from testbed.tools import built

_STARTS_WITHIN_SECONDS = 120.0


def pebble_binary() -> str:
    """Find Pebble by PEBBLE_BIN, then PATH, then the test bed's tools; skip the test without it."""
    found = os.environ.get("PEBBLE_BIN") or shutil.which("pebble") or _built()
    if found is None:
        pytest.skip("no Pebble: set PEBBLE_BIN, or build the test bed's tools")
    return found


@functools.cache
def _built() -> str | None:
    tools = built()
    return tools.path("pebble") if tools else None


@dataclass(frozen=True)
class Options:
    """How Pebble behaves; percentages are chances, `config` extends its configuration file."""

    nonce_reject: int = 0
    authorization_reuse: int = 0
    always_valid: bool = True
    alternate_roots: int = 0
    dns_server: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Pebble:
    """A running Pebble; `kill` and `start` let it lose its memory, as it keeps nothing on disk."""

    folder: Path
    options: Options
    port: int
    management_port: int
    roots_pem: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def directory_url(self) -> str:
        """Where ACME begins."""
        return f"https://127.0.0.1:{self.port}/dir"

    @property
    def log(self) -> str:
        """All that Pebble wrote."""
        return (self.folder / "log").read_text(errors="replace")

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [pebble_binary(), "-strict", "-config", str(self.folder / "config.json")]
        if self.options.dns_server:
            command += ["-dnsserver", self.options.dns_server]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, env=self._environment(), stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + _STARTS_WITHIN_SECONDS
        while not self._answers():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)

    def kill(self) -> None:
        """End it as a crash would."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def management(self, method: str, path: str, **options: Any) -> requests.Response:
        """Ask the management interface."""
        url = f"https://127.0.0.1:{self.management_port}{path}"
        with self.trusting() as session:
            response = session.request(method, url, timeout=60, **options)
        response.raise_for_status()
        return response

    def trusting(self) -> requests.Session:
        """Return an HTTP client that trusts this Pebble, whose certificate has as few extensions as private CAs do."""
        session = requests.Session()
        session.mount("https://", Roots(self.roots_pem))
        return session

    def suggest_renewal(self, chain_pem: str, start: datetime, end: datetime) -> None:
        """Let the CA suggest that a certificate be renewed in this window."""
        window = {"start": start.isoformat(), "end": end.isoformat()}
        answer = {"Certificate": chain_pem, "ARIResponse": json.dumps({"suggestedWindow": window})}
        self.management("POST", "/set-renewal-info/", json=answer)

    def root(self, number: int = 0) -> x509.Certificate:
        """Return one of the roots that certificates lead to."""
        return x509.load_pem_x509_certificate(self.management("GET", f"/roots/{number}").content)

    def orders_made(self) -> int:
        """Count the orders that Pebble ever took."""
        return self.log.count("Added order ")

    def _answers(self) -> bool:
        for port in (self.port, self.management_port):
            with closing(socket.socket()) as knock:
                if knock.connect_ex(("127.0.0.1", port)) != 0:
                    return False
        return True

    def _environment(self) -> dict[str, str]:
        options = self.options
        return {
            "PEBBLE_WFE_NONCEREJECT": str(options.nonce_reject),
            "PEBBLE_AUTHZREUSE": str(options.authorization_reuse),
            "PEBBLE_VA_NOSLEEP": "1",
            "PEBBLE_VA_ALWAYS_VALID": str(int(options.always_valid)),
            "PEBBLE_ALTERNATE_ROOTS": str(options.alternate_roots),
        }


@contextmanager
def running_pebble(options: Options | None = None) -> Iterator[Pebble]:
    """Run a Pebble of its own for the block."""
    pebble_binary()
    with tempfile.TemporaryDirectory(prefix="pebble-") as name:
        pebble = _prepare(Path(name), options or Options())
        pebble.start()
        try:
            yield pebble
        finally:
            pebble.kill()


def _prepare(folder: Path, options: Options) -> Pebble:
    port, management_port, http_port, tls_port = free_ports(("acme", "management", "http", "tls")).values()
    config = {
        "listenAddress": f"127.0.0.1:{port}",
        "managementListenAddress": f"127.0.0.1:{management_port}",
        "certificate": str(folder / "cert.pem"),
        "privateKey": str(folder / "key.pem"),
        "httpPort": http_port,
        "tlsPort": tls_port,
        "keyAlgorithm": "ecdsa",
        "profiles": {"default": {"description": "the usual", "validityPeriod": 7776000}},
        **options.config,
    }
    (folder / "config.json").write_text(json.dumps({"pebble": config}))
    roots_pem = _write_server_certificate(folder)
    return Pebble(folder, options, port, management_port, roots_pem)


def _write_server_certificate(folder: Path) -> str:
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Root of the test's Pebble")])
    root = _certificate(name, name, root_key, root_key, x509.BasicConstraints(ca=True, path_length=None))
    addresses = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1")), x509.DNSName("localhost")])
    leaf = _certificate(x509.Name([]), name, key, root_key, addresses)
    (folder / "cert.pem").write_bytes(leaf.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return root.public_bytes(Encoding.PEM).decode()


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    extension: x509.ExtensionType,
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=2))
    return builder.add_extension(extension, critical=True).sign(signer, hashes.SHA256())
