"""Watching what mail domains publish: when they are looked at, by which pods they are judged, and what is told."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from builders.contexts import a_context, next_step, wanting
from builders.domains import AUTHORITY, DOMAIN, ders, facts, host, tlsa
from builders.stories import DAY, NOW, certificate, desired
from fakes.clock import WallClock
from fakes.domains import Dns, Pods
from mailservers.certificates import HOST
from mailtls.api.spec import Desired
from mailtls.api.state import Failure
from mailtls.api.status import Condition, ConditionType, DomainReport, HistoryEntry, Status, Truth
from mailtls.api.status_json import read, write
from mailtls.api.workload import Daemon, UpdateStrategy, Workload, WorkloadKind
from mailtls.context import Context
from mailtls.controller.conditions import conditions, interruption, refusal
from mailtls.controller.status_writer import report_of
from mailtls.domains.execute import DomainChecking
from mailtls.domains.policy import (
    FAILING_RECHECK,
    LONGEST_MESSAGE,
    CheckDomains,
    checked_until,
    domains_are_due,
    next_check_after,
)
from mailtls.domains.state import DomainsState
from mailtls.issuance.order_state import OrderState
from mailtls.kube.workload import PodState, WorkloadState
from mailtls.maildomain.facts import DomainFacts, MailDomain, TlsaRecord
from mailtls.net.answer import Records
from mailtls.probe.target import Endpoint, Port, Protocol, ProxyProtocol, Target, TlsMode, TlsPolicy
from mailtls.reasons.reason import Finding, Reason, Severity
from mailtls.rollout.steps import RollProgress
from mailtls.step import Rest

HOUR = timedelta(hours=1)
OURS = MailDomain(DOMAIN)
RELAY = Port(2525, TlsMode.START_TLS, TlsPolicy.OPPORTUNISTIC, proxy_protocol=ProxyProtocol.V2)
PORTS = (
    RELAY,
    Port(25, TlsMode.START_TLS, TlsPolicy.ENFORCED),
    Port(587, TlsMode.START_TLS, TlsPolicy.ENFORCED),
    Port(465, TlsMode.IMPLICIT, TlsPolicy.ENFORCED),
    Port(24, TlsMode.START_TLS, TlsPolicy.OPPORTUNISTIC, Protocol.LMTP),
)
POSTFIX = Workload(WorkloadKind.STATEFUL_SET, "postfix", UpdateStrategy.NONE, (Daemon("postfix", PORTS),))
STATES = (WorkloadState(POSTFIX, pods=(PodState("postfix-0", "uid-0", ("198.51.100.1",), ready=True),)),)
SERVED, OTHER = AUTHORITY.issue(), AUTHORITY.issue()
FAILS = Finding(Reason.TLSA_MISMATCH, "No TLSA record matches.")
WARNS = Finding(Reason.SPF_MISSING, "There is no SPF record.", Severity.WARN)


def wanted(**changes: Any) -> Desired:
    """A resource for the host that the domain's MX record names."""
    return desired(**({"domains": (OURS,), "dns_names": (HOST,)} | changes))


def looked(wants: Desired, *findings: Finding, at: timedelta = timedelta(0), **changes: Any) -> Context:
    """What is known after a look at the one domain."""
    have = a_context(
        secret=replace(a_context().snapshot.secret, certificate=certificate(names=frozenset(wants.dns_names))),
        **changes,
    )
    asked = checked_until(wanting(wants, have), NOW + HOUR + at)
    return have.with_domains(reports=(DomainReport(DOMAIN, NOW + at, findings),), last_check=asked)


def is_due(wants: Desired, have: Context, after: timedelta = timedelta(0)) -> bool:
    """Whether the next thing to do is to look at the domains."""
    return isinstance(next_step(wanting(wants, have), NOW + after), CheckDomains)


def health(wants: Desired, have: Context) -> Condition:
    """The condition of the domains."""
    return next(each for each in conditions(wanting(wants, have), NOW) if each.type is ConditionType.DOMAIN_HEALTHY)


# when


def test_domains_are_looked_at_once_and_again_after_the_interval() -> None:
    """A look is due when none was made, then rests for as long as it is good."""
    wants = wanted()
    assert is_due(wants, looked(wants).with_domains(reports=(), last_check=None))
    assert next_step(wanting(wants, looked(wants)), NOW) == Rest(NOW + HOUR)
    assert is_due(wants, looked(wants), HOUR)


def remembered(**changes: Any) -> Context:
    """What a new process reads of an earlier one's look, an hour's quarter ago."""
    told = Condition(ConditionType.DOMAIN_HEALTHY, Truth.TRUE, Reason.DOMAINS_HEALTHY, "", NOW, 1)
    have = looked(wanted(), status=Status(conditions=(told,), **changes), handled_probe="1")
    return have.with_domains(reports=(DomainReport(DOMAIN, NOW - HOUR / 4),), last_check=None)


