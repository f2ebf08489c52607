"""`mailtls probe` with several targets that belong together: one host asked for twice, addresses of one name."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from functional.cli import MX_CHILD, at_port_25, mailtls
from functional.signed_zones import Child, resolving
from mailservers.certificates import HOST, Authority
from mailservers.postfix import Postfix, missing, postfix

AUTHORITY = Authority()
GOOD, OTHER = AUTHORITY.issue(), AUTHORITY.issue()


@pytest.fixture(scope="module")
def server() -> Iterator[Postfix]:
    """One Postfix with two certificates for the same name, each good on its own."""
    if why := missing():
        pytest.skip(why)
    with postfix({"good": (), "other": ()}) as running:
        running.certificate("good", GOOD.pem)
        running.certificate("other", OTHER.pem)
        yield running


@pytest.fixture
def roots(tmp_path: Path) -> str:
    """The file with the authority's root."""
    (tmp_path / "roots.pem").write_text(AUTHORITY.roots_pem)
    return str(tmp_path / "roots.pem")


def reasons(findings: list[dict[str, Any]]) -> set[str]:
    """What is said, in a word each."""
    return {finding["reason"] for finding in findings}


def test_host_that_is_named_beside_its_domains_is_judged_for_each(server: Postfix, roots: str, tmp_path: Path) -> None:
    """Two domains share an MX host that is also named itself: each has its records held against what it serves."""
    port = server.ports["good"]
    records = f"@ MX 10 {HOST}.\n"
    tlsa = f"_{port}._tcp.mx1 TLSA 3 1 1 {sha256(b'another key').hexdigest()}\n"
    zones = {
        "a.example": Child(records),
        "b.example": Child(records),
        "example.com": Child(MX_CHILD.records + tlsa),
    }
    targets = (f"{HOST}:{port}", "a.example", "b.example")
    with resolving(tmp_path / "dns", zones) as (resolver, _):
        options = ("--port", f"{port}/smtp/starttls", "--resolver", resolver, "--ca-file", roots, "--json")
        done = mailtls("probe", *targets, *options)
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert len(report["endpoints"]) == 1
    assert [reasons(domain["findings"]) & {"TlsaMismatch", "TlsaNoNext"} for domain in report["domains"]] == [
        {"TlsaMismatch"},
        {"TlsaMismatch"},
    ]
    assert report["endpoints"][0]["tlsPolicy"] == "Enforced"


def test_mail_exchanger_without_submission_is_well(server: Postfix, roots: str) -> None:
    """Nobody named 465 and 587: that they are not there is said, and fails nothing; a named one must be there."""
    with at_port_25(server.where("good")) as where:
        address = where.removesuffix(":25")
        done = mailtls("probe", address, "--server-name", HOST, "--ca-file", roots, "--json")
        named = mailtls("probe", address, "--server-name", HOST, "--ca-file", roots, "--port", "25", "--port", "465")
    report = json.loads(done.stdout)
    assert (done.returncode, report["result"], len(report["endpoints"])) == (0, "OK", 1), done
    assert [each["subject"] for each in report["notOffered"]] == [f"{address}:465", f"{address}:587"]
    assert (named.returncode, "ConnectionRefused" in named.stdout) == (1, True)


def test_addresses_of_one_name_must_serve_the_same(server: Postfix, roots: str) -> None:
    """Both certificates are good, and clients meet one or the other by chance: a warning with both."""
    with ExitStack() as stack:
        places = [stack.enter_context(at_port_25(server.where(name))) for name in ("good", "other")]
        done = mailtls("probe", *places, "--server-name", HOST, "--ca-file", roots)
        alone = mailtls("probe", places[0], "--server-name", HOST, "--ca-file", roots, "--strict")
    assert (done.returncode, "PodsInconsistent" in done.stdout) == (0, True), done
    assert f"{GOOD.sha256[:16]}…" in done.stdout
    assert f"{OTHER.sha256[:16]}…" in done.stdout
    assert alone.returncode == 0, alone
