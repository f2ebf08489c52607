"""Which roots are trusted without being named: what OpenSSL loads by default, and what its two variables name."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import crypto

from builders.pairs import pem_of
from fakes.clock import WallClock
from mailservers.certificates import DAY, Authority, Served, Wanted
from mailservers.policy_server import page, serving
from mailtls.issuance.acme.directory import read_directory
from mailtls.issuance.acme.problem import AcmeProblem
from mailtls.issuance.acme.session import Identity
from mailtls.issuance.acme.session import Session as AcmeSession
from mailtls.maildomain.facts import StsFault, StsFetch
from mailtls.maildomain.lookup.policy_fetch import PATH, PolicyFetcher
from mailtls.pki.roots import EMPTY_STORE
from mailtls.probe.checks.verdict import judge
from mailtls.probe.facts import Facts, Session, Verification
from mailtls.probe.target import Expected, Port, Target, TlsMode, TlsPolicy
from mailtls.probe.tls import handshake as trust_store
from mailtls.probe.tls.handshake import NO_ROOTS, TrustStore
from mailtls.reasons.reason import Reason

NOBODY = 65534
COMPANY, PUBLIC = Authority("Company"), Authority("Public")


@dataclass(frozen=True)
class Places:
    """A file with one root, and a folder with another."""

    file: Path
    folder: Path


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """The company's root in a file, the public one in a folder as `openssl rehash` leaves it."""
    made = Places(tmp_path / "company.pem", tmp_path / "certs")
    made.file.write_text(COMPANY.roots_pem)
    made.folder.mkdir()
    root = made.folder / "public.pem"
    root.write_text(PUBLIC.roots_pem)
    hashed = subprocess.run(["openssl", "x509", "-hash", "-noout", "-in", root], capture_output=True, check=True)
    root.rename(made.folder / f"{hashed.stdout.decode().strip()}.0")
    return made


def verify(served: Served, extra: str = "") -> Verification:
    """Verify what an authority issued by the roots of the moment."""
    der = tuple(each.public_bytes(Encoding.DER) for each in served.chain)
    chain = [crypto.X509.from_cryptography(each) for each in served.chain]
    return TrustStore(extra, datetime.now(UTC)).verify(der, chain)


