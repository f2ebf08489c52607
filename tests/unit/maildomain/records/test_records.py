"""Reading the records of a mail domain: what stands in them, and that nothing in them raises but a sentence."""

import base64
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import example, given
from hypothesis import strategies as st

from mailtls.maildomain.records.dkim import DkimInvalid, DkimKey, TagsInvalid, is_dkim_record, parse_dkim, parse_tags
from mailtls.maildomain.records.dmarc import DmarcInvalid, DmarcRecord, is_dmarc_record, parse_dmarc, tree_walk
from mailtls.maildomain.records.mta_sts import (
    ReportInvalid,
    StsInvalid,
    StsMode,
    StsPolicy,
    StsRecord,
    is_report_record,
    is_sts_record,
    parse_policy,
    parse_record,
    parse_report,
)
from mailtls.maildomain.records.spf import SpfInvalid, Term, is_spf_record, parse_spf

if TYPE_CHECKING:
    from collections.abc import Callable

WORDS = st.sampled_from(
    ["v=STSv1", ";", " ", "id=", "v=spf1", "include:", "a/24//64", "+all", "%{i}", "=", ":", "v=DMARC1", "p=", "rua=",
     "mailto:", "https://", ",", "v=DKIM1", "k=rsa", "v=TLSRPTv1", "version: STSv1\n", "mode: enforce\r\n", "mx: *.",
     "\0", "max_age: 9\n", "é", "@", "example.com", "[", "ip4:", "ip6:", "::1", "/", "redirect=", "psd=", "-"]
)  # fmt: skip
TEXTS = st.lists(WORDS | st.text(max_size=5), max_size=12).map("".join) | st.text(max_size=60)
LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
HOSTS = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
PATTERNS = HOSTS | HOSTS.map(lambda host: f"*.{host}")


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "begin", ["", "p=", "p=x", "v", "v=", "v=STSv1", "v=STSv1;", "v=DMARC1", "v=spf1 a", "v=TLSRPTv1"]
)
@pytest.mark.parametrize("run", [" ", ";", " ;", "a", "a ", "a=", ";a=b", "%{s}"])
def test_text_without_an_end_is_read_in_its_length(begin: str, run: str) -> None:
    """A parser that is of the square of it would take hours here, and in the operator all threads wait for it."""
    text = begin + run * 200_000
    _read_by_all(text)
    _read_by_all(f"{text}\0")


@given(TEXTS)
@example("v=spf1 ip4:1.2.3.4/²")
@example("v=TLSRPTv1; rua=https://[")
def test_any_text_is_read_or_refused_with_a_reason(text: str) -> None:
    """Strangers write these records: each parser ends in a value or in its own exception."""
    _read_by_all(text)


def _read_by_all(text: str) -> None:
    parsers: list[tuple[Callable[[str], object], type[ValueError]]] = [
        (parse_record, StsInvalid),
        (lambda body: parse_policy(body.encode(errors="replace")), StsInvalid),
        (parse_report, ReportInvalid),
        (parse_spf, SpfInvalid),
        (parse_dmarc, DmarcInvalid),
        (parse_dkim, DkimInvalid),
        (parse_tags, TagsInvalid),
    ]
    for parse, refusal in parsers:
        with suppress(refusal):
            parse(text)
    for asks in (is_sts_record, is_report_record, is_spf_record, is_dmarc_record, is_dkim_record):
        asks(text)


@given(st.from_regex(r"[A-Za-z0-9]{1,32}", fullmatch=True))
def test_record_of_mta_sts_survives_writing_and_reading(identity: str) -> None:
    """What is written down is read back."""
    record = StsRecord(identity)
    assert is_sts_record(str(record))
    assert parse_record(str(record)) == record


@given(st.sampled_from(StsMode), st.lists(PATTERNS, min_size=1, max_size=5), st.integers(0, 31_557_600), st.booleans())
def test_policy_survives_writing_and_reading(mode: StsMode, hosts: list[str], age: int, unix: bool) -> None:
    """With the line ends of the web and those of Unix."""
    policy = StsPolicy(mode, tuple(hosts), age)
    body = str(policy).replace("\r\n", "\n") if unix else str(policy)
    assert parse_policy(body.encode()) == policy


