"""`mailtls probe` as a user runs it: a program, against a real Postfix, and a real DNS."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from jsonschema import Draft7Validator
from prometheus_client.parser import text_string_to_metric_families

from functional.cli import CHILDREN, MX_CHILD, mailtls
from functional.signed_zones import resolving
from mailservers.certificates import DAY, HOST, Authority, Wanted
from mailservers.postfix import Postfix, missing, postfix
from mailtls.cli.output.machine import json_schema

AUTHORITY = Authority()
GOOD = AUTHORITY.issue()
SERVICES: dict[str, tuple[str, ...]] = {
    "good": (),
    "implicit": ("smtpd_tls_wrappermode=yes",),
    "expired": (),
    "off": ("smtpd_tls_security_level=none",),
    "leaf-alone": (),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Postfix]:
    """One Postfix for all."""
    if why := missing():
        pytest.skip(why)
    expired = AUTHORITY.issue(Wanted(valid_from=-91 * DAY, valid_until=-1 * DAY))
    served = {"expired": expired, "leaf-alone": GOOD.without_intermediate()}
    with postfix(SERVICES) as running:
        for name in SERVICES:
            running.certificate(name, served.get(name, GOOD).pem)
        yield running


@pytest.fixture
def trust(tmp_path: Path) -> tuple[str, ...]:
    """What makes the authority's certificates good: its root, and the name to dial."""
    (tmp_path / "roots.pem").write_text(AUTHORITY.roots_pem)
    return "--ca-file", str(tmp_path / "roots.pem"), "--server-name", HOST


def at(server: Postfix, *names: str) -> list[str]:
    """Where services listen, as a user writes it."""
    return [f"127.0.0.1:{server.ports[name]}" + ("/implicit" if name == "implicit" else "") for name in names]


def test_good_server_is_well(server: Postfix, trust: tuple[str, ...]) -> None:
    """The report names what was served, and the exit code is 0, also with --strict."""
    done = mailtls("probe", *at(server, "good", "implicit"), *trust, "--strict")
    assert done.returncode == 0, done
    assert f"220 {HOST} ESMTP Postfix" in done.stdout
    assert GOOD.sha256 in done.stdout
    assert "All is well: 2 endpoints, 2 good" in done.stdout
    assert done.stderr == ""


def test_faulty_server_is_explained(server: Postfix, trust: tuple[str, ...]) -> None:
    """Each fault has its reason and a fix, and the exit code is 1."""
    done = mailtls("probe", *at(server, "good", "expired", "off"), *trust)
    assert done.returncode == 1
    for words in ("CertificateExpired", "StarttlsNotAdvertised", "smtpd_tls_security_level", "1 good, 2 failing"):
        assert words in done.stdout


def steady(report: str) -> str:
    """The report without what differs from run to run: ports, moments, fingerprints, and where lines break."""
    varying = r"[0-9a-f]{64}|\d{4}-\d\d-\d\d \d\d:\d\d|127\.0\.0\.1:\d+|\d+ days left|\d+\.\d s\."
    return " ".join(re.sub(varying, "…", report).split())