def test_restart_is_no_reason_to_look_at_once() -> None:
    """A look of an earlier process is good for as long as it would have been, and the pass wakes then."""
    wants, have = wanted(), remembered()
    due_at = next_check_after(wants, have.domains.reports, NOW - HOUR / 4)
    assert not is_due(wants, have)
    assert next_step(wanting(wants, have), NOW) == Rest(due_at)
    assert is_due(wants, have, due_at - NOW)


@pytest.mark.parametrize(
    ("wants", "have"),
    [
        (wanted(generation=2), remembered()),
        (wanted(domains=(OURS, MailDomain("example.org"))), remembered()),
        (wanted(probe_requested="2"), remembered()),
        (wanted(), remembered(history=(HistoryEntry(NOW, Reason.ISSUED, "", "0a"),))),
    ],
    ids=["spec", "domain", "annotation", "certificate"],
)
def test_what_changed_since_an_earlier_process_looked_is_looked_at_at_once(wants: Desired, have: Context) -> None:
    """Its look was about something else."""
    assert is_due(wants, have)


def test_without_domains_nothing_is_looked_up() -> None:
    """The DNS is none of the operator's business unless it is asked."""
    assert isinstance(next_step(wanting(wanted(domains=()), looked(wanted()).with_domains(last_check=None)), NOW), Rest)


@pytest.mark.parametrize(
    "change",
    [
        {"domains": (MailDomain(DOMAIN, ("mail2026",)),)},
        {"domains": (OURS, MailDomain("example.org"))},
        {"probe_requested": "now"},
    ],
    ids=["selector", "domain", "annotation"],
)
def test_changed_wish_is_looked_at_at_once(change: dict[str, Any]) -> None:
    """What the user asks for does not wait for the interval."""
    before = wanted()
    assert is_due(replace(before, **change), looked(before))


def test_another_certificate_that_is_served_is_looked_at_at_once() -> None:
    """TLSA records speak of what is served; a pod that shows none meanwhile changes nothing."""
    wants, have = wanted(), looked(wanted())
    target = Target("198.51.100.1", RELAY, HOST, pod="postfix-0")
    renewed = have.with_verification(endpoints=(Endpoint(target, NOW, served_sha256="bb" * 32),))
    assert is_due(wants, renewed)
    assert not is_due(wants, renewed.with_domains(last_check=checked_until(wanting(wants, renewed), NOW + HOUR)))
    assert not is_due(wants, have.with_verification(endpoints=(Endpoint(target, NOW),)))


def test_look_waits_while_an_order_is_under_way_but_not_while_it_fails() -> None:
    """Lookups may take seconds, which the certificate must not lose; one that cannot be had loses nothing."""
    wants = wanted()
    order = OrderState("https://ca.test/order/1", "pending")
    have = looked(wants).with_domains(last_check=None).with_issuance(order=order)
    assert not is_due(wants, have)
    trouble = Failure(Finding(Reason.RATE_LIMITED, "Too many."), NOW + DAY)
    assert is_due(wants, have.with_issuance(failure=trouble))


def test_look_waits_for_pods_that_are_on_their_way() -> None:
    """A rollout goes on the moment that a pod is ready."""
    pods = (PodState("postfix-0", "uid-0", ("198.51.100.1",), ready=False),)
    restarted = replace(POSTFIX, update_strategy=UpdateStrategy.RESTART)
    states = (WorkloadState(restarted, pods=pods, rolled=False, replicas_wanted=1),)
    wants = wanted(workloads=(states[0].workload,))
    progress = RollProgress(NOW, timedelta(minutes=10))
    have = (
        looked(wants)
        .with_domains(last_check=None)
        .with_snapshot(workloads=states)
        .with_rollout(progress=progress)
        .with_verification(probed_at=NOW)
    )
    told = replace(
        states[0], template_sha256=have.snapshot.secret.certificate.sha256 if have.snapshot.secret.certificate else ""
    )
    assert not is_due(wants, have.with_snapshot(workloads=(told,)))


def test_suspended_resource_looks_up_nothing() -> None:
    """Suspended means: nothing is done."""
    assert next_step(wanting(wanted(suspend=True), looked(wanted()).with_domains(last_check=None)), NOW) == Rest(None)


# how


def pinned(served: Any) -> DomainFacts:
    """The domain with a TLSA record for one certificate."""
    record = TlsaRecord(3, 0, 1, bytes.fromhex(served.sha256))
    return facts(host(tlsa(record, record, TlsaRecord(3, 0, 1, b"next"))))


