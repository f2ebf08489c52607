"""CAA as authorities read it (RFC 8659, RFC 8657)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtls.maildomain.records.caa import CaaRecord, Grant, caa_binds_account, caa_forbids, grant_of
from mailtls.reasons.reason import Reason

OURS = frozenset({"letsencrypt.org"})
DNS = "dns-01"


def issue(value: str, tag: str = "issue", flags: int = 0) -> CaaRecord:
    """Make a record."""
    return CaaRecord(flags, tag, value)


@pytest.mark.parametrize(
    ("records", "name", "words"),
    [
        ((), "mx.example.com", ""),
        ((issue("letsencrypt.org"),), "mx.example.com", ""),
        ((issue("LetsEncrypt.org."),), "mx.example.com", ""),
        ((issue("ca.example"), issue("letsencrypt.org")), "mx.example.com", ""),
        ((issue("mailto:x@example.com", "iodef"),), "mx.example.com", ""),
        ((issue(";", "issuewild"),), "mx.example.com", ""),
        ((issue("letsencrypt.org", "issuewild"), issue(";")), "*.example.com", ""),
        ((issue("letsencrypt.org; validationmethods=http-01,dns-01"),), "mx.example.com", ""),
        ((issue("x", "unknown"),), "mx.example.com", ""),
        ((issue("ca.example"),), "mx.example.com", "letsencrypt.org"),
        ((issue(";"),), "mx.example.com", "letsencrypt.org"),
        ((issue("letsencrypt.org"), issue(";", "issuewild")), "*.example.com", "letsencrypt.org"),
        ((issue("ca.example"),), "*.example.com", "letsencrypt.org"),
        ((issue("letsencrypt.org; validationmethods=http-01"),), "mx.example.com", "dns-01"),
        ((issue("x", "unknown", 128), issue("letsencrypt.org")), "mx.example.com", "critical"),
    ],
)
def test_records_allow_or_forbid(records: tuple[CaaRecord, ...], name: str, words: str) -> None:
    """No record allows all; one that names others forbids; issuewild alone counts for a wildcard."""
    found = caa_forbids(records, name, OURS, DNS)
    assert (found is not None) == bool(words)
    if found:
        assert found.reason is Reason.CAA_FORBIDS
        assert words in found.message


def test_account_that_is_bound_is_noticed() -> None:
    """Only one account may then order."""
    bound = issue("letsencrypt.org; accounturi=https://ca.example/acct/1")
    assert caa_binds_account((bound,), "mx.example.com", OURS)
    assert not caa_binds_account((bound, issue("letsencrypt.org")), "mx.example.com", OURS)
    assert not caa_binds_account((), "mx.example.com", OURS)


@given(st.text())
def test_any_value_is_read(value: str) -> None:
    """What a stranger wrote never raises."""
    assert isinstance(grant_of(issue(value)), Grant)