@pytest.mark.parametrize(
    "text",
    [
        "v=STSv1; id=20160831085700Z;",
        "v=STSv1;id=1",
        "v=STSv1 ; id=1 ; ",
        "v=STSv1; id=1; ext_x=a,b:c; y=2",
        "v=STSv1; y=2; id=1",
    ],
)
def test_record_of_mta_sts_is_read(text: str) -> None:
    """Spaces and extensions as RFC 8461 section 3.1 allows them."""
    assert parse_record(text).id in {"20160831085700Z", "1"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("v=STSv1;", "of the form"),
        ("v=STSv1; id=;", "of the form"),
        ("v=STSv1; id=2026-08-01", "letters and digits"),
        ("v=STSv1; id=" + "1" * 33, "letters and digits"),
        ("v=STSv1; x=1", "no id"),
        ("v=STSv1; id=1; id=2", "more than one id"),
        ("V=STSv1; id=1", "of the form"),
        ("v=STSv1; id=1;;", "of the form"),
    ],
)
def test_malformed_record_of_mta_sts_is_refused(text: str, words: str) -> None:
    """Senders take it for none."""
    with pytest.raises(StsInvalid, match=words):
        parse_record(text)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "version"),
        (b"version: STSv2\nmode: none\nmax_age: 1", "version"),
        (b"version: STSv1\nmax_age: 1", "mode"),
        (b"version: STSv1\nmode: Enforce\nmx: a.example\nmax_age: 1", "mode"),
        (b"version: STSv1\nmode: enforce\nmax_age: 1", "no mx"),
        (b"version: STSv1\nmode: testing\nmx: *.*.example\nmax_age: 1", "no host name"),
        (b"version: STSv1\nmode: none", "max_age"),
        (b"version: STSv1\nmode: none\nmax_age: 31557601", "max_age"),
        (b"version: STSv1\nmode: none\nmax_age: -1", "max_age"),
        (b"version: STSv1\nmode none\nmax_age: 1", "name: value"),
        (b"<!DOCTYPE html>\n<html>", "name: value"),
        (b"\xff\xfe", "UTF-8"),
    ],
)
def test_malformed_policy_is_refused(body: bytes, words: str) -> None:
    """The words say which line to repair."""
    with pytest.raises(StsInvalid, match=words):
        parse_policy(body)


def test_first_of_a_repeated_field_counts() -> None:
    """RFC 8461 section 3.2, and extensions are passed over."""
    body = b"version: STSv1\nmode: testing\nmode: enforce\nx-new: 1\nmx: A.Example.COM\n\nmax_age: 1\nmax_age: 2\n"
    assert parse_policy(body) == StsPolicy(StsMode.TESTING, ("a.example.com",), 1)


@pytest.mark.parametrize(
    ("host", "listed"),
    [
        ("mx1.example.com", True),
        ("MX1.example.com.", True),
        ("a.mail.example.com", True),
        ("a.b.mail.example.com", False),
        ("mail.example.com", False),
        ("mx2.example.com", False),
    ],
)
def test_wildcard_of_a_policy_is_one_label(host: str, listed: bool) -> None:
    """RFC 8461 section 4.1."""
    policy = StsPolicy(StsMode.ENFORCE, ("mx1.example.com", "*.mail.example.com"), 1)
    assert policy.lists(host) is listed


def test_addresses_of_reports_are_read() -> None:
    """Several, by mail and by the web."""
    text = "v=TLSRPTv1; rua=mailto:tls@example.com, https://reports.example/v1 ;"
    assert parse_report(text) == ("mailto:tls@example.com", "https://reports.example/v1")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("v=TLSRPTv1;", "no address"),
        ("v=TLSRPTv1; rua=tls@example.com", "neither mailto"),
        ("v=TLSRPTv1; rua=http://example.com", "neither mailto"),
        ("v=TLSRPTv1; rua=mailto:a@b.example,", "neither mailto"),
        ("v=TLSRPTv2; rua=mailto:a@b.example", "does not begin"),
        ("v=TLSRPTv1 rua=mailto:a@b.example", "does not begin"),
    ],
)
def test_malformed_report_record_is_refused(text: str, words: str) -> None:
    """Senders would report nothing."""
    with pytest.raises(ReportInvalid, match=words):
        parse_report(text)


def test_terms_of_spf_are_read() -> None:
    """Mechanisms with and without domains and lengths, and modifiers."""
    text = "v=spf1 A mx:mail.example.com/24//64 ip4:192.0.2.0/24 -ip6:2001:db8::/32 ~include:_s.%{d2} x=y redirect=r.it"
    assert parse_spf(text).terms == (
        Term("a"),
        Term("mx", "mail.example.com", rest="/24//64"),
        Term("ip4", rest="192.0.2.0/24"),
        Term("ip6", qualifier="-", rest="2001:db8::/32"),
        Term("include", "_s.%{d2}", "~"),
        Term("x", "y"),
        Term("redirect", "r.it"),
    )


