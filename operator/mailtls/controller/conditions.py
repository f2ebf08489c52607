"""Report: turn what is known at the end of a pass into conditions. Every message says what is, or what to do."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from mailtls.api.status import Condition, ConditionType, ServedCount, Status, Truth
from mailtls.context import Context
from mailtls.domains.policy import failing, healthy, is_complete
from mailtls.issuance.guard import is_replaced, not_put_right
from mailtls.issuance.policy import is_held_back, issuance_is_due, renewal_is_held, stored_is_expired, usable
from mailtls.issuance.schedule import held_by_its_age
from mailtls.issuance.storage import warnings
from mailtls.probe.checks.comparison import differences
from mailtls.probe.target import Endpoint, Target
from mailtls.reasons.reason import Finding, Reason
from mailtls.rollout.policy import next_roll, on_its_way, shared
from mailtls.rollout.steps import RolledOut, RolloutFailed, WaitForPods
from mailtls.times import format_minute, format_second
from mailtls.verification.decide import probe_routes
from mailtls.verification.evidence import PASSING, UNREACHABLE, targets
from mailtls.verification.routes import are_awaited
from mailtls.verification.schedule import evidence, targets_to_probe

BESIDE = frozenset({ConditionType.DOMAIN_HEALTHY})  # tells of the DNS, and gates nothing
RENEWALS = frozenset({Reason.RENEWAL_DUE, Reason.RENEWAL_REQUESTED})  # due, but what is stored is what the spec wants
NO_CERTIFICATE = "Waits for a certificate."
NOT_LOOKED = "The certificate is stored; no pod was probed yet."
SUSPENDED = "Suspended: nothing is renewed or checked until spec.suspend is false."


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a condition says, before it is compared with what it said before."""

    status: Truth
    reason: Reason
    message: str


def _true(reason: Reason, message: str) -> Verdict:
    return Verdict(Truth.TRUE, reason, message)


def _false(finding: Finding) -> Verdict:
    return Verdict(Truth.FALSE, finding.reason, finding.message)


def _not_yet(message: str) -> Verdict:
    return Verdict(Truth.UNKNOWN, Reason.PENDING, message)


def conditions(context: Context, now: datetime) -> tuple[Condition, ...]:
    """All conditions of a resource whose spec could be read."""
    desired = context.desired
    chapters = {
        ConditionType.ISSUED: issued(context, now),
        ConditionType.STORED: stored(context),
        ConditionType.ROLLED_OUT: _beside(shared(context), rolled_out(context, now)),
        ConditionType.VERIFIED: verified(context, now),
        ConditionType.DOMAIN_HEALTHY: domain_healthy(context),
    }
    if desired.suspend:
        chapters = {kind: _as_it_was(kind, said, context.snapshot.status) for kind, said in chapters.items()}
    return _dated(chapters, context.snapshot.status, desired.generation, now, suspended=desired.suspend)


def _beside(warning: Finding | None, said: Verdict) -> Verdict:
    """Add a warning that changes nothing of what is said."""
    return replace(said, message=f"{said.message} {warning.message}") if warning else said


def _as_it_was(kind: ConditionType, said: Verdict, before: Status) -> Verdict:
    """Nobody looks at the pods of a suspended resource: what was last known of them stands."""
    old = before.condition(kind)
    if said.status is not Truth.UNKNOWN or old is None:
        return said
    return Verdict(old.status, old.reason, old.message)


def refusal(finding: Finding, before: Status, generation: int, now: datetime) -> tuple[Condition, ...]:
    """All conditions of a resource whose spec says nothing that could be done."""
    waiting = _not_yet("The spec cannot be used yet.")
    chapters = dict.fromkeys(ConditionType, waiting) | {ConditionType.ISSUED: _false(finding)}
    del chapters[ConditionType.READY]
    return _dated(chapters, before, generation, now)


