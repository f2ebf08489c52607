"""`mailtls status` and the waiting of `renew`, from resources as the API server has them."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.resources import CHAPTERS, PORT, resource
from mailtls.api.resource import Request
from mailtls.api.resource_json import resources_json
from mailtls.api.resource_view import progress
from mailtls.api.status import ConditionType, Truth
from mailtls.cli.output.resources import age, resource_story, resource_table
from mailtls.kube.resource_views import view
from mailtls.reasons.reason import Reason

NOW = datetime(2026, 11, 24, 16, 0, tzinfo=UTC)


def test_table_of_a_ready_resource_is_as_documented() -> None:
    """Like kubectl's, and nothing below it."""
    assert resource_table([view(resource())], NOW) == (
        "NAME   READY   REASON   HOST              EXPIRES            RENEWS             SERVED   AGE\n"
        "mx     True    Ready    mx1.example.com   2027-02-22 02:14   2027-01-22 22:10   6/6      3d\n"
    )


def test_table_says_what_stands_in_the_way() -> None:
    """The first condition that is not true, with its message."""
    shown = resource_table([view(resource("RolledOut"))], NOW, with_namespace=True)
    assert shown.startswith("NAMESPACE   NAME")
    assert shown.endswith(
        "\nmail/mx: RolledOut is False (CanaryFailed)\n    About RolledOut.\n"
        "    docs/reference/reasons/CanaryFailed.md\n"
    )


def test_story_says_in_one_line_whether_a_person_has_to_act() -> None:
    """The message is that of Ready, which stands above it."""
    stalled = resource("RolledOut")
    ready = next(each for each in stalled["status"]["conditions"] if each["type"] == "Ready")
    stalled["status"]["conditions"].append(ready | {"type": "Stalled", "status": "True"})
    shown = resource_story(view(stalled), NOW, 200)
    assert "! Stalled       CanaryFailed, since 2026-11-24 15:00 UTC: a person has to act\n" in shown
    assert shown.count("About Ready.") == 1


def test_story_ends_with_the_page_of_each_reason_that_is_not_fine() -> None:
    """Where the status says that the installation serves its documentation, by address; each is named once."""
    failing = resource("Verified", "StarttlsNotAdvertised", endpoints=[PORT])
    heading = "What this means and what to do, as mailtls explain REASON prints it\n"
    pages = "    docs/reference/reasons/StarttlsNotAdvertised.md\n    docs/reference/reasons/ServingOldCertificate.md\n"
    assert resource_story(view(failing), NOW).endswith(f"\n\n{heading}{pages}")
    site = "    https://docs.example.com/0.1/reference/reasons/"
    assert resource_story(view(served_at("https://docs.example.com/0.1/{page}/", failing)), NOW).endswith(
        f"{heading}{site}StarttlsNotAdvertised/\n{site}ServingOldCertificate/\n"
    )
    assert "/reasons/" not in resource_story(view(resource()), NOW)


def test_fault_of_a_mail_domain_has_an_address_though_the_resource_is_ready() -> None:
    """Nothing is wrong with the servers, so Ready links to nothing."""
    finding = {"reason": "TlsaMismatch", "severity": "Fail", "message": "No TLSA record matches."}
    domains = [{"name": "example.com", "checkedAt": "2026-11-24T15:00:00Z", "findings": [finding]}]
    shown = view(served_at("https://docs.example.com/{page}/", resource(domains=domains)))
    assert shown.is_ready
    assert resource_story(shown, NOW).endswith("    https://docs.example.com/reference/reasons/TlsaMismatch/\n")


@pytest.mark.parametrize(
    "said", ["javascript:alert(1)//{page}", "https://docs.example.com/", "https://a\x1b[2J/{page}", 7, None, "{page}"]
)
def test_address_that_no_operator_writes_is_not_shown(said: object) -> None:
    """Whoever may write the status makes no link of it that does what another address does not."""
    shown = view(served_at(said, resource("Verified", "ProtocolError")))
    assert shown.page_of(Reason.PROTOCOL_ERROR) == "docs/reference/reasons/ProtocolError.md"


