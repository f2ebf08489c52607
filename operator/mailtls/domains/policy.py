"""Watch: when what the mail domains publish is looked up again, by which pods it is judged, and what it sums up to."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import ClassVar, Final

from mailtls.api.spec import Desired, Place, PlaceKind
from mailtls.api.status import ConditionType, DomainReport, Verdict
from mailtls.context import Context
from mailtls.domains.state import DomainCheck
from mailtls.hostname import is_named
from mailtls.maildomain.facts import DomainFacts, ServedTls
from mailtls.probe.facts import Facts, Fault, Phase
from mailtls.probe.target import RELAY_PORT, Port, Protocol, Route, Target, TlsMode, TlsPolicy
from mailtls.reasons.quoting import shorten
from mailtls.reasons.reason import Finding, Reason, Severity
from mailtls.rollout.decide import pods_expected_at
from mailtls.step import Deadline, Step
from mailtls.times import next_turn
from mailtls.verification.evidence import targets

FAILING_RECHECK: Final = timedelta(minutes=10)  # a corrected record is noticed before the interval is over
LONGEST_MESSAGE: Final = 900  # characters of a condition; an Event takes 1024
Found = tuple[str, Finding]  # the domain, and what was found there


@dataclass(frozen=True, slots=True)
class CheckDomains(Step):
    """Look up what the mail domains publish, and compare it with what the pods serve."""

    deadline: ClassVar[Deadline] = Deadline(
        60.0, "15 seconds are for all lookups, the rest for the pods behind the names"
    )

    def places(self, desired: Desired) -> Iterable[Place]:
        """The resolvers."""
        del desired
        return (Place(PlaceKind.RESOLVER),)

    def is_reported_before(self, context: Context, silence: timedelta) -> bool:
        """All that is known of TLS is reported before domains are looked up, which may take long."""
        del context, silence
        return True


def check_domains(context: Context, now: datetime) -> CheckDomains | None:
    """What the domains publish comes last, and waits while a certificate is on its way: lookups may take seconds."""
    is_ordering = context.issuance.order is not None and context.issuance.failure is None
    if is_ordering or pods_expected_at(context, now) is not None or not domains_are_due(context, now):
        return None
    return CheckDomains()


def domains_due_at(context: Context, _now: datetime) -> Iterable[datetime | None]:
    """When the domains are checked again."""
    yield next_check_at(context) if context.desired.domains else None


def domains_are_due(context: Context, now: datetime) -> bool:
    """Whether the domains are looked at now: by the interval, for a new list or certificate, or by annotation."""
    desired = context.desired
    asked, due_at = context.domains.last_check, next_check_at(context)
    if not desired.domains:
        return False
    if due_at is None or now >= due_at:
        return True
    if asked is None:
        return False
    served = _served(context)
    is_news = asked.domains != desired.domains or asked.probe_requested != desired.probe_requested
    return is_news or (bool(served) and served != asked.served)


def next_check_at(context: Context) -> datetime | None:
    """When a look is due by the time alone; None: none was made that counts.

    What an earlier process found counts while nothing has changed since: a restart is no reason to look at all domains
    of all resources at once.
    """
    desired = context.desired
    if context.domains.last_check is not None:
        return context.domains.last_check.again_at
    if not is_complete(desired, context.domains.reports) or not context.domains.reports:
        return None
    looked_at = min(report.checked_at for report in context.domains.reports)
    before = context.snapshot.status.condition(ConditionType.DOMAIN_HEALTHY)
    is_same = before is not None and before.observed_generation == desired.generation
    is_same = is_same and desired.probe_requested in {None, context.verification.handled_probe}
    is_news = any(
        each.at >= looked_at and each.serial_number for each in context.snapshot.status.history
    )  # another certificate
    return next_check_after(desired, context.domains.reports, looked_at) if is_same and not is_news else None


def checked_until(context: Context, again_at: datetime) -> DomainCheck:
    """Remember what a look was for."""
    return DomainCheck(context.desired.domains, _served(context), context.desired.probe_requested, again_at)


def next_check_after(desired: Desired, reports: Iterable[DomainReport], now: datetime) -> datetime:
    """Return until when a look is good: what fails may be repaired soon."""
    interval = desired.probe.interval
    return next_turn(desired.uid, now, min(interval, FAILING_RECHECK) if any(_failures(reports)) else interval)


def mail_targets(context: Context, found: Iterable[DomainFacts]) -> tuple[Target, ...]:
    """List the ports of this resource's pods that take mail from strangers, dialled by each MX host's name.

    Hosts that the certificate is not for are served by others; nothing is known of them but what the DNS says.
    """
    hosts = dict.fromkeys(
        host.name for facts in found for host in facts.mx if is_named(host.name, context.desired.dns_names)
    )
    return tuple(
        target
        for host in hosts
        for target in targets(context.snapshot.workloads or (), host)
        if _is_for_strangers(target.port)
    )


def as_senders_see(target: Target) -> Target:
    """Return the target at the port that senders dial, whichever the pod has behind its Service."""
    return replace(target, port=replace(target.port, port=RELAY_PORT))


def served_at(target: Target, facts: Facts) -> ServedTls:
    """Return of a probe what the checks of a mail domain need to know."""
    stop = facts.stop
    is_plain = stop is not None and stop.fault is Fault.NOT_OFFERED
    return ServedTls(
        host=target.server_name,
        port=target.port.port,
        chain=facts.session.chain if facts.session else (),
        trouble=_trouble(facts),
        instead_of_starttls=stop.detail if stop and is_plain else None,
    )


def is_complete(desired: Desired, reports: Sequence[DomainReport]) -> bool:
    """Whether every domain of the spec has been looked at."""
    return {domain.name for domain in desired.domains} <= {report.name for report in reports}


def failing(reports: Iterable[DomainReport]) -> Finding | None:
    """Sum up what fails: the first finding's reason, and how much there is besides."""
    failures, warnings = _failures(reports), _warnings(reports)
    if not failures:
        return None
    domain, first = failures[0]
    others = f" ({len(failures)} findings fail)" if len(failures) > 1 else ""
    return Finding(first.reason, _bounded(f"{domain}: {first.message}{others}", warnings))