def interruption(finding: Finding, before: Status, generation: int, now: datetime) -> tuple[Condition, ...]:
    """All conditions after a pass that was cut short: Ready says why, the others stay as they were."""
    ready, unknown = _false(finding), _not_yet("No pass has come to its end yet.")
    chapters = (kind for kind in ConditionType if kind is not ConditionType.READY)
    kept = (before.condition(kind) or _condition(kind, unknown, before, generation, now) for kind in chapters)
    return _in_order(*kept, _condition(ConditionType.READY, ready, before, generation, now))


def issued(context: Context, now: datetime) -> Verdict:
    """True while the stored pair is what the spec wants and can serve, even when its renewal is due or failing."""
    if (obstacle := _obstacle(context)) is not None:
        return _false(obstacle)
    due, trouble = issuance_is_due(context, now), _trouble(context, now)
    certificate = context.snapshot.secret.certificate
    is_wanted = due is None or due.reason in RENEWALS  # not a placeholder, nor what an earlier spec asked for
    if certificate is not None and is_wanted and usable(context, now):
        until = f"Certificate {certificate.serial_number} is valid until {format_minute(certificate.not_after)}."
        words = [until, _renewal_trouble(context, trouble) if due else _hold(context, now)]
        words += [held_by_its_age(context, now), _warnings(context)]
        return _true(Reason.ISSUED, " ".join(filter(None, words)))
    if (expired := stored_is_expired(context, now)) is not None:
        after = SUSPENDED if context.desired.suspend else _renewal_trouble(context, trouble)
        return _false(Finding(expired.reason, f"{expired.message} {after}"))
    if trouble is not None:
        return _false(trouble)
    if context.desired.suspend:
        return _false(Finding(Reason.SUSPENDED, f"{due.message if due else ''} {SUSPENDED}".strip()))
    return _false(Finding(Reason.ISSUING, f"{due.message if due else ''} {_at_work(context)}".strip()))


def _warnings(context: Context) -> str:
    return " ".join(warning.message for warning in warnings(context))


def _at_work(context: Context) -> str:
    if context.issuance.presenting_since is None:
        return f"A certificate is being issued.{_next_poll(context)}"
    return "Challenge responses are published, but not visible here yet; with selfCheck: false the CA is asked at once."


def _next_poll(context: Context) -> str:
    until = context.issuance.order.waits_until if context.issuance.order is not None else None
    return f" The CA asks to wait; next poll at {format_second(until)}." if until else ""


def _obstacle(context: Context) -> Finding | None:
    if context.snapshot.holder is not None and context.snapshot.holder != context.desired.key:
        return Finding(
            Reason.SECRET_CLAIMED,
            f"Secret {context.desired.secret_name} belongs to the older MailServerTLS {context.snapshot.holder.name}, "
            "as secretName or with -next or -previous behind it; give this one another secretName.",
        )
    return context.snapshot.secret.foreign


def _trouble(context: Context, now: datetime) -> Finding | None:
    """The failure of this pass, else the one that is remembered, for as long as it holds anything back."""
    issuance = context.issuance
    if issuance.failure is not None:
        return issuance.failure.finding
    if issuance.hidden_by is not None:
        return issuance.hidden_by
    attempts = context.snapshot.status.attempts
    if attempts is None or not attempts.failed:
        return None
    if attempts.reason is Reason.CERTIFICATE_DUE_AT_ONCE and not is_held_back(context, now):
        return None  # it was about the certificate before: the next one is on its way
    return Finding(attempts.reason, attempts.message)


def _hold(context: Context, now: datetime) -> str:
    hold = context.snapshot.secret.hold
    if hold is None or not renewal_is_held(context, now):
        return ""
    return (
        f"It was rolled back to, and is not renewed before {format_minute(hold.until)}, unless mailtls.dev/renew "
        "requests it."
    )


def _renewal_trouble(context: Context, trouble: Finding | None) -> str:
    if trouble is None:
        return f"Its replacement is on the way.{_next_poll(context)}"
    return f"Its replacement fails ({trouble.reason}): {trouble.message}"


