"""What is said of endpoints only beside each other: ports not offered, silence on port 25, addresses that differ."""

from datetime import UTC, datetime

import pytest

from builders.surveys import survey
from mailtls.cli.results import Probed, Verdict
from mailtls.cli.targets import read_port
from mailtls.probe.checks.comparison import not_offered, with_blocked_ports, with_differences, with_lonely_submission
from mailtls.probe.checks.verdict import judge
from mailtls.probe.facts import Facts, Fault, Phase, Stop
from mailtls.probe.target import Endpoint, Expected, Target
from mailtls.reasons.reason import Reason, Severity

NOW = datetime(2026, 11, 24, tzinfo=UTC)
HOST, V4, V6 = "mx1.example.com", "192.0.2.1", "2001:db8::1"
NOBODY: frozenset[Target] = frozenset()


def endpoint(
    port: int, fault: Fault | None = None, *, host: str = HOST, address: str = V4, leaf: str = "aa"
) -> Endpoint:
    """One that serves, or one that nobody answers on."""
    target = Target(address, read_port(str(port)), host, pod=host)
    if fault:
        return judge(target, Expected(), Facts(stop=Stop(Phase.CONNECT, fault)), NOW)
    return Endpoint(target, NOW, served_sha256=leaf)


def ports(missing: frozenset[Target]) -> set[tuple[str, int]]:
    """Where nobody answers."""
    return {(target.address, target.port.port) for target in missing}


def reasons(endpoints: tuple[Endpoint, ...]) -> list[list[str]]:
    """What is said of each."""
    return [[str(finding.reason) for finding in each.findings] for each in endpoints]


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.TIMED_OUT])
def test_unnamed_port_without_an_answer_is_not_offered(fault: Fault) -> None:
    """A host that is an MX and nothing else is well."""
    asked = (endpoint(25), endpoint(465, fault), endpoint(587, fault))
    assert ports(not_offered(asked, NOBODY)) == {(V4, 465), (V4, 587)}


def test_port_that_was_named_must_answer() -> None:
    """Who writes a port means it."""
    refused = endpoint(465, Fault.REFUSED)
    assert not_offered((endpoint(25), refused), {refused.target}) == frozenset()


def test_host_without_any_answer_fails() -> None:
    """A server that is down offers nothing at all; another host proves nothing for it."""
    asked = (endpoint(25, Fault.REFUSED), endpoint(465, Fault.REFUSED), endpoint(25, host="mx2.example.com"))
    assert not_offered(asked, NOBODY) == frozenset()


def test_port_that_answers_at_one_address_must_answer_at_all() -> None:
    """A listener that is missing for IPv6 is a fault, also where nobody named the port."""
    asked = (endpoint(25), endpoint(25, Fault.REFUSED, address=V6), endpoint(465, Fault.REFUSED, address=V6))
    assert ports(not_offered(asked, NOBODY)) == {(V6, 465)}


@pytest.mark.parametrize(("there", "missing"), [(465, 587), (587, 465)])
def test_one_port_for_submission_is_a_warning(there: int, missing: int) -> None:
    """Both should be there (RFC 8314 section 3.3)."""
    asked = (endpoint(25), endpoint(there), endpoint(missing, Fault.REFUSED))
    judged = with_lonely_submission(asked, not_offered(asked, NOBODY))
    assert reasons(judged)[:2] == [[], ["SubmissionPortMissing"]]
    assert judged[1].findings[0].severity is Severity.WARN
    assert f"not on {missing}" in judged[1].findings[0].message


def test_silence_on_port_25_is_taken_for_a_filter() -> None:
    """As likely the provider of whoever asks as the server's firewall; other ports and refusals say what they are."""
    asked = (endpoint(25, Fault.TIMED_OUT), endpoint(465, Fault.TIMED_OUT), endpoint(25, Fault.REFUSED, address=V6))
    assert reasons(with_blocked_ports(asked)) == [["PortBlocked"], ["ConnectTimeout"], ["ConnectionRefused"]]
    assert not_offered((endpoint(587), asked[0]), NOBODY) == frozenset()


def test_silence_on_port_25_is_a_fault_where_that_port_answers_elsewhere() -> None:
    """The way out is open then, for this family of addresses."""
    asked = (
        endpoint(25, Fault.TIMED_OUT),
        endpoint(25, host="mx2.example.com"),
        endpoint(25, Fault.TIMED_OUT, address=V6),
    )
    assert reasons(with_blocked_ports(asked)) == [["ConnectTimeout"], [], ["PortBlocked"]]


def test_survey_of_blocked_ports_alone_has_seen_nothing() -> None:
    """Exit code 3: nobody may take silence for good news, nor for a fault; beside others it is a warning."""
    (blocked,) = (Probed(each) for each in with_blocked_ports([endpoint(25, Fault.TIMED_OUT)]))
    alone, beside = survey(endpoints=(blocked,)), survey(endpoints=(blocked, Probed(endpoint(587))))
    assert (alone.verdict, alone.exit_code()) == (Verdict.UNKNOWN, 3)
    assert (beside.verdict, beside.exit_code(), beside.exit_code(strict=True)) == (Verdict.WARN, 0, 1)


def test_addresses_of_a_name_are_compared() -> None:
    """An old certificate at one address of several is seen, at the same port alone."""
    asked = (
        endpoint(25),
        endpoint(25, address=V6, leaf="bb"),
        endpoint(465),
        endpoint(25, host="b.example", leaf="cc"),
    )
    judged = with_differences(asked)
    assert reasons(judged) == [["PodsInconsistent"], ["PodsInconsistent"], [], []]
    (finding,) = judged[0].findings
    assert (finding.reason, finding.severity) == (Reason.PODS_INCONSISTENT, Severity.WARN)
    assert finding.evidence == f"aa… at {V4}; bb… at {V6}"