def test_file_and_folder_count_together(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """A company's root in SSL_CERT_FILE is trusted though there is a folder, as OpenSSL itself does it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(places.file))
    monkeypatch.setenv("SSL_CERT_DIR", str(places.folder))
    assert [verify(each.issue()).code for each in (COMPANY, PUBLIC)] == [0, 0]


def test_several_folders_are_looked_into(places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SSL_CERT_DIR is a list, and a folder of it that is missing hides no other."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", os.pathsep.join([str(tmp_path / "missing"), str(places.folder)]))
    assert verify(PUBLIC.issue()).code == 0
    assert verify(COMPANY.issue()).code != 0


def test_empty_store_is_said_to_be_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the server's chain is at fault where there is no root at all."""
    (tmp_path / "README").write_text("no roots here")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    served = PUBLIC.issue()
    found = verify(served)
    assert found.code == NO_ROOTS
    target = Target("127.0.0.1", Port(465, TlsMode.IMPLICIT, TlsPolicy.ENFORCED), "mx.example.test", pod="mx")
    der = tuple(each.public_bytes(Encoding.DER) for each in served.chain)
    facts = Facts(session=Session(der, "TLSv1.3", "TLS_AES_256_GCM_SHA384", found))
    told = [
        each
        for each in judge(target, Expected(), facts, datetime.now(UTC)).findings
        if each.reason is Reason.UNTRUSTED_ROOT
    ]
    assert told[0].message.startswith("The trust store where this runs is empty")
    assert "SSL_CERT_FILE" in told[0].message
    assert verify(served, PUBLIC.roots_pem).code == 0


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file and a folder of roots that this process may not read, though it may see them."""
    folder = Path(tempfile.mkdtemp(prefix="mailtls-roots-"))
    folder.chmod(0o755)
    (folder / "company.pem").write_text(COMPANY.roots_pem)
    (folder / "certs").mkdir()
    for each in folder.iterdir():
        each.chmod(0)
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    monkeypatch.setenv("SSL_CERT_DIR", "/nonexistent")
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)  # root may read everything
    try:
        yield folder
    finally:
        os.seteuid(before)
        shutil.rmtree(folder)


@pytest.mark.parametrize(("variable", "name"), [("SSL_CERT_FILE", "company.pem"), ("SSL_CERT_DIR", "certs")])
def test_store_that_may_not_be_read_is_named(
    variable: str, name: str, locked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A root that is there and cannot be read is no fault of the server's, and ends no probe."""
    monkeypatch.setenv(variable, str(locked / name))
    found = verify(COMPANY.issue())
    assert found.code == NO_ROOTS
    assert found.words == (
        f"Roots that should be trusted cannot be read here: {locked / name} (Permission denied). Let this process "
        "read them."
    )
    assert verify(COMPANY.issue(), COMPANY.roots_pem).code == 0


def test_chain_that_is_wrong_in_itself_is_named_for_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other roots would not put an expired certificate right: without any, that of the store is said."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert "empty" in verify(PUBLIC.issue(Wanted(valid_from=-9 * DAY, valid_until=-1 * DAY))).words


def policy_of(port: int, roots_pem: str = "") -> StsFetch:
    """Fetch a policy as the operator does, whose store is read when it starts."""
    return PolicyFetcher(roots_pem, port, 5.0).fetch("localhost", ["127.0.0.1"])


def test_policy_is_fetched_by_the_same_roots(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """File and folder count for MTA-STS as they do for the probe."""
    monkeypatch.setenv("SSL_CERT_DIR", str(places.folder))
    for authority in (COMPANY, PUBLIC):
        with serving(authority.issue(Wanted(names=("localhost",))), {PATH: page("version: STSv1\n")}) as port:
            monkeypatch.setenv("SSL_CERT_FILE", str(places.file))
            assert policy_of(port).fault is None
            monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
            assert (policy_of(port).fault is None) is (authority is PUBLIC)


def test_empty_store_is_named_by_the_policy_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not said that senders cannot fetch the policy, for theirs may be full."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    with serving(PUBLIC.issue(Wanted(names=("localhost",))), {PATH: page("version: STSv1\n")}) as port:
        assert policy_of(port) == StsFetch(StsFault.NO_ROOTS, EMPTY_STORE)
        assert policy_of(port, COMPANY.roots_pem).fault is StsFault.CERTIFICATE
    with serving(PUBLIC.issue(Wanted(names=("other.example",))), {PATH: page("version: STSv1\n")}) as port:
        assert policy_of(port, PUBLIC.roots_pem).fault is StsFault.CERTIFICATE


def test_empty_store_is_named_by_the_acme_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The CA's certificate may be good: the message names the store here, and the field that ends it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    key = pem_of(rsa.generate_private_key(65537, 2048))
    with serving(PUBLIC.issue(Wanted(names=("localhost",))), {}) as port:
        url = f"https://localhost:{port}/directory"
        with pytest.raises(AcmeProblem) as raised:
            AcmeSession(Identity(url, key), WallClock(), lambda *_: None).directory()
        assert EMPTY_STORE in read_directory(url).failure
        with pytest.raises(AcmeProblem) as with_bundle:
            AcmeSession(Identity(url, key), WallClock(), lambda *_: None, roots_pem=COMPANY.roots_pem).directory()
    finding = raised.value.finding
    assert finding.reason is Reason.ACME_TLS_UNTRUSTED
    assert finding.message.startswith(EMPTY_STORE)
    assert "spec.acme.caBundle" in finding.message
    assert "empty" not in with_bundle.value.finding.message


def test_acme_server_is_trusted_by_the_same_roots(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """A company's ACME server needs no bundle where the system trusts the company's root."""
    monkeypatch.setenv("SSL_CERT_DIR", str(places.folder))
    body = b'{"newOrder": "https://localhost/"}'
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body)
    with serving(COMPANY.issue(Wanted(names=("localhost",))), {"/directory": answer}) as port:
        url = f"https://localhost:{port}/directory"
        monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
        assert read_directory(url).failure == "its certificate is not trusted here"
        monkeypatch.setenv("SSL_CERT_FILE", str(places.file))
        assert read_directory(url).failure == ""


def test_roots_are_not_read_before_a_chain_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers that are dead show none, and reading a hundred roots takes longer than all else of a probe."""

    def read(_now: datetime) -> object:
        raise AssertionError

    monkeypatch.setattr(trust_store, "_system_roots", read)
    store = TrustStore(Authority().roots_pem, datetime.now(UTC), trusts_staging=True)
    with pytest.raises(AssertionError):
        store.verify((b"",), [])


def test_roots_in_a_file_are_read_again_when_it_was_changed(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was taken out of it is trusted no longer, and what stands between its certificates adds none."""
    monkeypatch.setenv("SSL_CERT_FILE", str(places.file))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    places.file.write_text(f"# a company\n{broken}{COMPANY.roots_pem}")
    served = COMPANY.issue()
    assert [verify(served).code for _ in range(2)] == [0, 0]
    places.file.write_text(PUBLIC.roots_pem)
    assert verify(served).code != 0
    trusted = COMPANY.roots_pem.replace(" CERTIFICATE-", " TRUSTED CERTIFICATE-")
    places.file.write_text(trusted)
    assert verify(served).code == 0