def stored(context: Context) -> Verdict:
    """True when the Secret holds a certificate with its own key."""
    certificate = context.snapshot.secret.certificate
    if is_replaced(context):
        return _false(not_put_right(context, SUSPENDED))
    if certificate is None:
        return _not_yet("There is no certificate to store yet.")
    if certificate.spki_sha256 != context.snapshot.secret.key_spki_sha256:
        return _false(
            Finding(Reason.KEY_MISMATCH, f"Secret {context.desired.secret_name} holds a key of another certificate.")
        )
    return _true(Reason.STORED, f"Secret {context.desired.secret_name} holds leaf {certificate.sha256}.")


def rolled_out(context: Context, now: datetime) -> Verdict:
    """True when every pod was told about the stored certificate, or serves it without being told."""
    if not context.desired.workloads:
        return _true(Reason.NO_WORKLOADS, "No workloads are named, so nothing has to be told about the certificate.")
    certificate = context.snapshot.secret.certificate
    if certificate is None or context.snapshot.workloads is None or context.rollout.progress is None:
        return _not_yet(NO_CERTIFICATE if certificate is None else NOT_LOOKED)
    step = next_roll(context.snapshot.workloads, evidence(context), certificate.sha256, context.rollout.progress, now)
    if isinstance(step, RolledOut):
        return _true(Reason.ROLLED_OUT, "Every pod has the certificate.")
    trouble = step.finding if isinstance(step, WaitForPods | RolloutFailed) else None
    trouble = context.rollout.failure.finding if context.rollout.failure else trouble
    if not usable(context, now):
        return _false(_not_rolled(context, now))
    if trouble is None:
        return _false(Finding(Reason.ROLLING_OUT, on_its_way(step)))
    return _true(Reason.ROLLED_OUT, "Every pod was told.") if _was_out(context, trouble) else _false(trouble)


def _not_rolled(context: Context, now: datetime) -> Finding:
    """Why the stored certificate goes to no further pod."""
    expired = stored_is_expired(context, now)
    if expired is not None:
        return Finding(expired.reason, f"{expired.message} It is rolled out to no further pod.")
    return Finding(Reason.ISSUING, "The stored certificate is not the one wanted; it is rolled out to no further pod.")


def _was_out(context: Context, trouble: Finding) -> bool:
    """A pod that cannot be talked to does not undo a rollout that had ended: that is for Verified to say."""
    before = context.snapshot.status.condition(ConditionType.ROLLED_OUT)
    is_idle = context.rollout.progress is not None and not context.rollout.progress.acted_at
    was_true = before is not None and before.status is Truth.TRUE and before.reason is Reason.ROLLED_OUT
    return is_idle and was_true and trouble.reason in UNREACHABLE | PASSING


def verified(context: Context, now: datetime) -> Verdict:
    """True when every port of every pod was seen to serve the stored certificate as clients want it."""
    if not context.desired.workloads:
        return _true(Reason.NO_WORKLOADS, "No workloads are named, so nothing has to be proven.")
    if context.snapshot.workloads is None:
        return _not_yet(NO_CERTIFICATE if context.snapshot.secret.certificate is None else NOT_LOOKED)
    if not targets(context.snapshot.workloads, context.desired.server_name):
        return _not_yet("No pod is ready to be asked.")
    if targets_to_probe(context, now) or probe_routes(context):
        return Verdict(Truth.UNKNOWN, Reason.PROBING, "The pods are being asked.")
    return _proven(context, len(endpoints_wanted(context)))


def _proven(context: Context, total: int) -> Verdict:
    failing = [endpoint for endpoint in context.verification.endpoints if endpoint.failure]
    if failing:
        return _false(_worst(failing, total))
    if are_awaited(context):
        message = "The pods serve it; Services and the public name are asked once every pod has the certificate."
        return Verdict(Truth.UNKNOWN, Reason.PROBING, message)
    return _true(Reason.VERIFIED, " ".join((_good(context, total), *_remarks(context))))


