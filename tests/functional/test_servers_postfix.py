"""What a probe sees of a Postfix that changes, and what Postfix logs of a probe."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mailservers.case import Case, probe
from mailservers.certificates import HOST
from mailservers.postfix import Postfix, missing, postfix
from mailservers.stock import AUTHORITY, OLDER, STORED, WRONG_KEY
from mailtls.probe.prober import Prober
from mailtls.probe.target import Depth, Port, Target, TlsMode, TlsPolicy
from mailtls.reasons.reason import Reason

CASES = {
    "good": Case(),
    "good-wrapper": Case(options=("smtpd_tls_wrappermode=yes",), tls=TlsMode.IMPLICIT),
    "tls-off": Case(options=("smtpd_tls_security_level=none",)),
    "reloaded": Case(stored=STORED),
    "wrong-key": Case(served=(WRONG_KEY,)),
    "rejects": Case(options=("smtpd_client_restrictions=reject", "smtpd_delay_reject=no")),
    "choosy": Case(
        options=(
            "smtpd_helo_restrictions=check_helo_access inline:{{probe.example.com=OK}},reject",
            "smtpd_delay_reject=no",
        )
    ),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Postfix]:
    """One Postfix for all tests."""
    if why := missing():
        pytest.skip(why)
    with postfix({name: case.options for name, case in CASES.items()}) as running:
        for name, case in CASES.items():
            running.certificate(name, case.pem)
        yield running


def test_reload_brings_the_new_certificate(server: Postfix) -> None:
    """After a reload the same service serves what is stored; the probe sees both sides of it."""
    case, where = CASES["reloaded"], server.where("reloaded")
    server.certificate("reloaded", OLDER.pem)
    server.reload()
    before = probe(case, where)
    server.certificate("reloaded", STORED.pem)
    server.reload()
    deadline = time.monotonic() + 60
    while (after := probe(case, where)).served_sha256 == OLDER.sha256 and time.monotonic() < deadline:
        pass  # a process that waited for a client serves one more, on a machine that is busy
    assert (before.served_sha256, after.served_sha256) == (OLDER.sha256, STORED.sha256)
    assert after.findings == ()


def test_good_probe_leaves_no_complaint_in_the_log(server: Postfix) -> None:
    """A mail log is read by people: probes must not fill it with lost connections."""
    for name in ("good", "good-wrapper", "tls-off"):
        probe(CASES[name], server.where(name))
        assert server.talks(name)
    lines = [line for line in server.log().splitlines() if line.split()[4].startswith(("good", "tls-off"))]
    assert lines
    assert not [line for line in lines if any(word in line for word in ("lost connection", "error", "warning"))]


@pytest.mark.parametrize(("name", "found"), [("", Reason.CLIENT_NAME_REFUSED), ("probe.example.com", None)])
def test_server_that_refuses_an_address_takes_the_name_that_is_set(
    name: str, found: Reason | None, server: Postfix
) -> None:
    """Access rules may demand a host name in EHLO: the finding says so, and the setting mends it."""
    address, port = server.where("choosy")
    target = Target(address, Port(port, TlsMode.START_TLS, TlsPolicy.OPPORTUNISTIC), HOST)
    expected = replace(AUTHORITY.expects(STORED), client_name=name)
    (endpoint,) = Prober().probe([target], expected)
    assert (endpoint.failure.reason if endpoint.failure else None) is found, server.log()
    assert endpoint.failure is None or "Helo command rejected" in endpoint.failure.message


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("wrong-key", Reason.STARTTLS_UNAVAILABLE),
        ("rejects", Reason.PROBE_DENIED),
        ("choosy", Reason.CLIENT_NAME_REFUSED),
    ],
)
def test_probe_that_fails_is_one_connection_and_ends_with_quit(name: str, found: Reason, server: Postfix) -> None:
    """Where the server says what is wrong nothing is asked again, and it hears QUIT as far as the protocol lets one."""
    before = len(server.talks(name))
    endpoint = probe(replace(CASES[name], depth=Depth.FULL), server.where(name))
    assert endpoint.failure is not None
    assert endpoint.failure.reason is found, server.log()
    (talk,) = server.talks(name)[before:]
    assert "quit=1" in talk


def test_postfix_that_ended_leaves_no_process() -> None:
    """Its services would hold their ports, and serve certificates of yesterday to the next test."""
    with postfix({"good": ()}) as running:
        running.certificate("good", STORED.pem)
        assert probe(Case(), running.where("good")).failure is None
        home = str(running.home)
        assert _processes_in(home)
    assert not _processes_in(home)


def _processes_in(folder: str) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            here = str((process / "cwd").readlink())
        except OSError:  # it ended meanwhile
            continue
        found += [process.name] if here.startswith(folder) else []
    return found