@pytest.mark.parametrize(
    "text",
    [
        "v=spf1 ipv4:192.0.2.1",
        "v=spf1 ip4:192.0.2.300",
        "v=spf1 ip4:192.0.2.0/33",
        "v=spf1 ip6:192.0.2.1",
        "v=spf1 include",
        "v=spf1 include:",
        "v=spf1 all:example.com",
        "v=spf1 a/33",
        "v=spf1 include:a.example/24",
        "v=spf1 redirect=a.example redirect=b.example",
        "v=spf1 redirect=",
        "v=spf1 mx;-all",
        "v=spf1 exists:%{x}.example",
        "v=spf1 -redirect=a.example",
    ],
)
def test_malformed_spf_is_refused(text: str) -> None:
    """Receivers answer with permerror (RFC 7208 section 4.6)."""
    with pytest.raises(SpfInvalid):
        parse_spf(text)


def test_terms_behind_all_are_not_reached() -> None:
    """Nor does a redirect count beside an `all` (RFC 7208 section 6.1)."""
    reached = parse_spf("v=spf1 mx ?all include:a.example redirect=b.example").evaluated
    assert [term.name for term in reached] == ["mx", "all"]


@pytest.mark.parametrize(("text", "found"), [("v=spf1", True), ("V=SPF1 -all", True), ("v=spf10 -all", False)])
def test_spf_record_is_told_from_others(text: str, found: bool) -> None:
    """RFC 7208 section 4.5."""
    assert is_spf_record(text) is found


@pytest.mark.parametrize(
    ("text", "record"),
    [
        ("v=DMARC1; p=reject", DmarcRecord("reject", "reject")),
        ("v = DMARC1 ; p = Quarantine ; sp=none; psd=n;", DmarcRecord("quarantine", "none", "n")),
        ("v=DMARC1; rua=mailto:a@b.example", DmarcRecord("none", "none")),
        ("v=DMARC1; p=none; pct=50; unknown=x", DmarcRecord("none", "none")),
    ],
)
def test_dmarc_record_is_read(text: str, record: DmarcRecord) -> None:
    """With the defaults of RFC 9989 section 4.7, unknown tags passed over."""
    assert is_dmarc_record(text)
    assert parse_dmarc(text) == record


@pytest.mark.parametrize(
    "text",
    [
        "v=DMARC1",
        "v=DMARC1; p=block",
        "v=DMARC1; p=none; sp=all",
        "v=DMARC1; p=none; adkim=x",
        "p=none; v=DMARC1",
        "v=DMARC1; p=none; p=reject",
        "v=DMARC1; p=none; rua=dmarc@example.com",
        "v=DMARC1 p=none",
    ],
)
def test_malformed_dmarc_is_refused(text: str) -> None:
    """Receivers would ignore it."""
    with pytest.raises(DmarcInvalid):
        parse_dmarc(text)


def test_walk_up_the_tree_asks_eight_names_at_most() -> None:
    """RFC 9989 section 4.10: long names jump to their last seven labels."""
    assert tree_walk("mail.example.com") == ("mail.example.com", "example.com", "com")
    asked = tree_walk("a.b.c.d.e.f.g.h.i.j.mail.example.com")
    assert asked[:2] == ("a.b.c.d.e.f.g.h.i.j.mail.example.com", "g.h.i.j.mail.example.com")
    assert len(asked) == 8


def published_key(bits: int) -> str:
    """An RSA key as a record has it, split as signers print it."""
    public = rsa.generate_private_key(65537, bits).public_key()
    encoded = base64.b64encode(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
    return encoded[:60] + " " + encoded[60:]


@pytest.mark.parametrize("bits", [1024, 2048])
def test_rsa_key_is_read(bits: int) -> None:
    """Spaces inside of base64 are allowed (RFC 6376 section 3.2)."""
    assert parse_dkim(f"v=DKIM1; k=rsa; t=y; p={published_key(bits)}") == DkimKey("rsa", bits, is_testing=True)


def test_ed25519_key_is_read() -> None:
    """RFC 8463: the bare key."""
    raw = ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    assert parse_dkim(f"v=DKIM1; k=ed25519; p={base64.b64encode(raw).decode()}") == DkimKey("ed25519", 256)


def test_empty_key_is_revoked() -> None:
    """RFC 6376 section 3.6.1."""
    assert parse_dkim("v=DKIM1; p=").is_revoked


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("v=DKIM1; k=rsa", "no key"),
        ("v=DKIM1; p=***", "base64"),
        ("v=DKIM1; p=AAAA", "cannot be read"),
        ("k=rsa; v=DKIM1; p=", "beginning"),
        ("v=DKIM2; p=", "beginning"),
        ("v=DKIM1; k=dsa; p=AAAA", "neither rsa"),
        ("v=DKIM1; k=ed25519; p=AAAA", "32 octets"),
    ],
)
def test_malformed_key_is_refused(text: str, words: str) -> None:
    """The words say what to repair."""
    with pytest.raises(DkimInvalid, match=words):
        parse_dkim(text)