def look(wants: Desired, dns: Dns, pods: Pods | None = None, have: Context | None = None) -> Context:
    """Perform one look at NOW."""
    clock = WallClock()
    clock.advance(NOW - clock.now())
    watching = DomainChecking(dns, pods or Pods(ders(SERVED)), clock)
    return watching.check(wanting(wants, have or a_context(workloads=STATES)), CheckDomains())


def reasons(have: Context) -> list[Reason]:
    """What was found, in order."""
    return [finding.reason for report in have.domains.reports for finding in report.findings]


def test_tlsa_record_is_held_against_what_the_pods_serve() -> None:
    """Fine for the certificate that is served, and a failure for any other."""
    wants = wanted(workloads=(POSTFIX,))
    assert Reason.TLSA_MISMATCH not in reasons(look(wants, Dns([pinned(SERVED)])))
    have = look(wants, Dns([pinned(OTHER)]))
    assert reasons(have)[0] is Reason.TLSA_MISMATCH
    condition = health(wants, have)
    assert (condition.status, condition.reason) == (Truth.FALSE, Reason.TLSA_MISMATCH)
    assert condition.message.startswith(f"{DOMAIN}: No TLSA record at _25._tcp.{HOST} matches")


def test_only_ports_for_strangers_are_dialled_by_the_name_of_the_mx_host() -> None:
    """Submission ports do not take the domain's mail; a relay behind a Service may listen at another port than 25."""
    pods = Pods(ders(SERVED))
    wants = wanted(workloads=(POSTFIX,), dns_names=("mail.example.com", HOST))
    look(wants, Dns([pinned(SERVED)]), pods)
    assert {(each.port.port, each.server_name) for each in pods.asked} == {(25, HOST), (2525, HOST)}
    assert {each.port.proxy_protocol for each in pods.asked if each.port.port == RELAY.port} == {ProxyProtocol.V2}


@pytest.mark.parametrize(
    ("name", "is_ours"), [("*.example.com", True), ("mx.example.org", False), ("*.mx1.example.com", False)]
)
def test_host_of_others_is_not_dialled(name: str, is_ours: bool) -> None:
    """Pods of this resource say nothing about hosts that its certificate is not for."""
    pods = Pods(ders(SERVED))
    have = look(wanted(workloads=(POSTFIX,), dns_names=(name,)), Dns([pinned(OTHER)]), pods)
    assert bool(pods.asked) is is_ours
    assert (Reason.TLSA_MISMATCH in reasons(have)) is is_ours


def test_failing_domain_is_looked_at_again_soon() -> None:
    """A record that was mended is noticed before the interval is over."""
    wants = wanted(workloads=(POSTFIX,))
    good, bad = (look(wants, Dns([pinned(each)])) for each in (SERVED, OTHER))
    soon = NOW + FAILING_RECHECK + timedelta(minutes=1)
    assert not domains_are_due(wanting(wants, good), soon)
    assert domains_are_due(wanting(wants, bad), soon)
    assert not domains_are_due(wanting(wants, bad), NOW + FAILING_RECHECK / 2)


def test_dead_resolver_is_a_reason_and_no_loop() -> None:
    """Nothing is thrown, and the next look is minutes away."""
    silent = facts(mx_records=Records(DOMAIN, "MX", failure="no answer in time"))
    wants, dns = wanted(), Dns([silent])
    have = look(wants, dns, have=looked(wants).with_domains(last_check=None))
    assert health(wants, have).reason is Reason.DNS_LOOKUP_FAILED
    assert "(no answer in time)" in health(wants, have).message
    assert have.domains.last_check
    assert isinstance(next_step(wanting(wants, have), have.domains.last_check.again_at - timedelta(minutes=1)), Rest)


def test_defect_in_a_look_leaves_the_certificate_alone() -> None:
    """It is said with the domains and nowhere else."""
    wants = wanted()
    have = look(wants, Dns([], RuntimeError("secret")), have=looked(wants))
    said = {each.type: each for each in conditions(wanting(wants, have), NOW)}
    assert said[ConditionType.DOMAIN_HEALTHY].reason is Reason.INTERNAL_ERROR
    assert "secret" not in said[ConditionType.DOMAIN_HEALTHY].message
    assert said[ConditionType.READY].status is Truth.TRUE


def test_wish_for_a_probe_is_heeded_also_where_no_pods_are() -> None:
    """Without workloads nobody else fulfils it."""
    assert look(wanted(probe_requested="1"), Dns([facts(host())])).verification.handled_probe == "1"
    assert (
        look(wanted(probe_requested="1", workloads=(POSTFIX,)), Dns([facts(host())])).verification.handled_probe is None
    )


