"""How each real server takes a new certificate: by itself, by its preset's command, or by a restart alone."""

import signal
import time
from dataclasses import replace

import pytest

from mailservers import stock
from mailservers.contained import Container, Setup, await_served, contained
from mailservers.instance import START_PATIENCE
from mailservers.preset_mailboxes import MAILBOXES
from mailservers.preset_relays import POSTFIX_BY_NAME, POSTFIX_BY_NAME_ON_465, RELAYS
from mailtls.api.presets import PRESETS
from mailtls.probe.target import Port, TlsPolicy
from mailtls.reasons.reason import Reason
from mailtls.reasons.software import Software
from testbed import trees

SETUPS = {str(setup): setup for setup in (*RELAYS, *MAILBOXES)}
MADDY, EXIM = SETUPS["maddy-courier"], SETUPS["exim-servers"]
NGINX, SENDMAIL, CYRUS = SETUPS["nginx-servers"], SETUPS["sendmail-bookworm"], SETUPS["cyrus-opensmtpd"]
_SWEEPS = 4  # so that each of a server's waiting processes has served the old certificate, and keeps it if it does

pytestmark = pytest.mark.skipif(trees.obstacle() is not None, reason=trees.obstacle() or "")


def served(container: Container, ports: tuple[Port, ...]) -> set[str | None]:
    """Fingerprints of the certificates that the ports serve now."""
    return {endpoint.served_sha256 for endpoint in container.probe(ports)}


@pytest.mark.parametrize("name", SETUPS)
def test_server_takes_the_new_certificate_as_its_preset_says(name: str) -> None:
    """Without a reload the old one stays, on every port, unless the server reads it anew by itself."""
    setup = SETUPS[name]
    preset = PRESETS[setup.software]
    ports = (*preset.ports, *setup.ports)
    with contained(setup, stock.OLDER) as container:
        await_served(container, ports, stock.OLDER)
        for _ in range(_SWEEPS):
            container.probe(ports)
        container.write_secret(stock.STORED)
        if setup.keeps:
            assert served(container, ports) == {stock.OLDER.sha256}
        elif setup.keeps is False:  # a process that waits for its first client may have read the old one before
            await_served(container, ports, stock.STORED)
        if preset.reload:
            container.execute(preset.reload)
            await_served(container, ports, stock.STORED)
        if setup.in_vain:
            container.execute(setup.in_vain)
            assert served(container, ports) == {stock.OLDER.sha256}


def test_each_preset_is_tested_here() -> None:
    """A preset without a real server is a guess."""
    assert {setup.software for setup in SETUPS.values()} == set(Software) - {Software.GENERIC}


@pytest.mark.parametrize("software", [software for software in Software if PRESETS[software].no_reload])
def test_server_that_is_not_reloaded_is_said_to_need_what_it_needs(software: Software) -> None:
    """Only a server that keeps its certificate has to be restarted."""
    if software is not Software.GENERIC:
        keeps = {setup.keeps for setup in SETUPS.values() if setup.software is software}
        assert keeps == {"Restart" in PRESETS[software].no_reload}


@pytest.mark.parametrize(
    ("setup", "number"), [(POSTFIX_BY_NAME, 25), (POSTFIX_BY_NAME, 465), (POSTFIX_BY_NAME_ON_465, 465)]
)
def test_postfix_with_a_table_of_names_serves_the_new_certificate(setup: Setup, number: int) -> None:
    """The table holds the certificate itself: `postfix reload` alone leaves the old one in it."""
    preset = PRESETS[Software.POSTFIX]
    ports = tuple(port for port in preset.ports if port.port == number)
    with contained(setup, stock.OLDER) as container:
        await_served(container, ports, stock.OLDER)
        container.write_secret(stock.STORED)
        container.execute(("postfix", "reload"))
        assert served(container, ports) == {stock.OLDER.sha256}
        container.execute(preset.reload)
        await_served(container, ports, stock.STORED)


def test_postfix_that_cannot_make_its_table_is_not_reloaded_by_halves() -> None:
    """The reload fails with the words of postmap, and every name is served as before."""
    ports = PRESETS[Software.POSTFIX].ports
    with contained(POSTFIX_BY_NAME, stock.OLDER) as container:
        await_served(container, ports, stock.OLDER)
        container.write_secret(stock.STORED)
        container.execute(("rm", "/etc/postfix/sni"))
        with pytest.raises(AssertionError, match=r"fatal: open /etc/postfix/sni"):
            container.execute(PRESETS[Software.POSTFIX].reload)
        assert served(container, ports) == {stock.OLDER.sha256}


