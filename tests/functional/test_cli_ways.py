"""Ways to a server that `mailtls probe` has options for: logins, the PROXY protocol, XCLIENT, and port 25."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from functional.cli import at_port_25, mailtls
from mailservers import haproxy, sasl, stock
from mailservers.case import Case
from mailservers.certificates import HOST
from mailservers.instance import Instance
from mailservers.postfix import Postfix, missing, postfix
from mailservers.postfix_cases import AUTH, AUTH_ONLY, MODERN
from mailtls.probe.target import TlsMode

TRUSTING = "smtpd_authorized_xclient_hosts=127.0.0.0/8"
REJECTING = "smtpd_client_restrictions=check_client_access inline:{{192.0.2.7=reject}}"
SERVICES = {
    "auth": (*AUTH, AUTH_ONLY, MODERN),
    "no-auth": (MODERN,),
    "proxied": ("smtpd_upstream_proxy_protocol=haproxy", "smtpd_upstream_proxy_timeout=3s"),
    "xclient": (TRUSTING, REJECTING, "smtpd_delay_reject=no"),
    "off": ("smtpd_tls_security_level=none",),
}
WRONG = "not the right one"


@pytest.fixture(scope="module")
def server() -> Iterator[Postfix]:
    """One Postfix for all, and whom it asks about passwords."""
    if why := missing():
        pytest.skip(why)
    with sasl.serving() as port:
        options = {name: tuple(each.replace("{sasl}", str(port)) for each in said) for name, said in SERVICES.items()}
        with postfix(options) as running:
            for name in SERVICES:
                running.certificate(name, stock.STORED.pem)
            yield running


@pytest.fixture(scope="module")
def proxy() -> Iterator[Instance]:
    """A haproxy that wants a header before TLS, in front of a Postfix."""
    if why := haproxy.HAPROXY.missing():
        pytest.skip(why)
    with haproxy.serve({"wants-header": Case(options=("accept-proxy",), tls=TlsMode.IMPLICIT)}) as running:
        yield running


@pytest.fixture
def trust(tmp_path: Path) -> tuple[str, ...]:
    """What makes the authority's certificates good: its root, and the name to dial."""
    (tmp_path / "roots.pem").write_text(stock.AUTHORITY.roots_pem)
    return "--ca-file", str(tmp_path / "roots.pem"), "--server-name", HOST


def at(server: Instance, name: str, *words: str) -> str:
    """Where a service listens, as a user writes it."""
    return "/".join((f"127.0.0.1:{server.ports[name]}", *words))


def log_in(password: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a full probe with a login; the password comes by the environment."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": "operator", "MAILTLS_PROBE_PASSWORD": password}
    command = [sys.executable, "-m", "mailtls", "probe", "--depth", "full", "--auth-user", sasl.USER, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=180, check=False)


def test_login_works_with_the_right_password_only(server: Postfix, trust: tuple[str, ...]) -> None:
    """The wrong one is named with the server's words, and no report holds a password."""
    right = log_in(sasl.PASSWORD, at(server, "auth"), *trust)
    assert right.returncode == 0, right
    wrong = log_in(WRONG, at(server, "auth"), *trust, "--json")
    assert wrong.returncode == 1
    assert "AuthFailed" in wrong.stdout
    assert "535" in wrong.stdout
    assert sasl.PASSWORD not in right.stdout + right.stderr
    assert WRONG not in wrong.stdout + wrong.stderr


def test_login_that_is_not_offered_is_named(server: Postfix, trust: tuple[str, ...]) -> None:
    """Users are meant to log in, and cannot."""
    done = log_in(sasl.PASSWORD, at(server, "no-auth"), *trust)
    assert (done.returncode, "AuthMissing" in done.stdout) == (1, True), done


def test_login_is_not_sent_to_a_server_that_is_not_proven(server: Postfix) -> None:
    """Without the root the certificate is anybody's: the password stays here."""
    before = server.log().count("sasl_method")
    done = log_in(WRONG, at(server, "auth"), "--server-name", HOST)
    assert "UntrustedRoot" in done.stdout
    assert "AuthFailed" not in done.stdout
    assert server.log().count("sasl_method") == before


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_header_opens_a_postfix_behind_a_proxy(version: str, server: Postfix, trust: tuple[str, ...]) -> None:
    """Both versions are taken, and without one nothing is heard."""
    assert mailtls("probe", at(server, "proxied"), *trust, "--proxy-protocol", version).returncode == 0
    silent = mailtls("probe", at(server, "proxied"), *trust, "--timeout", "2")
    assert (silent.returncode, "NoBanner" in silent.stdout) == (1, True), silent


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_header_opens_a_haproxy_that_wants_one(version: str, proxy: Instance, trust: tuple[str, ...]) -> None:
    """It comes before TLS, and the Postfix behind is the one that is proven."""
    where = at(proxy, "wants-header", "implicit")
    done = mailtls("probe", where, *trust, "--proxy-protocol", version)
    assert done.returncode == 0, done
    assert stock.STORED.sha256 in done.stdout
    assert mailtls("probe", where, *trust).returncode == 1


def test_claimed_address_is_judged_by_the_server(server: Postfix, trust: tuple[str, ...]) -> None:
    """One client is rejected by its address, another is not, and a server that does not trust us is named."""
    assert mailtls("probe", at(server, "xclient"), *trust, "--xclient", "192.0.2.8").returncode == 0
    assert _is_logged(server, "disconnect from unknown[192.0.2.8]")
    rejected = mailtls("probe", at(server, "xclient"), *trust, "--xclient", "192.0.2.7")
    distrusted = mailtls("probe", at(server, "no-auth"), *trust, "--xclient", "192.0.2.8")
    for done in (rejected, distrusted):
        assert (done.returncode, "XclientRefused" in done.stdout) == (1, True), done


def test_port_25_without_tls_is_a_warning_until_a_certificate_is_expected(
    server: Postfix, trust: tuple[str, ...], tmp_path: Path
) -> None:
    """Strangers may bring mail in clear (RFC 3207 section 4); who has a certificate for it means it to be used."""
    (tmp_path / "stored.pem").write_bytes(stock.STORED.chain_pem)
    with at_port_25(server.where("off")) as where:
        mild = mailtls("probe", where, *trust)
        strict = mailtls("probe", where, *trust, "--strict")
        expected = mailtls("probe", where, *trust, "--expect-cert", str(tmp_path / "stored.pem"))
    assert [each.returncode for each in (mild, strict, expected)] == [0, 1, 1], mild
    assert all("StarttlsNotAdvertised" in each.stdout for each in (mild, strict, expected))
    assert mailtls("probe", at(server, "off"), *trust).returncode == 1


def _is_logged(server: Postfix, words: str) -> bool:
    """Wait for a line of the log, which is written a little later than the answer is sent."""
    deadline = time.monotonic() + 60
    while words not in server.log() and time.monotonic() < deadline:
        time.sleep(0.05)
    return words in server.log()