def test_wish_for_a_probe_is_told_when_the_domains_were_looked_at_too() -> None:
    """Who waits for it then reads both results; the pods come first."""
    before, after = wanted(probe_requested="1"), wanted(probe_requested="2")
    have = looked(before).with_verification(handled_probe="2").with_snapshot(status=read({"lastHandledProbe": "1"}))
    assert write(report_of(have, (), NOW))["lastHandledProbe"] == "1"
    done = have.with_domains(last_check=checked_until(wanting(after, have), NOW))
    assert write(report_of(done, (), NOW))["lastHandledProbe"] == "2"


# what is told


def test_without_domains_there_is_no_condition_of_them_whatever_was_said_before() -> None:
    """Unknown would be a complaint about nothing to programs that show conditions; and Ready does not care."""
    before = Condition(ConditionType.DOMAIN_HEALTHY, Truth.FALSE, Reason.TLSA_MISMATCH, "It is wrong.", NOW, 1)
    for status in (Status(), Status(conditions=(before,))):
        said = {each.type: each for each in conditions(a_context(status=status), NOW)}
        assert ConditionType.DOMAIN_HEALTHY not in said
        assert said[ConditionType.READY].status is Truth.TRUE


def test_reconcile_that_is_cut_short_keeps_the_condition_of_domains_and_makes_none() -> None:
    """Nobody knows then whether the spec names any: what was said before stands."""
    fault = Finding(Reason.INVALID_SPEC, "It says nothing.")
    before = Condition(ConditionType.DOMAIN_HEALTHY, Truth.TRUE, Reason.DOMAINS_HEALTHY, "", NOW, 1)
    for make in (interruption, refusal):
        assert ConditionType.DOMAIN_HEALTHY not in {each.type for each in make(fault, Status(), 1, NOW)}
        kept = {each.type for each in make(fault, Status(conditions=(before,)), 1, NOW)}
        assert kept == set(ConditionType) - {ConditionType.RECONCILING}


def test_condition_before_the_first_look_is_unknown() -> None:
    """Also while one of two domains was looked at."""
    both = wanted(domains=(OURS, MailDomain("example.org")))
    assert health(both, looked(wanted())).reason is Reason.PENDING


def test_failing_domain_leaves_ready_as_it_is() -> None:
    """The condition is of its own: TLS is as good as before."""
    said = {each.type: each for each in conditions(wanting(wanted(), looked(wanted(), FAILS)), NOW)}
    assert said[ConditionType.DOMAIN_HEALTHY].status is Truth.FALSE
    assert said[ConditionType.READY].status is Truth.TRUE
    assert list(said)[-2:] == [ConditionType.READY, ConditionType.DOMAIN_HEALTHY]


@pytest.mark.parametrize(
    ("findings", "message"),
    [
        ((), f"Nothing that {DOMAIN} publishes fails a check."),
        ((WARNS,), f"Nothing that {DOMAIN} publishes fails a check; 1 warning: {DOMAIN}: There is no SPF record."),
        ((FAILS, FAILS), f"{DOMAIN}: No TLSA record matches. (2 findings fail)"),
        (
            (FAILS, WARNS, WARNS),
            f"{DOMAIN}: No TLSA record matches; 2 warnings: {DOMAIN}: There is no SPF record.",
        ),
    ],
)
def test_message_counts_what_is_found(findings: tuple[Finding, ...], message: str) -> None:
    """The first failure and the first warning are told, the others counted."""
    assert health(wanted(), looked(wanted(), *findings)).message == message


def test_message_is_bounded() -> None:
    """Whatever a zone holds, a condition stays readable."""
    long = Finding(Reason.TLSA_MISMATCH, "x" * 5000)
    assert len(health(wanted(), looked(wanted(), long)).message) == LONGEST_MESSAGE


def test_domain_that_is_no_longer_named_is_forgotten() -> None:
    """What was found about it does not stay in the status."""
    reports = (DomainReport(DOMAIN, NOW), DomainReport("example.org", NOW))
    assert DomainsState(reports=reports).of(wanted().domains).reports == reports[:1]


def test_what_was_found_is_read_back_after_a_restart() -> None:
    """The condition stands until the domains are looked at anew; ten findings of each are kept."""
    have = looked(wanted(), *[FAILS] * 6, *[WARNS] * 6)
    status = write(report_of(have, (), NOW))
    assert [len(each["findings"]) for each in status["domains"]] == [10]
    again = a_context().with_domains(reports=read(status).domains)
    assert health(wanted(), again).reason is Reason.TLSA_MISMATCH
    assert again.domains.reports[0].checked_at == NOW