def healthy(reports: Sequence[DomainReport]) -> str:
    """Say that nothing fails, and what is warned of."""
    whose = reports[0].name if len(reports) == 1 else f"{len(reports)} domains"
    return _bounded(
        f"Nothing that {whose} publish{'es' if len(reports) == 1 else ''} fails a check", _warnings(reports)
    )


def _bounded(words: str, warnings: Sequence[Found]) -> str:
    if warnings:
        domain, first = warnings[0]
        count = f"{len(warnings)} warnings" if len(warnings) > 1 else "1 warning"
        words = f"{words.removesuffix('.')}; {count}: {domain}: {first.message}"
    words = words if words.endswith((".", ")")) else f"{words}."
    return shorten(words, LONGEST_MESSAGE)


def _failures(reports: Iterable[DomainReport]) -> list[Found]:
    return _of(reports, Severity.FAIL)


def _warnings(reports: Iterable[DomainReport]) -> list[Found]:
    return _of(reports, Severity.WARN)


def _of(reports: Iterable[DomainReport], severity: Severity) -> list[Found]:
    return [(each.name, finding) for each in reports for finding in each.findings if finding.severity is severity]


def _served(context: Context) -> frozenset[str]:
    pods = (endpoint for endpoint in context.verification.endpoints if endpoint.target.route is Route.PODS)
    return frozenset(endpoint.served_sha256 for endpoint in pods if endpoint.served_sha256)


def _is_for_strangers(port: Port) -> bool:
    is_relay = port.port == RELAY_PORT or port.tls_policy is TlsPolicy.OPPORTUNISTIC
    return is_relay and port.protocol is Protocol.SMTP and port.tls_mode is TlsMode.START_TLS


def _trouble(facts: Facts) -> str:
    """Why a sender with the public roots alone would refuse TLS with the server, in a few words."""
    if facts.session is None:
        stop = facts.stopped(Phase.STARTTLS, Phase.HANDSHAKE)
        return f"{stop.phase}: {stop.fault}" if stop else ""
    verdict = facts.session.verification
    if verdict.code > 0:
        return f"its certificate is not trusted: {verdict.words}"
    return "" if verdict.is_public else "its certificate is not of a public CA"  # what we trust besides, senders do not


def domain_healthy(context: Context) -> Verdict | None:
    """True while nothing that the mail domains publish keeps mail from them; None where no domain is named."""
    if not context.desired.domains:
        return None
    if not is_complete(context.desired, context.domains.reports):
        return Verdict.pending("The domains were not looked at yet.")
    failure = failing(context.domains.reports)
    return Verdict.false(failure) if failure else Verdict.true(Reason.DOMAINS_HEALTHY, healthy(context.domains.reports))
