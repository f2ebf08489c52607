"""BIND in the namespace: the pods' resolver and the authority for the zones that tests update by RFC 2136.

Each test adds a zone of its own with a key of its own; `rndc reconfig` takes it up in milliseconds.
"""

from __future__ import annotations

import base64
import fcntl
import os
import secrets
import shutil
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from testbed import processes
from testbed.console import Trouble
from testbed.layout import NODE_ADDRESS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from testbed.layout import Layout

CLUSTER_DOMAIN = "cluster.local"
_SYSTEM_KEY = "testbed"

# The root zone is ours and empty: a name that nobody made is answered "no such name" at once, not forwarded.
_CONFIG = """\
options {{
  directory "{dns}";
  pid-file none;
  session-keyfile none;
  listen-on port 53 {{ {node}; 127.0.0.1; }};
  listen-on-v6 {{ none; }};
  recursion no;
  allow-transfer {{ any; }};
  allow-new-zones no;
  dnssec-validation no;
  notify no;
  minimal-responses no-auth-recursive;
  max-journal-size 1M;
}};
controls {{ inet 127.0.0.1 port 953 allow {{ 127.0.0.1; }} keys {{ "{key}"; }}; }};
include "{dns}/zones.conf";
"""
_KEY = 'key "{name}" {{ algorithm hmac-sha256; secret "{secret}"; }};\n'
_ZONE = 'zone "{name}" {{ type primary; file "{name}.db"; update-policy {{ grant "{key}" zonesub any; }}; }};\n'
_RECORDS = """\
$TTL 1
@ IN SOA ns1 hostmaster 1 3600 600 86400 1
@ IN NS ns1
ns1 IN A {node}
"""


@dataclass(frozen=True, slots=True)
class Key:
    """A TSIG key, as BIND and the operator's settings name it."""

    name: str
    secret: str
    algorithm: str = "hmac-sha256"


@dataclass(frozen=True, slots=True)
class Zone:
    """A zone that one test owns."""

    name: str
    key: Key
    server: str = NODE_ADDRESS
    port: int = 53

    def host(self, label: str) -> str:
        """A name in the zone."""
        return f"{label}.{self.name}"