def test_nginx_refuses_a_certificate_that_is_not_of_its_key() -> None:
    """`nginx -s reload` alone would report success; so the command fails and says why, and the old one is served."""
    ports = PRESETS[Software.NGINX].ports
    with contained(NGINX, stock.OLDER) as container:
        await_served(container, ports, stock.OLDER)
        container.write_secret(stock.WRONG_KEY)
        with pytest.raises(AssertionError, match="key values mismatch"):
            container.execute(PRESETS[Software.NGINX].reload)
        assert served(container, ports) == {stock.OLDER.sha256}


def reason_of(container: Container, port: Port) -> Reason | None:
    """Why the port is not as it should be, once it listens; None when it is."""
    deadline = time.monotonic() + START_PATIENCE
    while time.monotonic() < deadline:
        (endpoint,) = container.probe((port,))
        if endpoint.failure is None or endpoint.failure.reason is not Reason.CONNECTION_REFUSED:
            return endpoint.failure.reason if endpoint.failure else None
        time.sleep(0.1)
    raise AssertionError(container.log())


def test_sendmail_offers_no_tls_when_others_can_read_its_key() -> None:
    """So the documentation has `defaultMode: 0400`, and the advice says where to look."""
    with contained(replace(SENDMAIL, mode=0o644), stock.STORED) as container:
        assert reason_of(container, PRESETS[Software.SENDMAIL].ports[-1]) is Reason.STARTTLS_NOT_ADVERTISED


def test_sendmail_started_by_its_short_name_ends_on_hup() -> None:
    """It starts itself again by the path that it was started with."""
    (shell, option, script) = SENDMAIL.command
    with contained(
        replace(SENDMAIL, command=(shell, option, script.replace("/usr/sbin/", ""))), stock.STORED
    ) as container:
        await_served(container, PRESETS[Software.SENDMAIL].ports, stock.STORED)
        assert PRESETS[Software.SENDMAIL].reload == ("sh", "-c", "kill -HUP 1")
        container.signal(signal.SIGHUP)
        container.process.wait(START_PATIENCE)


WITHOUT_RIGHTS = ("setpriv", "--no-new-privs", *EXIM.command)
PORTS_FOR_ALL = ("sh", "-c", 'echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start && exec "$@"', "sh")


def test_exim_that_may_not_gain_rights_listens_nowhere_after_hup() -> None:
    """So the documentation says what `allowPrivilegeEscalation: false` does: its program is setuid for its ports."""
    ports = PRESETS[Software.EXIM].ports
    with contained(replace(EXIM, command=WITHOUT_RIGHTS), stock.OLDER) as container:
        await_served(container, ports, stock.OLDER)
        container.execute(PRESETS[Software.EXIM].reload)
        deadline = time.monotonic() + START_PATIENCE
        while "bind of" not in (log := container.execute(("cat", "/var/log/exim4/mainlog"))):
            assert time.monotonic() < deadline, log
            time.sleep(0.1)
        reasons = {each.failure.reason for each in container.probe(ports) if each.failure}
        assert reasons == {Reason.CONNECTION_REFUSED}


def test_exim_that_may_not_gain_rights_is_reloaded_where_everyone_may_open_ports() -> None:
    """By the sysctl that the documentation names."""
    ports = PRESETS[Software.EXIM].ports
    with contained(replace(EXIM, command=(*PORTS_FOR_ALL, *WITHOUT_RIGHTS)), stock.OLDER) as container:
        await_served(container, ports, stock.OLDER)
        container.write_secret(stock.STORED)
        container.execute(PRESETS[Software.EXIM].reload)
        await_served(container, ports, stock.STORED)


def test_cyrus_has_no_starttls_unless_it_is_allowed() -> None:
    """So port 143 is not in the preset."""
    settings = CYRUS.files["etc/imapd.conf"].replace("imap_allowstarttls: on", "")
    with contained(replace(CYRUS, files={**CYRUS.files, "etc/imapd.conf": settings}), stock.STORED) as container:
        await_served(container, PRESETS[Software.CYRUS].ports, stock.STORED)
        (starttls,) = CYRUS.ports
        assert reason_of(container, replace(starttls, tls_policy=TlsPolicy.ENFORCED)) is Reason.STARTTLS_NOT_ADVERTISED


def test_maddy_ends_on_hup() -> None:
    """So its preset sends another signal than most."""
    with contained(MADDY, stock.STORED) as container:
        await_served(container, PRESETS[Software.MADDY].ports, stock.STORED)
        container.signal(signal.SIGHUP)
        container.process.wait(START_PATIENCE)