def _good(context: Context, total: int) -> str:
    blocked = sum(endpoint.is_blocked for endpoint in context.verification.endpoints)
    return f"{total - blocked} of {total} endpoints serve the stored certificate."


def _remarks(context: Context) -> Iterator[str]:
    """What is worth a word though nothing fails: what could not be looked at, pods that differ, and trials."""
    verification = context.verification
    blocked = next((endpoint for endpoint in verification.endpoints if endpoint.is_blocked), None)
    if blocked is not None:
        yield f"{blocked.target.where}: {blocked.findings[0].reason}: {blocked.findings[0].message}"
    yield from (
        found.message for found in (*differences(verification.endpoints)[:1], *_trials(verification.endpoints)[:1])
    )


def _trials(endpoints: Iterable[Endpoint]) -> list[Finding]:
    """What must not be overlooked although the probe is content: clients do not trust what is served."""
    findings = (finding for endpoint in endpoints for finding in endpoint.findings)
    return [finding for finding in findings if finding.reason is Reason.STAGING_CERTIFICATE]


def domain_healthy(context: Context) -> Verdict:
    """True while nothing that the mail domains publish keeps mail from them; what is warned of is told beside."""
    if not context.desired.domains:
        words = "No mail domains are named in spec.domains, so nothing is looked up of what they publish."
        return Verdict(Truth.UNKNOWN, Reason.NO_DOMAINS, words)
    if not is_complete(context.desired, context.domains.reports):
        return _not_yet("The domains were not looked at yet.")
    failure = failing(context.domains.reports)
    return _false(failure) if failure else _true(Reason.DOMAINS_HEALTHY, healthy(context.domains.reports))


def _worst(failing: list[Endpoint], total: int) -> Finding:
    first = failing[0]
    if first.failure is None:
        raise AssertionError("only failing endpoints come here")
    others = f" ({len(failing)} of {total} endpoints fail)" if len(failing) > 1 else ""
    return Finding(first.failure.reason, f"{first.target.where}: {first.failure.message}{others}")


def served(context: Context) -> ServedCount | None:
    """How many endpoints serve the stored certificate, of how many; None while the workloads are not known."""
    if context.snapshot.workloads is None:
        return None
    every = endpoints_wanted(context)
    proven = (each for each in context.verification.endpoints if not each.failure and not each.is_blocked)
    right = sum(1 for endpoint in proven if endpoint.target in every)
    return ServedCount(right, len(every))


def endpoints_wanted(context: Context) -> frozenset[Target]:
    """All that must be proven: the pods' ports, and the ways to them once these are known."""
    return frozenset(
        (*targets(context.snapshot.workloads or (), context.desired.server_name), *(context.verification.routes or ()))
    )


def _ready(chapters: dict[ConditionType, Verdict], *, suspended: bool) -> Verdict:
    gating = (said for kind, said in chapters.items() if kind not in BESIDE)
    unmet = next((said for said in gating if said.status is not Truth.TRUE), None)
    if suspended:
        return Verdict(Truth.FALSE if unmet else Truth.TRUE, Reason.SUSPENDED, SUSPENDED)
    if unmet is not None:
        return Verdict(Truth.FALSE, unmet.reason, unmet.message)
    return _true(Reason.READY, "What is served is what should be.")


def _dated(
    chapters: dict[ConditionType, Verdict], before: Status, generation: int, now: datetime, *, suspended: bool = False
) -> tuple[Condition, ...]:
    verdicts = chapters | {ConditionType.READY: _ready(chapters, suspended=suspended)}
    return _in_order(*(_condition(kind, said, before, generation, now) for kind, said in verdicts.items()))


def _in_order(*found: Condition) -> tuple[Condition, ...]:
    order = list(ConditionType)
    return tuple(sorted(found, key=lambda each: order.index(each.type)))


def _condition(kind: ConditionType, said: Verdict, before: Status, generation: int, now: datetime) -> Condition:
    old = before.condition(kind)
    since = old.transitioned_at if old is not None and old.status is said.status else now
    return Condition(kind, said.status, said.reason, said.message, since, generation)