def test_report_in_the_readme_is_what_is_printed(server: Postfix) -> None:
    """It is what a stranger judges the program by; some lines are left out."""
    readme = Path("README.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"(?ms)^\$ mailtls probe \S+ --server-name mx1\.example\.com\n(.*?)^```", readme)
    done = mailtls("probe", *at(server, "leaf-alone"), "--server-name", HOST)
    place, screen = 0, steady(done.stdout)
    for part in re.split(r"(?m)^\.\.\.\n", shown):
        assert steady(part) in screen[place:]
        place = screen.index(steady(part), place)


def test_quiet_probe_of_a_good_server_says_nothing(server: Postfix, trust: tuple[str, ...]) -> None:
    """Cron mails whatever is printed."""
    done = mailtls("probe", "--quiet", *at(server, "good"), *trust)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_reports_for_programs_are_what_they_claim(server: Postfix, trust: tuple[str, ...], tmp_path: Path) -> None:
    """JSON fits the schema, JUnit's XML and Prometheus' text are parsed; all in one run."""
    files = ("--junit", str(tmp_path / "junit.xml"), "--prometheus", str(tmp_path / "mail.prom"))
    done = mailtls("probe", "--json", *files, *at(server, "good", "off"), *trust)
    report = json.loads(done.stdout)
    Draft7Validator(json_schema()).validate(report)
    assert (done.returncode, report["exitCode"]) == (1, 1)
    assert [each["software"] for each in report["endpoints"]] == ["postfix", "postfix"]
    assert report["endpoints"][0]["chain"][0]["fingerprintSHA256"] == GOOD.sha256
    assert len(list(ET.parse(tmp_path / "junit.xml").iter("failure"))) == 1  # noqa: S314 - our own
    metrics = list(text_string_to_metric_families((tmp_path / "mail.prom").read_text()))
    ok = next(each.samples for each in metrics if each.name == "mailtls_survey_endpoint_ok")
    assert [sample.value for sample in ok] == [1, 0]
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


def test_metrics_to_standard_output_are_alone_there(server: Postfix, trust: tuple[str, ...]) -> None:
    """A shell can redirect them."""
    done = mailtls("probe", "--prometheus", "-", *at(server, "good"), *trust)
    assert done.returncode == 0
    assert done.stdout.startswith("# HELP mailtls_")


def test_expected_certificate_is_told_from_another(server: Postfix, trust: tuple[str, ...], tmp_path: Path) -> None:
    """`--expect-cert` is the check after a renewal."""
    (tmp_path / "same.pem").write_bytes(GOOD.chain_pem)
    (tmp_path / "new.pem").write_bytes(AUTHORITY.issue().chain_pem)
    same = mailtls("probe", *at(server, "good"), *trust, "--expect-cert", str(tmp_path / "same.pem"))
    other = mailtls("probe", *at(server, "good"), *trust, "--expect-cert", str(tmp_path / "new.pem"))
    assert (same.returncode, other.returncode) == (0, 1)
    assert "ServingOldCertificate" in other.stdout


def test_domain_is_read_and_its_hosts_probed(server: Postfix, tmp_path: Path) -> None:
    """A domain in another script: its MX host is found and dialled by name, its records are judged."""
    (tmp_path / "roots.pem").write_text(AUTHORITY.roots_pem)
    with resolving(tmp_path / "dns", CHILDREN | {"example.com": MX_CHILD}) as (resolver, _):
        options = ("--resolver", resolver, "--ca-file", str(tmp_path / "roots.pem"), "--json")
        done = mailtls("probe", "bücher.example", "--port", f"{server.ports['good']}/smtp/starttls", *options)
    report = json.loads(done.stdout)
    (domain,), (endpoint,) = report["domains"], report["endpoints"]
    assert (domain["domain"], domain["displayName"]) == ("xn--bcher-kva.example", "bücher.example")
    assert (endpoint["host"], endpoint["result"], endpoint["domain"]) == (HOST, "OK", "xn--bcher-kva.example")
    reasons = {finding["reason"] for finding in domain["findings"]}
    assert "DmarcMissing" in reasons
    assert "SpfMissing" not in reasons


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("a b",), "is no domain name"),
        (("mx:smtp",), "is no port"),
        (("example.com", "--port", "25/ftp"), "is no protocol"),
        (("example.com", "--ca-file", "/nonexistent"), "cannot be read"),
        (("example.com", "--expect-cert", "/dev/null"), "no certificate"),
        (("example.com", "--mx", "--host"), "not both"),
        (("example.com", "-4", "-6"), "-4 or -6"),
        (("example.com", "--resolver", "dns.example"), "is no resolver"),
        (("example.com", "--dkim-selector", "a b"), "is no DKIM selector"),
        (("example.com", "--json", "--prometheus", "-"), "Only one of"),
        (("example.com", "--junit", "-", "--prometheus", "-"), "Only one of"),
    ],
)
def test_nonsense_is_refused_with_one_sentence(arguments: tuple[str, ...], words: str) -> None:
    """Exit code 2, and never a traceback."""
    done = mailtls("probe", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_without_an_answer_of_the_dns_nothing_was_seen() -> None:
    """Exit code 3: a resolver that is down is no fault of the mail server."""
    done = mailtls("probe", "mail.example.com", "--resolver", "127.0.0.1:1", "--timeout", "2")
    assert done.returncode == 3
    assert "could not be looked up" in done.stdout
    assert "Could not look" in done.stdout


def test_file_that_cannot_be_written_is_named(server: Postfix) -> None:
    """One sentence, not a traceback."""
    done = mailtls("probe", *at(server, "good"), "--prometheus", "/nonexistent/mail.prom")
    assert done.returncode == 2
    assert done.stderr == "/nonexistent/mail.prom cannot be written (No such file or directory).\n"
    done = mailtls("probe", *at(server, "good"), "--prometheus", "/tmp")
    assert (done.returncode, done.stderr) == (2, "/tmp cannot be written (Is a directory).\n")


@pytest.mark.parametrize("options", [(), ("--json",), ("--prometheus", "-"), ("--junit", "-")])
def test_full_standard_output_is_named(options: tuple[str, ...], server: Postfix) -> None:
    """One sentence and exit code 2, and nothing of Python's own at its end."""
    command = [sys.executable, "-m", "mailtls", "probe", *at(server, "good"), *options]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": "operator"}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment, timeout=180, check=False
        )
    assert (done.returncode, done.stderr) == (2, "Standard output cannot be written (No space left on device).\n")


def test_server_that_greets_late_is_waited_for_as_long_as_asked() -> None:
    """Delays of the greeting are usual (RFC 5321 section 4.5.3.2.1 allows minutes): a longer time-out is for them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        threading.Thread(target=_greet_late, args=(listener,), daemon=True).start()
        done = mailtls("probe", f"127.0.0.1:{listener.getsockname()[1]}", "--timeout", "40")
    assert "NoBanner" not in done.stdout
    assert "StarttlsNotAdvertised" in done.stdout, done


def _greet_late(listener: socket.socket) -> None:
    client, _ = listener.accept()
    time.sleep(11)  # one second more than a talk may take by default
    client.sendall(b"220 mx1.example.com ESMTP\r\n")
    client.recv(1024)
    client.sendall(b"250 mx1.example.com\r\n")
    client.recv(1024)
    client.close()


def test_help_of_probe_comes_at_once_and_without_a_cluster() -> None:
    """Nothing of Kubernetes, ACME or TLS is imported to show a page of text."""
    code = (
        "import sys; from mailtls.cli.app import app\n"
        "try: app(['probe', '--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'kubernetes', 'kopf', 'acme', 'OpenSSL', 'dns', 'aiohttp'} & set(sys.modules)))"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": "operator"}
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=180, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert time.monotonic() - begun < 60  # on a busy machine; half a second on an idle one
