"""The page of common problems: each fault is caused on a real server, and the screens on the page are what is shown.

A reader's names and what differs from run to run (addresses, moments, serial numbers) are put aside on both sides.
"""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from builders.authority import DAY, Authority
from contracts.snippets import screens
from e2e.elsewhere import trusting
from e2e.reader import Reader
from testbed.filters import dropped
from testbed.mailserver import MailServer, self_signed
from testbed.sandbox import MAIL_SERVER_TLS, PATIENCE, condition_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from e2e.installation import Installation
    from testbed.zones import NameServer

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

PAGE = "common-problems.md"
AT_ONCE = 4
SUBMISSION = "submission/inet"
SASL_PORT = 12345
DOVECOT = f"""
dovecot_config_version = 2.4.1
dovecot_storage_version = 2.4.1
log_path = /dev/stderr
protocols =
auth_mechanisms = plain
passdb static {{
  password = right
}}
service auth {{
  inet_listener auth {{
    listen = 127.0.0.1
    port = {SASL_PORT}
  }}
}}
"""
SASL = (
    f"postconf -P {SUBMISSION}/smtpd_sasl_auth_enable=yes {SUBMISSION}/smtpd_sasl_type=dovecot",
    f"postconf -P {SUBMISSION}/smtpd_sasl_path=inet:127.0.0.1:{SASL_PORT} {SUBMISSION}/smtpd_tls_auth_only=yes",
    "dovecot -F -c /etc/dovecot-of-the-test/dovecot.conf &",
)


@dataclass(frozen=True)
class Problem:
    """A resource for one server; `change` is made to it once all is well, and Verified says `reason` then."""

    label: str
    reason: str
    change: str = ""
    secret: str = "mx-tls"
    start: Sequence[str] = ()
    spec: Mapping[str, Any] = field(default_factory=dict)


PROBLEMS = {
    "no-tls": Problem("mx1", "StarttlsNotAdvertised", f"postconf -P {SUBMISSION}/smtpd_tls_security_level=none"),
    "wrong-port": Problem("mx2", "ImplicitTlsOnStarttlsPort", f"postconf -P {SUBMISSION}/smtpd_tls_wrappermode=yes"),
    "starttls-fails": Problem(
        "mx3",
        "StarttlsUnavailable",
        f"postconf -P {SUBMISSION}/smtpd_tls_chain_files=/etc/mail-tls/tls.crt,/etc/mail-tls/tls.key",
    ),
    "expired": Problem("mx4", "CertificateExpired", secret="old-tls"),
    "untrusted": Problem("mx5", "SelfSigned", secret="own-tls"),
    "blocked": Problem("mx6", "ConnectTimeout"),
    "login-fails": Problem("mx7", "AuthFailed", start=SASL, spec={"probe": {"authSecretRef": {"name": "probe-user"}}}),
    "spam": Problem("mx8", "Verified"),
}


def test_screens_of_the_common_problems_are_what_a_user_sees(
    installation: Installation, names: NameServer, tmp_path: Path
) -> None:
    """All problems at once, each at a server of its own; then the commands of the page are run as printed."""
    sandbox, zone = installation.sandbox, installation.zone
    authority = Authority("Example Root")
    installation.more = trusting(installation, authority)
    write_secrets(installation, authority, tmp_path)
    servers = {name: deploy(installation, name, problem) for name, problem in PROBLEMS.items()}
    for server in servers.values():
        server.wait_until_ready()
    for name, problem in PROBLEMS.items():
        (address,) = servers[name].addresses().values()
        names.set_record(zone, zone.host(problem.label), "A", address)
    names.set_record(zone, zone.name, "MX", f"10 {zone.host('mx8')}.")
    installation.start()
    for name, problem in PROBLEMS.items():
        apply(installation, name, problem)
    for name, problem in PROBLEMS.items():
        if problem.secret == "mx-tls":
            installation.await_ready(name)
    for name, problem in PROBLEMS.items():
        if problem.change:
            sandbox.exec(f"{name}-0", "sh", "-ec", f"{problem.change}; postfix reload")
    sandbox.put_secret("probe-user", {"username": b"probe@example.com", "password": b"wrong"}, LOGIN)
    (blocked,) = servers["blocked"].addresses().values()
    with dropped("output", f"ip daddr {blocked} tcp dport 587"):
        for name in PROBLEMS:
            sandbox.annotate(MAIL_SERVER_TLS, name, mailtls_dev__probe="now")
        for name, problem in PROBLEMS.items():
            await_said(installation, name, problem.reason)
        reader = Reader(sandbox, zone, tmp_path / "reader", authority.root_pem)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            wrong = [*pool.map(lambda screen: compare(reader, *screen), screens(PAGE))]
    assert not any(wrong), "\n".join(wrong)


