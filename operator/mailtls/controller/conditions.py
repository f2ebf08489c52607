"""All conditions of a resource, from what each room says, and from what they said before."""

from dataclasses import replace
from datetime import datetime
from typing import Final

from mailtls.api.status import OUTLOOK, SUSPENDED, Condition, ConditionType, Status, Truth, Verdict
from mailtls.context import Context
from mailtls.domains.policy import domain_healthy
from mailtls.issuance.conditions import issued, stored
from mailtls.reasons.pages import with_link
from mailtls.reasons.reason import Finding, Reason
from mailtls.reasons.recovery import Recovery
from mailtls.rollout.conditions import rolled_out
from mailtls.rollout.going_back import PROVEN, is_the_servers_fault
from mailtls.rollout.permission import ON_PURPOSE
from mailtls.rollout.policy import shared
from mailtls.verification.conditions import verified

BESIDE: Final = frozenset({ConditionType.DOMAIN_HEALTHY})  # is about the DNS, and holds nothing up


def conditions(context: Context, now: datetime) -> tuple[Condition, ...]:
    """All conditions of a resource whose spec could be read; one that is about domains only where domains are named."""
    desired = context.desired
    verdicts = {
        ConditionType.ISSUED: issued(context, now),
        ConditionType.STORED: stored(context),
        ConditionType.ROLLED_OUT: _beside(shared(context), rolled_out(context, now)),
        ConditionType.VERIFIED: verified(context, now),
    }
    if (healthy := domain_healthy(context)) is not None:
        verdicts[ConditionType.DOMAIN_HEALTHY] = healthy
    if desired.suspend:
        verdicts = {kind: _as_it_was(kind, said, context.snapshot.status) for kind, said in verdicts.items()}
    ready = _with_cause(_ready(verdicts, suspended=desired.suspend), verdicts, context)
    return _dated(verdicts, ready, context.snapshot.status, desired.generation, now)


def _beside(warning: Finding | None, said: Verdict) -> Verdict:
    """Add a warning that changes nothing of what is said."""
    if warning is None:
        return said
    return replace(said, message=f"{said.message} {warning.message}", warnings=(*said.warnings, warning))


def _as_it_was(kind: ConditionType, said: Verdict, before: Status) -> Verdict:
    """Nobody looks at the pods of a suspended resource: what was last known of them stands."""
    old = before.condition(kind)
    if said.status is not Truth.UNKNOWN or old is None:
        return said
    return Verdict(old.status, old.reason, old.message)


def refusal(finding: Finding, before: Status, generation: int, now: datetime) -> tuple[Condition, ...]:
    """All conditions of a resource whose spec says nothing that could be done."""
    waiting = Verdict.pending("The spec cannot be used yet.")
    verdicts = dict.fromkeys(_kinds(before), waiting) | {ConditionType.ISSUED: Verdict.false(finding)}
    return _dated(verdicts, _ready(verdicts), before, generation, now)


def interruption(finding: Finding, before: Status, generation: int, now: datetime) -> tuple[Condition, ...]:
    """All conditions after a reconcile that was cut short: Ready says why, the others stay as they were."""
    ready, unknown = Verdict.false(finding), Verdict.pending("No reconcile has come to its end yet.")
    kept = (before.condition(kind) or _condition(kind, unknown, before, generation, now) for kind in _kinds(before))
    summary = _with_outlook(ready)
    return _in_order(*kept, *(_condition(kind, said, before, generation, now) for kind, said in summary.items()))


def linked(found: tuple[Condition, ...], docs_url: str | None) -> tuple[Condition, ...]:
    """Add to Ready, while it is False, where its reason is explained; `docs_url` has `{page}` in it, None: no link."""
    if docs_url is None:
        return found
    return tuple(
        replace(each, message=with_link(each.message, each.reason, docs_url))
        if each.type is ConditionType.READY and each.status is Truth.FALSE
        else each
        for each in found
    )


def _kinds(before: Status) -> list[ConditionType]:
    """All conditions that Ready sums up, and of the others those that were there before."""
    others = (kind for kind in ConditionType if kind is not ConditionType.READY and kind not in OUTLOOK)
    return [kind for kind in others if kind not in BESIDE or before.condition(kind)]


def _ready(verdicts: dict[ConditionType, Verdict], *, suspended: bool = False) -> Verdict:
    gating = [said for kind, said in verdicts.items() if kind not in BESIDE and said.status is not Truth.TRUE]
    waiting = next((said for said in gating if said.reason in ON_PURPOSE), None)
    unmet = next((said for said in gating if said is not waiting), None)
    if suspended:
        return Verdict(Truth.FALSE if unmet else Truth.TRUE, Reason.SUSPENDED, SUSPENDED)
    if unmet is not None:
        is_stalled = any(said.needs_person for said in gating[: gating.index(unmet) + 1])
        recovery = Recovery.MANUAL if is_stalled else Recovery.AUTOMATIC
        return Verdict(Truth.FALSE, unmet.reason, unmet.message, recovery=recovery)
    if waiting is not None:
        return Verdict.true(waiting.reason, f"What is served is good. {waiting.message}")
    return Verdict.true(Reason.READY, "What is served is what should be.")


def _with_cause(ready: Verdict, verdicts: dict[ConditionType, Verdict], context: Context) -> Verdict:
    """Say what is found at a server that was changed after it had served well, and not that a reload did not help."""
    found = verdicts[ConditionType.VERIFIED]
    if ready.reason is not Reason.CANARY_FAILED or found.status is not Truth.FALSE or not is_the_servers_fault(context):
        return ready
    return replace(ready, reason=found.reason, message=f"{found.message} {PROVEN}")


def _with_outlook(ready: Verdict) -> dict[ConditionType, Verdict]:
    """Add to Ready whether time or a person makes it True, in the words of kstatus; nothing while it is."""
    if ready.status is Truth.TRUE:
        return {ConditionType.READY: ready}
    outlook = ConditionType.STALLED if ready.needs_person else ConditionType.RECONCILING
    return {ConditionType.READY: ready, outlook: Verdict(Truth.TRUE, ready.reason, ready.message)}


def _dated(
    verdicts: dict[ConditionType, Verdict], ready: Verdict, before: Status, generation: int, now: datetime
) -> tuple[Condition, ...]:
    every = verdicts | _with_outlook(ready)
    return _in_order(*(_condition(kind, said, before, generation, now) for kind, said in every.items()))


def _in_order(*found: Condition) -> tuple[Condition, ...]:
    order = list(ConditionType)
    return tuple(sorted(found, key=lambda each: order.index(each.type)))


def _condition(kind: ConditionType, said: Verdict, before: Status, generation: int, now: datetime) -> Condition:
    old = before.condition(kind)
    since = old.transitioned_at if old is not None and old.status is said.status else now
    return Condition(kind, said.status, said.reason, said.message, since, generation, said.warnings)
