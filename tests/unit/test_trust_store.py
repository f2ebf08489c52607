"""Which roots are trusted without being named: what OpenSSL loads by default, and what its two variables name."""

import os
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import crypto

from mailservers.certificates import Authority, Served, Wish
from mailservers.policy_server import serving
from mailtls.lifecycle.probe.checks import judge
from mailtls.model.probe.endpoint import Expected, Target
from mailtls.model.probe.facts import Facts
from mailtls.model.probe.talk import Session, Verification
from mailtls.model.reason import Reason
from mailtls.model.spec import Port, TlsMode, TlsPolicy
from mailtls.world.acme.directory import read_directory
from mailtls.world.probing.handshake import NO_ROOTS, TrustStore

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
    target = Target("mx", "", "127.0.0.1", Port(465, TlsMode.IMPLICIT, TlsPolicy.ENFORCED), "mx.example.test")
    der = tuple(each.public_bytes(Encoding.DER) for each in served.chain)
    facts = Facts(session=Session(der, "TLSv1.3", "TLS_AES_256_GCM_SHA384", found))
    told = [
        each for each in judge(target, Expected(), facts, datetime.now(UTC)) if each.reason is Reason.UNTRUSTED_ROOT
    ]
    assert told[0].message.startswith("The trust store where the probe runs is empty")
    assert "SSL_CERT_FILE" in told[0].message
    assert verify(served, PUBLIC.roots_pem).code == 0


def test_acme_server_is_trusted_by_the_same_roots(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """A company's ACME server needs no bundle where the system trusts the company's root."""
    monkeypatch.setenv("SSL_CERT_DIR", str(places.folder))
    body = b'{"newOrder": "https://localhost/"}'
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body)
    with serving(COMPANY.issue(Wish(names=("localhost",))), {"/directory": answer}) as port:
        url = f"https://localhost:{port}/directory"
        monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
        assert read_directory(url).failure == "its certificate is not trusted here"
        monkeypatch.setenv("SSL_CERT_FILE", str(places.file))
        assert read_directory(url).failure == ""
