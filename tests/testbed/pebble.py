"""Pebble in the namespace: an ACME server with settings of its own, counted by its log.

A test that counts orders or wants trouble starts its own Pebble: a process of 20 MB that is up in a tenth of a second.
"""

from __future__ import annotations

import fcntl
import json
import re
import ssl
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from testbed import processes
from testbed.console import Trouble
from testbed.layout import NODE_ADDRESS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from testbed.layout import Layout

_FIRST_PORT = 14000
_MANAGEMENT = 10000  # added to the port
_STEP_LIMIT = 2000
_REQUEST = re.compile(r"Pebble \S+ \S+ (GET|HEAD|POST) (/\S*) -> calling handler\(\)")


@dataclass(frozen=True, slots=True)
class PebbleSettings:
    """How an authority behaves; the defaults never fail and never dawdle."""

    nonce_reject_percent: int = 0
    authz_reuse_percent: int = 0
    alternate_roots: int = 1
    chain_length: int = 1
    no_sleep: bool = True
    retry_after_authz: int = 1
    retry_after_order: int = 1
    eab_keys: tuple[tuple[str, str], ...] = ()
    validity_seconds: int = 7_776_000
    shortlived_seconds: int = 518_400
    blocked_domains: tuple[str, ...] = ("blocked-domain.example",)
    http_port: int = 80
    tls_port: int = 443

    def environment(self) -> dict[str, str]:
        """The part that Pebble reads from its environment."""
        variables = {
            "PEBBLE_WFE_NONCEREJECT": str(self.nonce_reject_percent),
            "PEBBLE_AUTHZREUSE": str(self.authz_reuse_percent),
            "PEBBLE_ALTERNATE_ROOTS": str(self.alternate_roots),
            "PEBBLE_CHAIN_LENGTH": str(self.chain_length),
        }
        return variables | ({"PEBBLE_VA_NOSLEEP": "1"} if self.no_sleep else {})

    def config(self, port: int, pki: Path) -> dict[str, Any]:
        """The part that Pebble reads from its file."""
        return {
            "pebble": {
                "listenAddress": f"0.0.0.0:{port}",
                "managementListenAddress": f"0.0.0.0:{port + _MANAGEMENT}",
                "certificate": str(pki / "pebble.crt"),
                "privateKey": str(pki / "pebble.key"),
                "httpPort": self.http_port,
                "tlsPort": self.tls_port,
                "ocspResponderURL": "",
                "externalAccountBindingRequired": bool(self.eab_keys),
                "externalAccountMACKeys": dict(self.eab_keys),
                "domainBlocklist": list(self.blocked_domains),
                "retryAfter": {"authz": self.retry_after_authz, "order": self.retry_after_order},
                "keyAlgorithm": "ecdsa",
                "profiles": {
                    "default": {"description": "as long as ever", "validityPeriod": self.validity_seconds},
                    "shortlived": {"description": "a few days", "validityPeriod": self.shortlived_seconds},
                },
            }
        }


