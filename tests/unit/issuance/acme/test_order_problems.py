"""What a CA's words become: problems, verdicts, times and authorizations from JSON."""

from datetime import UTC, datetime, timedelta

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from mailtls.issuance.acme import messages as acme_messages
from mailtls.issuance.acme.problem import LONGEST_REFUSAL_WAIT, Refused, from_refusal, retry_after
from mailtls.issuance.acme.problem_document import Problem, Stage, judge
from mailtls.issuance.certificates import links
from mailtls.issuance.order_state import OrderState, Status
from mailtls.reasons.reason import Reason

_NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
_ACME = "urn:ietf:params:acme:error:"


def _response(status: int = 200, **headers: str) -> requests.Response:
    response = requests.Response()
    response.status_code = status
    response.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return response


@pytest.mark.parametrize(
    ("code", "stage", "reason", "needs_person", "transient"),
    [
        ("rateLimited", Stage.ORDER, Reason.RATE_LIMITED, False, False),
        ("invalidProfile", Stage.ORDER, Reason.PROFILE_UNKNOWN, True, False),
        ("caa", Stage.ORDER, Reason.CAA_FORBIDS, False, False),
        ("caa", Stage.CHALLENGE, Reason.CAA_FORBIDS, False, False),
        ("externalAccountRequired", Stage.ACCOUNT, Reason.EXTERNAL_ACCOUNT_REQUIRED, True, False),
        ("userActionRequired", Stage.ORDER, Reason.TERMS_CHANGED, True, False),
        ("agreementRequired", Stage.ACCOUNT, Reason.TERMS_CHANGED, True, False),
        ("invalidContact", Stage.ACCOUNT, Reason.ACCOUNT_REJECTED, True, False),
        ("accountDoesNotExist", Stage.ORDER, Reason.ACCOUNT_REJECTED, True, False),
        ("unauthorized", Stage.ACCOUNT, Reason.ACCOUNT_REJECTED, True, False),
        ("unauthorized", Stage.ORDER, Reason.ORDER_REJECTED, False, False),
        ("unauthorized", Stage.CHALLENGE, Reason.CHALLENGE_FAILED, False, False),
        ("dns", Stage.CHALLENGE, Reason.CHALLENGE_FAILED, False, False),
        ("badCSR", Stage.ORDER, Reason.ORDER_REJECTED, False, False),
        ("rejectedIdentifier", Stage.ORDER, Reason.ORDER_REJECTED, False, False),
        ("malformed", Stage.ORDER, Reason.ORDER_REJECTED, False, False),
        ("never heard of", Stage.ORDER, Reason.ORDER_REJECTED, False, False),
        ("badNonce", Stage.ORDER, Reason.ACME_UNREACHABLE, False, True),
        ("serverInternal", Stage.ORDER, Reason.ACME_UNREACHABLE, False, True),
    ],
)
def test_problem_type_and_stage_decide_the_verdict(
    code: str, stage: Stage, reason: Reason, needs_person: bool, transient: bool
) -> None:
    """Each problem type ends in one reason, and says whether waiting or a person helps."""
    verdict = judge(Problem(_ACME + code, "The CA's words."), stage)
    assert verdict.finding.reason is reason
    assert (verdict.needs_person, verdict.transient) == (needs_person, transient)
    assert verdict.finding.message.endswith(": The CA's words.")


@pytest.mark.parametrize(
    ("code", "detail"),
    [
        ("badCSR", "CSR must contain a common name"),
        ("badCSR", "the CN is missing"),
        ("malformed", "certificate request without subject"),
        ("unauthorized", "policy requires CommonName"),
        ("badCSR", "Subject is empty"),
    ],
)
def test_authority_that_wants_a_common_name_is_told_how(code: str, detail: str) -> None:
    """The advice names the setting, and nothing that has to do with keys or names."""
    finding = judge(Problem(_ACME + code, detail), Stage.ORDER).finding
    assert finding.reason is Reason.ORDER_REJECTED
    assert finding.message == (
        f"Set spec.acme.commonName to true, the CA wants a common name in the request: {detail}."
    )


@pytest.mark.parametrize("detail", ["Error parsing the subject alternative names", "CN mismatch", "key is too weak"])
def test_other_complaints_about_a_request_name_all_that_could_help(detail: str) -> None:
    """Where the CA does not say it, the setting is one of the ways out."""
    message = judge(Problem(_ACME + "badCSR", detail), Stage.ORDER).finding.message
    assert message.startswith("Change spec.privateKey or spec.dnsNames, or set spec.acme.commonName")


@given(st.text(max_size=3000), st.text(max_size=3000), st.sampled_from(Stage))
def test_message_of_any_problem_fits_an_event(kind: str, detail: str, stage: Stage) -> None:
    """Kubernetes takes 1024 characters in an event's message."""
    assert len(judge(Problem(kind, detail), stage).finding.message) <= 1024


def test_compound_problem_names_its_parts() -> None:
    """Subproblems are folded into one text with their names, and the first gives the type."""
    document = {
        "type": _ACME + "compound",
        "detail": "Errors",
        "subproblems": [
            {"type": _ACME + "caa", "detail": "forbidden", "identifier": {"type": "dns", "value": "a.example.com"}},
            {"type": _ACME + "dns", "detail": "no answer"},
        ],
    }
    assert acme_messages.read_problem(document) == Problem(_ACME + "caa", "Errors; a.example.com: forbidden; no answer")