def served_at(docs_url: object, shown: dict[str, Any]) -> dict[str, Any]:
    """The resource as an operator reports it that serves its documentation there."""
    return shown | {"status": shown["status"] | {"docsURL": docs_url}}


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
@pytest.mark.parametrize("with_namespace", [False, True])
def test_everything_fits_the_terminal(width: int, with_namespace: bool) -> None:
    """No line is longer than the terminal is wide, but for addresses; a wide one shows all columns."""
    history = [{"time": "2026-11-24T15:00:00Z", "event": "Issued", "message": "Certificate 0a was issued. " * 5}]
    long = resource("RolledOut", endpoints=[PORT], history=history)
    long["spec"]["dnsNames"] = ["a-rather-long-name-of-a-host.mail.example.com"]
    shown = resource_table([view(long)], NOW, with_namespace=with_namespace, width=width)
    shown += resource_story(view(long), NOW, width)
    assert max(len(line) for line in shown.splitlines() if "/reasons/" not in line) <= width
    assert "mx " in shown
    assert "postfix-0" in shown
    assert ("RENEWS" in shown) is (width >= 200)


def test_columns_that_are_needed_least_go_first() -> None:
    """What a reader looks for stays: the name, whether it is ready, why not, and until when it is valid."""
    table = resource_table([view(resource())], NOW, width=80).splitlines()
    assert table[0].split() == ["NAME", "READY", "REASON", "HOST", "EXPIRES", "SERVED"]
    table = resource_table([view(resource())], NOW, width=50).splitlines()
    assert table[0].split() == ["NAME", "READY", "REASON", "EXPIRES", "SERVED"]


def test_json_says_all_that_status_knows() -> None:
    """One object for each resource, with what stands in its way."""
    found = json.loads(resources_json([view(resource("RolledOut", endpoints=[PORT])), view(resource())]))["resources"]
    first, second = found
    assert (first["namespace"], first["name"], first["ready"], second["ready"]) == ("mail", "mx", False, True)
    assert (first["obstacle"]["type"], first["obstacle"]["message"]) == ("RolledOut", "About RolledOut.")
    assert second["obstacle"] is None
    assert first["expiresAt"] == "2027-02-22T02:14:06Z"
    assert first["endpoints"][0]["reason"] == "ServingOldCertificate"
    assert [each["type"] for each in first["conditions"]] == list(CHAPTERS[:-1])


def test_story_has_conditions_ports_attempts_and_history() -> None:
    """All that status knows, in order."""
    attempts = {
        "failed": 2,
        "reason": "RateLimited",
        "message": "Too many.",
        "lastFailureTime": "2026-11-24T15:00:00Z",
        "nextAttemptTime": "2026-11-24T17:00:00Z",
    }
    history = [{"time": "2026-11-20T00:00:00Z", "event": "Issued", "message": "Serial 1."}]
    shown = resource_story(view(resource("Verified", endpoints=[PORT], attempts=attempts, history=history)), NOW)
    for words in (
        "! Verified      CanaryFailed, since 2026-11-24 15:00 UTC",
        "+ Issued        Issued",
        "! 2 failed, next attempt at 2026-11-24 17:00 UTC",
        "postfix-0   10.0.0.7   25     Fail     ServingOldCertificate   TLSv1.3   2026-12-01 00:00",
        "postfix-0:25: The server still serves an older certificate.",
        "2026-11-20 00:00  Issued: Serial 1.",
    ):
        assert words in shown


def test_story_tells_what_was_found_about_each_mail_domain() -> None:
    """Failures and warnings, and that a domain was looked at where there are none."""
    checked = {"checkedAt": "2026-11-24T15:00:00Z"}
    findings = [
        {"reason": "TlsaMismatch", "severity": "Fail", "message": "No TLSA record matches."},
        {"reason": "SpfMissing", "severity": "Warn", "message": "There is no SPF record."},
    ]
    domains = [{"name": "example.com", "findings": findings, **checked}, {"name": "example.org", **checked}]
    shown = resource_story(view(resource(domains=domains)), NOW)
    assert (
        "example.com, looked at 2026-11-24 15:00 UTC\n"
        "  ! TlsaMismatch\n    No TLSA record matches.\n"
        "  ? SpfMissing\n    There is no SPF record.\n"
        "example.org, looked at 2026-11-24 15:00 UTC: nothing found\n"
    ) in shown


def test_failing_domain_does_not_stand_in_the_way() -> None:
    """A resource that is ready is shown as ready, and with exit code 0."""
    seen = view(resource())
    conditions = [
        replace(each, status=Truth.FALSE) if each.type is ConditionType.DOMAIN_HEALTHY else each
        for each in seen.status.conditions
    ]
    failing = replace(seen, status=replace(seen.status, conditions=tuple(conditions)))
    assert failing.is_ready
    assert len(resource_table([failing], NOW).splitlines()) == 2


def test_resource_without_status_is_shown() -> None:
    """The operator may not have seen it yet."""
    fresh = {"metadata": {"namespace": "mail", "name": "mx"}}
    assert "mx     Unknown   Pending" in resource_table([view(fresh)], NOW)
    assert "mx     Unknown   Pending" in resource_story(view(fresh), NOW)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)
)


