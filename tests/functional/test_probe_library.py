"""The probe as a library: the example of its docstring, run as it stands there against a real Postfix."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

import mailtls.probe
from mailservers.certificates import DAY, HOST, Authority, Wanted
from mailservers.postfix import Postfix, missing, postfix

PACKAGE = Path(mailtls.probe.__file__).parents[2]
AUTHORITY = Authority()
GOOD, EXPIRED = AUTHORITY.issue(), AUTHORITY.issue(Wanted(valid_from=-90 * DAY, valid_until=-1 * DAY))
MODERN = ("smtpd_tls_protocols=>=TLSv1.2", "smtpd_tls_mandatory_protocols=>=TLSv1.2")  # the default is TLS 1.0


@pytest.fixture(scope="module")
def server() -> Iterator[Postfix]:
    """A Postfix with a good certificate and one that has expired."""
    if why := missing():
        pytest.skip(why)
    with postfix({"good": MODERN, "expired": MODERN}) as running:
        running.certificate("good", GOOD.pem)
        running.certificate("expired", EXPIRED.pem)
        yield running


def example() -> str:
    """The lines of code in the package's docstring."""
    _, _, rest = (mailtls.probe.__doc__ or "").partition("::\n\n")
    return dedent("\n".join(line for line in rest.split("\n\n`")[0].splitlines()))


def run_example(port: int, roots: Path) -> list[str]:
    """Run the example, with the address, the port and the name of a server that is there; return what it prints."""
    code = example()
    for there, here in (("192.0.2.25", "127.0.0.1"), ("Port(25,", f"Port({port},"), ("mx1.example.com", HOST)):
        assert there in code
        code = code.replace(there, here)
    place = {"PYTHONPATH": str(PACKAGE), "SSL_CERT_FILE": str(roots), "SSL_CERT_DIR": str(roots.parent / "none")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=place, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def roots(tmp_path: Path) -> Path:
    """A file with the root that has signed both certificates."""
    path = tmp_path / "roots.pem"
    path.write_text(AUTHORITY.roots_pem)
    return path


def test_example_has_ten_lines() -> None:
    """It is short, and has nothing that a reader would have to leave out."""
    assert len([line for line in example().splitlines() if line]) <= 10


def test_good_server_earns_no_finding(server: Postfix, roots: Path) -> None:
    """One line: the version, the fingerprint and the last moment of validity."""
    (line,) = run_example(server.ports["good"], roots)
    assert line.startswith(f"TLSv1.3 {GOOD.sha256} ")


def test_expired_certificate_is_named(server: Postfix, roots: Path) -> None:
    """Behind the first line stands what is wrong, in a sentence that speaks of no cluster."""
    first, second = run_example(server.ports["expired"], roots)
    assert EXPIRED.sha256 in first
    assert second.startswith("Fail CertificateExpired: The served certificate expired at ")


def test_library_imports_nothing_of_the_operator() -> None:
    """Neither Kubernetes nor kopf nor the types of the API are loaded by whoever imports the library."""
    code = (
        "import sys; from mailtls.probe import Prober, judge; "
        "print([n for n in sys.modules if n.split('.')[0] in {'kubernetes', 'kopf', 'aiohttp'} "
        "or n.startswith(('mailtls.api', 'mailtls.kube', 'mailtls.controller'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": str(PACKAGE)}, check=False
    )
    assert done.stdout == "[]\n", done.stderr