class NameServer:
    """Adds and removes zones, writes and reads records."""

    def __init__(self, layout: Layout) -> None:
        """Speak to the name server of a cluster."""
        self._layout = layout
        self._folder = layout.dns

    def start(self) -> None:
        """Write the configuration and start BIND, with the root and the cluster's own zone."""
        snippets = self._folder / "zones"
        snippets.mkdir(parents=True, exist_ok=True)
        system = Key(_SYSTEM_KEY, _secret())
        (self._folder / "named.conf").write_text(
            _CONFIG.format(dns=self._folder, node=NODE_ADDRESS, key=system.name), encoding="utf-8"
        )
        key = _KEY.format(name=system.name, secret=system.secret)
        (self._folder / "system.key").write_text(key, encoding="utf-8")
        self._write_zone(".", "root", key + _ZONE.format(name=".", key=system.name).replace("..db", "root.db"))
        self._write_zone(CLUSTER_DOMAIN, CLUSTER_DOMAIN, _ZONE.format(name=CLUSTER_DOMAIN, key=system.name))
        self._list_zones()
        # A copy of the program: AppArmor's profile goes by path, and lets the packaged one read /etc/bind only.
        program = self._layout.bin / "named"
        shutil.copy2(_named(), program)
        processes.start(self._layout, "named", [str(program), "-f", "-n", "2", "-c", str(self._folder / "named.conf")])

    def add_zone(self, name: str) -> Zone:
        """Make a zone with a key of its own; it answers when this returns."""
        key = Key(f"key.{name}", _secret())
        with self._locked():
            snippet = _KEY.format(name=key.name, secret=key.secret) + _ZONE.format(name=name, key=key.name)
            self._write_zone(name, name, snippet)
            self._list_zones()
        self._reconfigure()
        self._await_zone(name)
        return Zone(name, key)

    def remove_zone(self, zone: Zone) -> None:
        """Take a zone and its key away."""
        with self._locked():
            (self._folder / "zones" / f"{zone.name}.conf").unlink(missing_ok=True)
            self._list_zones()
        self._reconfigure()
        for file in self._folder.glob(f"{zone.name}.db*"):
            file.unlink(missing_ok=True)

    def set_record(self, zone: Zone, name: str, kind: str, value: str) -> None:
        """Put one record in place of those of its name and type."""
        self._update(zone.key, zone.name, f"update delete {name}. {kind}\nupdate add {name}. 1 {kind} {value}\n")

    def delete_record(self, zone: Zone, name: str, kind: str) -> None:
        """Remove the records of a name and type."""
        self._update(zone.key, zone.name, f"update delete {name}. {kind}\n")

    def publish_service(self, namespace: str, name: str, address: str) -> str:
        """Give a Service its name in the cluster's domain; there is no CoreDNS here to do it."""
        secret = (self._folder / "system.key").read_text(encoding="utf-8").split('secret "')[1].split('"')[0]
        host = f"{name}.{namespace}.svc.{CLUSTER_DOMAIN}"
        change = f"update delete {host}. A\nupdate add {host}. 1 A {address}\n"
        self._update(Key(_SYSTEM_KEY, secret), CLUSTER_DOMAIN, change)
        return host

    def lookup(self, name: str, kind: str) -> list[str]:
        """The values of a name's records; empty when it has none."""
        return self._run("dig", f"@{NODE_ADDRESS}", "+short", "+tcp", name, kind).splitlines()

    def records(self, zone: Zone) -> list[str]:
        """Every record of a zone but its SOA and name server: what a challenge left behind shows here."""
        lines = self._run("dig", f"@{NODE_ADDRESS}", "+noall", "+answer", "axfr", zone.name).splitlines()
        own = (f"{zone.name}.", f"ns1.{zone.name}.")
        return sorted({line for line in lines if line and line.split()[0] not in own})

    def await_ready(self, *, within: float = 60.0) -> None:
        """Wait until the cluster's own zone is answered."""
        self._await_zone(CLUSTER_DOMAIN, within=within)

    def _update(self, key: Key, zone: str, changes: str) -> None:
        script = f"server {NODE_ADDRESS}\nzone {zone}.\n{changes}send\n"
        self._run("nsupdate", "-v", "-y", f"{key.algorithm}:{key.name}:{key.secret}", stdin=script)

    def _await_zone(self, name: str, *, within: float = 60.0) -> None:
        deadline = time.monotonic() + within
        question = ("dig", f"@{NODE_ADDRESS}", "+noall", "+answer", "+aaonly", "+time=1", "+tries=1", name, "SOA")
        while "SOA" not in self._run(*question, check=False):
            if time.monotonic() > deadline:
                message = f"BIND does not answer for {name}; see {self._layout.logs}/named.log"
                raise Trouble(message)
            time.sleep(0.05)

    def _reconfigure(self) -> None:
        self._run(_program("rndc"), "-s", "127.0.0.1", "-p", "953", "-c", str(self._rndc_config()), "reconfig")

    def _rndc_config(self) -> Path:
        path = self._folder / "rndc.conf"
        if not path.exists():
            key = (self._folder / "system.key").read_text(encoding="utf-8")
            partial = path.with_suffix(f".{os.getpid()}")
            partial.write_text(f'{key}options {{ default-key "{_SYSTEM_KEY}"; }};\n', encoding="utf-8")
            partial.rename(path)
        return path

    def _write_zone(self, name: str, file: str, snippet: str) -> None:
        (self._folder / f"{file}.db").write_text(_RECORDS.format(node=NODE_ADDRESS), encoding="utf-8")
        path = self._folder / "zones" / f"{name if name != '.' else '0-root'}.conf"
        path.write_text(snippet, encoding="utf-8")

    def _list_zones(self) -> None:
        """Join the snippets; renamed into place, for BIND may be reading."""
        text = "".join(file.read_text(encoding="utf-8") for file in sorted((self._folder / "zones").glob("*.conf")))
        partial = self._folder / "zones.conf.new"
        partial.write_text(text, encoding="utf-8")
        partial.rename(self._folder / "zones.conf")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _run(self, *command: str, stdin: str | None = None, check: bool = True) -> str:
        done = subprocess.run(
            processes.inside(self._layout, command), check=False, capture_output=True, text=True, input=stdin
        )
        if check and done.returncode != 0:
            message = f"{command[0]}: {(done.stderr or done.stdout).strip()}"
            raise Trouble(message)
        return done.stdout


def _secret() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


def _named() -> str:
    return _program("named")


def _program(name: str) -> str:
    """Where a program is; /usr/sbin may be missing in the PATH of a plain `su`."""
    return shutil.which(name) or f"/usr/sbin/{name}"