LOGIN = "kubernetes.io/basic-auth"


def write_secrets(installation: Installation, authority: Authority, folder: Path) -> None:
    """Create the Secrets as a person does: one that is good, one that expired, one that is self-signed."""
    hosts = [installation.zone.host(problem.label) for problem in PROBLEMS.values()]
    sandbox = installation.sandbox
    pairs = {
        "mx-tls": authority.issue(*hosts),
        "old-tls": authority.issue(*hosts, begins=datetime.now(UTC) - 91 * DAY),
    }
    data = {name: {"tls.crt": pair.chain.encode(), "tls.key": pair.key.encode()} for name, pair in pairs.items()}
    for name, files in (data | {"own-tls": self_signed(hosts)}).items():
        for file, content in files.items():
            (folder / file).write_bytes(content)
        given = (f"--cert={folder / 'tls.crt'}", f"--key={folder / 'tls.key'}")
        sandbox.cluster.kubectl("create", "secret", "tls", name, "-n", sandbox.name, *given)
    sandbox.put_secret("probe-user", {"username": b"probe@example.com", "password": b"right"}, LOGIN)
    sandbox.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "dovecot"},
            "data": {"dovecot.conf": DOVECOT},
        }
    )


def deploy(installation: Installation, name: str, problem: Problem) -> MailServer:
    """Start one Postfix, which is as it should be."""
    host = installation.zone.host(problem.label)
    server = MailServer(installation.sandbox, host, name=name, secret=problem.secret, replicas=1)
    manifest = server.workload()
    pod = manifest["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    # A process that serves one client and ends cannot answer by the settings of before a change.
    modern = "postconf -e max_use=1 'smtpd_tls_protocols = >=TLSv1.2' 'smtpd_tls_mandatory_protocols = >=TLSv1.2'"
    container["command"] = ["sh", "-ec", "\n".join([modern, *problem.start, "exec postfix-start"])]
    container["volumeMounts"].append({"name": "dovecot", "mountPath": "/etc/dovecot-of-the-test"})
    pod["volumes"].append({"name": "dovecot", "configMap": {"name": "dovecot"}})
    installation.sandbox.apply(manifest)
    return server


def apply(installation: Installation, name: str, problem: Problem) -> None:
    """Apply the resource for it, with one port."""
    ports = [{"port": 587, "tlsMode": "StartTLS"}]
    workload = {"kind": "StatefulSet", "name": name, "preset": "postfix", "ports": ports}
    domains = {"domains": [{"name": installation.zone.name}]} if name == "spam" else {}
    installation.apply(
        problem.label,
        name=name,
        secret=problem.secret,
        external={},
        workloads=[workload],
        **{**domains, **problem.spec},
    )


def await_said(installation: Installation, name: str, reason: str) -> None:
    """Wait until a resource says what is expected, after the probe that was requested."""

    def said(seen: Any) -> bool:
        verified = condition_of(seen, "Verified")
        handled = (seen or {}).get("status", {}).get("lastHandledProbe") == "now"
        return handled and verified is not None and verified["reason"] == reason

    installation.sandbox.wait_for(MAIL_SERVER_TLS, name, said)


def compare(reader: Reader, command: str, shown: str) -> str:
    """Run a command until it prints what the page shows, as an attempt may be under way; gives what is missing."""
    deadline = time.monotonic() + PATIENCE
    while (missing := missing_on_the_screen(reader, command, shown)) and time.monotonic() < deadline:
        time.sleep(2)
    return missing


def missing_on_the_screen(reader: Reader, command: str, shown: str) -> str:
    """Compare what a command prints with the page, where `...` stands for lines that are left out."""
    done = reader.type(command)
    seen = reader.as_printed(done.stdout + done.stderr)
    place, screen = 0, steady(seen)
    for part in re.split(r"(?m)^ *\.\.\.\n", shown):
        found = screen.find(steady(part), place)
        if found < 0:
            return f"$ {command}\n{seen}\n--- is not there:\n{part}"
        place = found + len(steady(part))
    return ""


_VARYING = (
    r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?Z?|\b[0-9a-f]{64}\b|\b[0-9a-f]{38,40}\b|\b[0-9a-f]{16}…"
    r"|\b198\.1[89]\.\d+\.\d+"
    r"|\b\d+ days? left|\b\d+\.\d s\b|(?m:\b\d+[smhd](\d+[smh])?$)"
)


def steady(screen: str) -> str:
    """What does not differ from run to run, without the widths of columns and where lines break."""
    return " ".join(re.sub(_VARYING, "…", screen).split())