@pytest.mark.parametrize("text", ["", "<html>", "[]", "null", "3"])
def test_error_without_a_document_keeps_its_status_line(text: str) -> None:
    """An error answer that is no problem document is told by its HTTP reason."""
    assert acme_messages.problem_from_json(text, "Bad Gateway") == Problem("", "Bad Gateway")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("120", _NOW + timedelta(seconds=120)),
        ("0", _NOW),
        ("Tue, 24 Nov 2026 12:02:00 GMT", _NOW + timedelta(seconds=120)),
        ("Tue, 24 Nov 2026 12:02:00 -0000", _NOW + timedelta(seconds=120)),
        ("Tue, 24 Nov 2026 13:02:00 +0100", _NOW + timedelta(seconds=120)),
        ("99999999999999999999", _NOW + timedelta(hours=1)),
        pytest.param("9" * 5000, _NOW + timedelta(hours=1), id="5000 digits"),
        pytest.param("0" * 5000 + "7", _NOW + timedelta(seconds=7), id="5000 zeros"),
        ("Fri, 24 Nov 2028 12:00:00 GMT", _NOW + timedelta(hours=1)),
        ("-5", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_a_time_in_utc(value: str, expected: datetime | None) -> None:
    """Seconds and HTTP dates are read in UTC; nonsense is none, and nobody waits more than an hour."""
    assert retry_after(_response(Retry_After=value), _NOW, LONGEST_REFUSAL_WAIT) == expected


@given(st.text(max_size=40))
def test_any_retry_after_is_survived(value: str) -> None:
    """No header makes the client fail."""
    named = retry_after(_response(Retry_After=value), _NOW, LONGEST_REFUSAL_WAIT)
    assert named is None or named.tzinfo is not None


def test_server_error_is_transient_whatever_its_type() -> None:
    """A 5xx never ends an order, though its document may claim a client's fault."""
    refused = Refused(Problem(_ACME + "malformed", "oops"), _response(502))
    problem = from_refusal(refused, Stage.ORDER, _NOW)
    assert (problem.transient, problem.finding.reason) == (True, Reason.ACME_UNREACHABLE)
    assert "502 oops" in problem.finding.message


def test_order_is_read_leniently() -> None:
    """What a CA leaves out stays as known, and times without meaning are none."""
    known = OrderState("order", finalize_url="fin", identifiers=("a.example.com",))
    order = acme_messages.read_order(known, {"status": "ready", "expires": "tomorrow"}, None, _NOW)
    assert (order.status, order.finalize_url, order.identifiers) == (Status.READY, "fin", ("a.example.com",))
    assert order.expires_at is None
    assert order.polls == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-24T12:00:00Z", _NOW),
        ("2026-11-24t12:00:00z", _NOW),
        ("2026-11-24T13:00:00.000000000+01:00", _NOW),
    ],
)
def test_times_of_rfc_3339_are_read(text: str, expected: datetime) -> None:
    """CAs write fractions of any length, zones and lower case."""
    assert acme_messages.read_time(text) == expected


def test_several_links_of_one_relation_are_all_found() -> None:
    """RFC 8555 uses one relation more than once, which the HTTP library's own reading loses."""
    header = '<https://ca/1>;rel="alternate", <https://ca/dir>;rel="index", <https://ca/2>; rel="alternate"'
    assert links(_response(Link=header), "alternate") == ["https://ca/1", "https://ca/2"]
    assert links(_response(), "next") == []


@pytest.mark.parametrize(
    ("code", "detail", "is_lookup"),
    [
        ("caa", "While processing CAA for a.example: DNS problem: SERVFAIL looking up CAA for a.example", True),
        ("dns", "DNS problem: query timed out looking up CAA for example", True),
        ("dns", "DNS problem: networking error looking up CAA for a.example", True),
        ("caa", "CAA lookup failed", True),
        ("caa", "Unable to retrieve CAA records", True),
        ("dnssec", "CAA: DNSSEC is bogus", True),
        ("caa", "While processing CAA for a.example: CAA record for a.example prevents issuance", False),
        ("caa", "CAA record forbids issuance for a.example (lookup by tree climbing)", False),
        ("caa", "The CA is not authorized by the CAA record set", False),
        ("dns", "DNS problem: SERVFAIL looking up TXT for _acme-challenge.a.example", False),
        ("unauthorized", "SERVFAIL looking up CAA", False),
    ],
)
@pytest.mark.parametrize("stage", [Stage.ORDER, Stage.CHALLENGE])
def test_caa_lookup_that_fails_is_no_policy(code: str, detail: str, is_lookup: bool, stage: Stage) -> None:
    """Nothing forbids the CA, so no record has to be added: the name servers have to be repaired."""
    finding = judge(Problem(_ACME + code, detail), stage).finding
    assert (finding.reason is Reason.CAA_LOOKUP_FAILED) is is_lookup
    assert ("Add a CAA record" in finding.message) is (code == "caa" and not is_lookup)