@given(
    st.dictionaries(
        st.sampled_from(
            [
                *("conditions", "certificate", "endpoints", "history", "lastHandledRenew", "served", "domains"),
                *("endpointsServed", "endpointsTotal"),
            ]
        ),
        JSON,
    )
)
def test_any_status_is_shown(status: dict[str, Any]) -> None:
    """A status of another version, or of somebody else's making, must not hide the resource."""
    seen = view({"metadata": {"namespace": "mail", "name": "mx"}, "status": status})
    json.loads(resources_json([seen]))
    assert resource_story(seen, NOW).startswith("NAME")


@pytest.mark.parametrize(
    ("passed", "shown"),
    [({"seconds": 10}, "10s"), ({"minutes": 2}, "2m"), ({"hours": 25}, "1d"), ({"hours": -1}, "0s")],
)
def test_age_is_written_short(passed: dict[str, int], shown: str) -> None:
    """As kubectl does."""
    assert age(NOW - timedelta(**passed), NOW) == shown


def attempts(upcoming: str | None, wanted: str = "now") -> dict[str, Any]:
    """A failed attempt."""
    return {
        "failed": 1,
        "reason": "ChallengeFailed",
        "message": "No TXT record.",
        "lastFailureTime": "2026-11-24T15:00:00Z",
        "nextAttemptTime": upcoming,
        "observedRenew": wanted,
    }


@pytest.mark.parametrize(
    ("seen", "wanted", "came_true"),
    [
        (resource(), Request.RENEW, None),
        (resource(lastHandledRenew="before"), Request.RENEW, None),
        (resource(lastHandledRenew="now"), Request.RENEW, True),
        (resource("RolledOut", lastHandledRenew="now"), Request.RENEW, None),
        (resource("RolledOut", "RolledBack", lastHandledRenew="now"), Request.RENEW, False),
        (resource("RolledOut", "RolledBack", lastHandledRenew="before"), Request.RENEW, None),
        (resource(attempts=attempts(None)), Request.RENEW, False),
        (resource(attempts=attempts("2026-11-24T17:00:00Z")), Request.RENEW, None),
        (resource(attempts=attempts(None, "before")), Request.RENEW, None),
        (resource(lastHandledRollback="now"), Request.ROLLBACK, True),
        (resource(lastHandledProbe="now"), Request.PROBE, True),
        (resource("Verified", lastHandledProbe="now"), Request.PROBE, False),
    ],
)
def test_wish_is_followed_to_its_end(seen: dict[str, Any], wanted: Request, came_true: bool | None) -> None:
    """Done, failed for good, or on the way; only the operator's word on this very wanted counts."""
    assert progress(view(seen), wanted, "now").came_true is came_true


@pytest.mark.parametrize(
    ("events", "came_true"), [(("RollbackRefused", "RolledBack"), True), (("RolledBack", "RollbackRefused"), False)]
)
def test_refused_rollback_did_not_come_true_however_ready_the_resource_is(
    events: tuple[str, ...], came_true: bool
) -> None:
    """A refusal heeds the wanted and changes nothing, so that what served before goes on being Ready."""
    history = [{"time": "2026-11-24T15:00:00Z", "event": event, "message": f"It is {event}."} for event in events]
    now = progress(view(resource(lastHandledRollback="now", history=history)), Request.ROLLBACK, "now")
    assert now.came_true is came_true
    assert came_true or now.sentence == "RollbackRefused: It is RollbackRefused."


def test_failed_attempt_is_told_while_waiting() -> None:
    """A person who waits reads why."""
    seen = view(resource(attempts=attempts("2026-11-24T17:00:00Z")))
    assert progress(seen, Request.RENEW, "now").sentence == "ChallengeFailed: No TXT record."


def test_ways_besides_the_pods_are_listed_as_what_they_are() -> None:
    """A Service, a public name, and a way that was not found."""
    ways = [
        {**PORT, "pod": None, "from": "Service", "service": "postfix"},
        {**PORT, "pod": None, "from": "Public", "host": "mx1.example.com"},
        {**PORT, "pod": None, "from": "Service", "reason": "ServiceMissing"},
    ]
    endpoints = [PORT, *({name: value for name, value in each.items() if value} for each in ways)]
    shown = [each.server for each in view(resource(endpoints=endpoints)).endpoints]
    assert shown == ["postfix-0", "Service/postfix", "Public/mx1.example.com", "Service"]