class Pebble:
    """One running ACME server."""

    def __init__(self, layout: Layout, port: int) -> None:
        """Speak to the Pebble of a cluster that listens on this port."""
        self._layout = layout
        self.port = port
        self.name = f"pebble-{port}"
        self.authority = layout.authority
        """The CA behind the ACME endpoint's own HTTPS: a caBundle for the operator."""

    @classmethod
    def launch(cls, layout: Layout, settings: PebbleSettings | None = None, *, port: int | None = None) -> Pebble:
        """Start one on its port, by default the next free one, and wait until it answers."""
        with _port_lock(layout):
            pebble = cls(layout, port or _free_port(layout))
            pebble.start(settings or PebbleSettings())
        return pebble

    @property
    def directory_url(self) -> str:
        """What a client is given."""
        return f"https://{NODE_ADDRESS}:{self.port}/dir"

    def start(self, settings: PebbleSettings) -> None:
        """Start it with these settings; accounts and orders of an earlier run are gone, as Pebble keeps no state."""
        folder = self._layout.pebbles
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / f"{self.name}.json"
        config.write_text(json.dumps(settings.config(self.port, self._layout.pki)), encoding="utf-8")
        (folder / f"{self.name}.settings").write_text(json.dumps(asdict(settings)), encoding="utf-8")
        command = [str(self._layout.bin / "pebble"), "-strict", f"-config={config}", f"-dnsserver={NODE_ADDRESS}:53"]
        processes.start(self._layout, self.name, command, environment=settings.environment())
        self._await_ready()

    def stop(self) -> None:
        """End it; whatever it knew is forgotten."""
        processes.stop(self._layout, self.name, grace=1.0)

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        """Refuse every connection, and break the open ones, but keep accounts and orders: an outage, not an end."""
        table = f"outage_{self.port}"
        rules = (
            f"table inet {table} {{ chain arriving {{ type filter hook input priority -10; "
            f"tcp dport {self.port} reject with tcp reset; }}\n}}"
        )
        self._nft(rules)
        try:
            yield
        finally:
            self._nft(f"delete table inet {table}")

    def orders(self) -> int:
        """How many orders were made."""
        return len(re.findall(r'Added order "', self.log()))

    def accounts(self) -> int:
        """How many accounts were made."""
        return self.log().count("accounts in memory")

    def requests(self) -> list[tuple[str, str]]:
        """Every ACME request as (method, path), management calls not among them."""
        return [(method, path) for method, path in _REQUEST.findall(self.log())]

    def log(self) -> str:
        """Everything that it said since the cluster came up, earlier runs on the same port included."""
        return (self._layout.logs / f"{self.name}.log").read_text(encoding="utf-8", errors="replace")

    def root(self, number: int = 0) -> str:
        """A root certificate, as PEM; those above 0 belong to the alternate chains."""
        return self.management(f"/roots/{number}").decode()

    def set_renewal_info(self, certificate_pem: str, response: dict[str, Any]) -> None:
        """Make ARI answer this for the certificate."""
        body = {"Certificate": certificate_pem, "ARIResponse": json.dumps(response)}
        self.management("/set-renewal-info/", json.dumps(body).encode())

    def get(self, path: str) -> dict[str, Any]:
        """Call the ACME side without an account, as a first look at the directory."""
        found: dict[str, Any] = json.loads(self._call(f"https://{NODE_ADDRESS}:{self.port}{path}"))
        return found

    def management(self, path: str, body: bytes | None = None) -> bytes:
        """Call the management API."""
        return self._call(f"https://{NODE_ADDRESS}:{self.port + _MANAGEMENT}{path}", body)

    def _call(self, url: str, body: bytes | None = None) -> bytes:
        trust = ssl.create_default_context(cafile=str(self.authority))
        direct = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust)
        )
        with direct.open(url, body, timeout=30) as answer:
            return bytes(answer.read())

    def _await_ready(self, within: float = 60.0) -> None:
        """Ask from inside: the caller may be outside, so a probe of the port goes through nsenter."""
        deadline = time.monotonic() + within
        probe = f"import socket; socket.create_connection(('{NODE_ADDRESS}', {self.port + _MANAGEMENT}), 1)"
        while subprocess.run(_python(self._layout, probe), check=False, capture_output=True).returncode != 0:
            if time.monotonic() > deadline or not processes.is_alive(self._layout, self.name):
                message = f"Pebble does not come up; see {self._layout.logs}/{self.name}.log"
                raise Trouble(message)
            time.sleep(0.05)

    def _nft(self, rules: str) -> None:
        subprocess.run(processes.inside(self._layout, ["nft", rules]), check=True, capture_output=True)


def _free_port(layout: Layout) -> int:
    """The next port that no Pebble of this cluster was ever given: its log then is its own."""
    taken = {int(file.stem.rpartition("-")[2]) for file in layout.pebbles.glob("pebble-*.json")}
    for port in range(_FIRST_PORT, _FIRST_PORT + _STEP_LIMIT):
        if port not in taken:
            return port
    message = "no port is left for another Pebble"
    raise Trouble(message)


@contextmanager
def _port_lock(layout: Layout) -> Iterator[None]:
    layout.pebbles.mkdir(parents=True, exist_ok=True)
    with (layout.pebbles / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _python(layout: Layout, program: str) -> list[str]:
    return processes.inside(layout, ["python3", "-c", program])
