"""Runs BIND, Knot DNS and PowerDNS on loopback, set up by the very words that the documentation has for them.

All have the same zones: what the page says of one is said, in the same words, of the one that challenges are delegated
to. BIND is the machine's own, the others are those of a tree.
"""

import re
import shlex
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from subprocess import run

from contracts.snippets import page_text
from functional.bind import PRIMARY, Key, Server, ZoneFile, free_port
from functional.bind import running as running_named
from mailservers.instance import Instance, folder, running
from testbed import trees

KEY = Key("mailtls")
ZONE, DELEGATED = "example.com", "acme.example.net"
_HEAD = "$TTL 60\n@ SOA ns1.nowhere.invalid. hostmaster 1 3600 600 86400 1\n"
_RECORDS: Mapping[str, str] = {
    ZONE: "@ NS ns1\nns1 A 127.0.0.1\nmx1 A 127.0.0.1\n* CNAME mx1\n"
    f"_acme-challenge.www CNAME mx1.{DELEGATED}.\naway NS ns.elsewhere.invalid.\n",
    DELEGATED: f"@ NS ns1.{ZONE}.\n",
}
_PLACEHOLDER = "jG1d...w="  # how the page writes the secret of the key
_KNOT = """\
server:
  rundir: {home}
  user: root:root
  listen: 127.0.0.1@{port}
log:
  - target: stderr
    any: info
database:
  storage: {home}
template:
  - id: default
    storage: {home}
    file: "%s.db"
"""
_KNOT_DELEGATED = f"""\
acl:
  - id: delegated
    key: mailtls
    action: update
    update-type: TXT
zone:
  - domain: {DELEGATED}
    acl: delegated
"""
_POWERDNS = """\
launch=gsqlite3
gsqlite3-database={home}/zones.sqlite3
local-address=127.0.0.1
local-port={port}
socket-dir={home}
security-poll-suffix=
"""


def documented(section: str, kind: str) -> list[str]:
    """Return the blocks of a kind under a heading of the page, with the key of the tests for the one shown there."""
    own = page_text("dns-01.md").partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return [each.replace(_PLACEHOLDER, KEY.secret) for each in re.findall(rf"(?ms)^ *```{kind}\n(.*?)^ *```$", own)]


@contextmanager
def bind() -> Iterator[Server]:
    """Let BIND allow what the page's update-policy allows."""
    (zone,) = documented("BIND, step by step", "text")
    policy = re.findall(r"grant mailtls .*;", zone)
    allowed = {ZONE: " ".join(policy), DELEGATED: f"grant mailtls name mx1.{DELEGATED}. TXT;"}
    zones = [ZoneFile(name, records, allowed[name]) for name, records in _RECORDS.items()]
    with folder("named") as home, running_named(home, zones, [KEY]) as server:
        yield server


@contextmanager
def knot() -> Iterator[Server]:
    """Run Knot DNS with the page's key, ACL and zone."""
    (own,) = documented("Knot DNS", "text")
    tree = trees.ensure(trees.NAMESERVERS)
    with folder("knot") as home:
        port = _begin(home)
        (home / "knot.conf").write_text(_KNOT.format(home=home, port=port) + own + _KNOT_DELEGATED)
        command = trees.inside(tree, ["knotd", "--config", str(home / "knot.conf")])
        with running(Instance(home, {"dns": port}), command):
            yield _with_zones(port)


@contextmanager
def powerdns() -> Iterator[Server]:
    """Run PowerDNS with the page's script, which says what the key may change."""
    conf, (script,), (key, _) = documented("PowerDNS", "text"), documented("PowerDNS", "lua"), _commands()
    with folder("pdns") as home:
        (home / "mailtls.lua").write_text(_with_delegated(script))
        with _pdns_server(home, conf[0].replace("/etc/powerdns", str(home)), [key]) as server:
            yield server


@contextmanager
def powerdns_by_zone() -> Iterator[Server]:
    """Run PowerDNS as the page has it without the script: a key may change all of a zone."""
    conf, (key, zone) = documented("PowerDNS", "text"), _commands()
    plain = "allow-dnsupdate-from=\n" + "".join(line for line in conf[0].splitlines(keepends=True) if "lua" not in line)
    with folder("pdns") as home, _pdns_server(home, plain, [key, zone, zone.replace(ZONE, DELEGATED)]) as server:
        yield server


NAME_SERVERS: Mapping[str, Callable[[], AbstractContextManager[Server]]] = {
    "BIND": bind,
    "Knot DNS": knot,
    "PowerDNS": powerdns,
    "PowerDNS without a script": powerdns_by_zone,
}


def _commands() -> list[str]:
    return documented("PowerDNS", "console")


def _with_delegated(script: str) -> str:
    begin = "local allowed = {"
    assert begin in script
    return script.replace(begin, f'{begin} ["mx1.{DELEGATED}."] = true,')


@contextmanager
def _pdns_server(home: Path, conf: str, commands: list[str]) -> Iterator[Server]:
    tree = trees.ensure(trees.NAMESERVERS)
    port = _begin(home)
    schema = tree / "usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql"
    with sqlite3.connect(home / "zones.sqlite3") as database:
        database.executescript(schema.read_text())
    (home / "pdns.conf").write_text(_POWERDNS.format(home=home, port=port) + conf)
    loading = [f"pdnsutil load-zone {name} {home}/{name}.db" for name in _RECORDS]
    for command in [*loading, *"".join(commands).splitlines()]:
        program, *arguments = shlex.split(command)
        run(trees.inside(tree, [program, f"--config-dir={home}", *arguments]), check=True, capture_output=True)
    with running(Instance(home, {"dns": port}), trees.inside(tree, ["pdns_server", f"--config-dir={home}"])):
        yield _with_zones(port)


def _with_zones(port: int) -> Server:
    """Wait until a server has loaded its zones: it listens before."""
    server = Server(PRIMARY, port)
    for zone in _RECORDS:
        server.await_zone(zone)
    return server


def _begin(home: Path) -> int:
    """Write the zones, and find a port."""
    for name, records in _RECORDS.items():
        (home / f"{name}.db").write_text(f"$ORIGIN {name}.\n{_HEAD}{records}")
    return free_port()
