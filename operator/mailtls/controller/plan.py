"""Plan: the chapters in order; the first unmet one yields the next step."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from mailtls.context import Context
from mailtls.controller.step import (
    AdoptSecret,
    AdvanceOrder,
    CloseLeftovers,
    CloseOrder,
    ConfirmPods,
    FindWays,
    GiveUp,
    KeepCopy,
    LookAtDomains,
    LookAtReferences,
    LookAtRoots,
    LookAtWorkloads,
    OpenOrder,
    ProbePods,
    PutRight,
    Rest,
    ResumeOrder,
    Roll,
    RollBack,
    SaveOrder,
    ScheduleRenewal,
    StageKey,
    Step,
    StoreCertificate,
)
from mailtls.domains.policy import domains_are_due, next_look_at
from mailtls.issuance import order
from mailtls.issuance.adoption import adoption_is_due, is_adopted
from mailtls.issuance.guard import is_consumed, is_fought_over, is_replaced, lacks_a_copy, needs_putting_right
from mailtls.issuance.order import Fail
from mailtls.issuance.policy import (
    fits,
    is_held_back,
    is_readable,
    issuance_is_due,
    renewal_is_held,
    spoils_a_kept_key,
    usable,
)
from mailtls.issuance.references import is_mendable, needs_new_account, references, roots_are_in_doubt
from mailtls.issuance.schedule import renewal_due_at
from mailtls.issuance.solvers.policy import challenge_type_of
from mailtls.reasons.reason import Reason
from mailtls.rollout.policy import next_roll
from mailtls.rollout.rollback import is_wished
from mailtls.rollout.steps import ReloadPod, ReplacePod, RestartWorkload, RolloutFailed, RollStep, WaitForPods
from mailtls.verification.routes import are_due, ways_to_probe
from mailtls.verification.schedule import (
    depth_to_probe,
    evidence,
    next_deep_probe_at,
    next_probe_at,
    retries_at,
    targets_to_confirm,
    targets_to_probe,
)

FOREIGN_RECHECK = timedelta(seconds=30)  # no watch tells of a Secret that is not ours
NAMESAKE_RECHECK = timedelta(seconds=2)  # what an earlier resource left is removed soon, and if not, then much later
Chapter = Callable[[Context, datetime], Step | None]


def next_step(context: Context, now: datetime) -> Step:
    """Return the one thing to do now; `Rest` when every chapter is met or has to wait."""
    for chapter in CHAPTERS:
        step = chapter(context, now)
        if step is not None:
            return step
    later = [at for at in _times_to_look_again(context, now) if at is not None and at > now]
    return Rest(min([*later, *_times_to_try_again(context, now)], default=None))


def close_leftovers(context: Context, now: datetime) -> Step | None:
    """Orders under an earlier secretName are closed first, also where the new Secret turns out to be another's."""
    is_due = context.issuance.leftovers_due_at is not None and context.issuance.leftovers_due_at <= now
    return CloseLeftovers() if is_due and not context.desired.suspend else None


def finish_what_is_over(context: Context, now: datetime) -> Step | None:
    """An order that has served, failed for good, or is for something no longer wanted, is closed first."""
    staged, failure = context.snapshot.staged, context.issuance.failure
    if staged is None or not staged.is_open or context.issuance.close_failure is not None:
        return None
    if failure is not None and not failure.is_final:
        return None
    failed = is_held_back(context, now)
    unfit = not fits(staged, context.desired) or spoils_a_kept_key(staged, context)
    unwanted = unfit or issuance_is_due(context, now) is None
    return CloseOrder() if failed or unwanted or is_consumed(staged, context) else None


def stand_aside(context: Context, now: datetime) -> Step | None:
    """A suspended resource, one whose Secret is another's, and one whose Secret must not be touched, do nothing."""
    desired = context.desired
    if desired.suspend or (context.snapshot.holder is not None and context.snapshot.holder != desired.key):
        return Rest(None if desired.suspend else context.issuance.leftovers_due_at)
    if context.snapshot.secret.foreign is None:
        return None
    if context.snapshot.secret.foreign.reason is not Reason.PENDING:
        return Rest(now + FOREIGN_RECHECK)
    # Whoever writes such a Secret, and keeps it from going, must not have us look every two seconds for ever.
    return Rest(now + min(max(NAMESAKE_RECHECK, (now - desired.created_at) / 8), FOREIGN_RECHECK))


def adopt(context: Context, now: datetime) -> Step | None:
    """A Secret whose owner asks for it is taken over; where its certificate cannot serve, the next one takes it."""
    return AdoptSecret() if adoption_is_due(context, now) else None


def put_right(context: Context, now: datetime) -> Step | None:
    """The Secret holds what was stored, with our labels, before anything else is done; and there is a copy of it."""
    if needs_putting_right(context):
        until = is_fought_over(context, now) if is_replaced(context) else None
        return PutRight() if until is None or until <= now else Rest(until)
    return KeepCopy() if lacks_a_copy(context) else None


def roll_back(context: Context, _now: datetime) -> Step | None:
    """A wish for the pair before is heeded before any other certificate is thought of."""
    return RollBack() if is_wished(context) else None


def look_at_references(context: Context, now: datetime) -> Step | None:
    """What holds an attempt back may have been mended meanwhile, and no watch tells."""
    is_due = context.issuance.dependencies_due_at is None or context.issuance.dependencies_due_at <= now
    is_to_see = bool(references(context.desired)) or needs_new_account(context)
    return LookAtReferences() if is_due and is_mendable(context, now) and is_to_see else None


def look_at_roots(context: Context, now: datetime) -> Step | None:
    """Why a chain is not trusted may be the roots to trust, which a person may have put right meanwhile."""
    is_due = context.verification.roots_due_at is None or context.verification.roots_due_at <= now
    return LookAtRoots() if is_due and roots_are_in_doubt(context) else None


def issue(context: Context, now: datetime) -> Step | None:
    """From a due certificate to one that is downloaded; each effect is preceded by a saved intent."""
    issuance = context.issuance
    due = issuance_is_due(context, now)
    if due is None or is_held_back(context, now) or _is_waiting(context, now) or issuance.close_failure is not None:
        return None
    staged = context.snapshot.staged
    if staged is None or not staged.is_open:
        return StageKey(due)
    if issuance.chain is not None:
        return StoreCertificate()
    if issuance.order is not None:
        return _advance(context, now) if staged.order_url else SaveOrder()
    return ResumeOrder(staged.order_url) if staged.order_url else OpenOrder()


def _advance(context: Context, now: datetime) -> Step:
    issuance = context.issuance
    if issuance.order is None or context.snapshot.staged is None:
        raise AssertionError("an order is advanced only when there is one")
    names = context.snapshot.staged.names
    action = order.next_action(issuance.order, issuance.presented, challenge_type_of(context.desired.acme), now, names)
    return GiveUp(action) if isinstance(action, Fail) else AdvanceOrder(action)


def schedule(context: Context, now: datetime) -> Step | None:
    """Every stored certificate has a time of renewal, asked of the CA again when it said so."""
    issuance = context.issuance
    certificate = context.snapshot.secret.certificate
    if certificate is None or (context.snapshot.secret.acme_server is None and not is_adopted(context)):
        return None
    is_known = issuance.schedule is not None and issuance.schedule.sha256 == certificate.sha256
    if is_known and (issuance.renewal_info_due_at is None or now < issuance.renewal_info_due_at):
        return None
    return ScheduleRenewal()


def look(context: Context, _now: datetime) -> Step | None:
    """The pods are looked at once in a pass, whatever is stored: an expired certificate is seen where it serves."""
    if not context.desired.workloads or context.snapshot.workloads is not None or not is_readable(context):
        return None
    return LookAtWorkloads()


def probe(context: Context, now: datetime) -> Step | None:
    """What the pods serve is asked of the pods, before and after they are told anything."""
    if known := targets_to_confirm(context, now):
        return ConfirmPods(known)
    targets = targets_to_probe(context, now)
    return ProbePods(targets, depth_to_probe(context, now)) if targets else None


def roll(context: Context, now: datetime) -> Step | None:
    """One pod after the other; waiting and failing are not steps but what the report says."""
    if context.rollout.failure is not None:
        return None
    step = _roll_step(context, now)
    return Roll(step) if isinstance(step, ReloadPod | ReplacePod | RestartWorkload | RolloutFailed) else None


def look_around(context: Context, now: datetime) -> Step | None:
    """By which ways clients come is looked up when every pod has the certificate, and each of them is asked."""
    return FindWays() if are_due(context, now) else ways_to_probe(context)


def look_at_domains(context: Context, now: datetime) -> Step | None:
    """What the domains publish comes last, and waits while a certificate is on its way: lookups may take seconds."""
    is_ordering = context.issuance.order is not None and context.issuance.failure is None
    if is_ordering or _pods_expected_at(context, now) is not None or not domains_are_due(context, now):
        return None
    return LookAtDomains()


CHAPTERS: tuple[Chapter, ...] = (
    close_leftovers,
    stand_aside,
    adopt,
    put_right,
    roll_back,
    finish_what_is_over,
    look_at_references,
    issue,
    schedule,
    look_at_roots,
    look,
    probe,
    roll,
    look_around,
    look_at_domains,
)


def _is_waiting(context: Context, now: datetime) -> bool:
    return context.issuance.wait_until is not None and now < context.issuance.wait_until


def _times_to_try_again(context: Context, now: datetime) -> Iterable[datetime]:
    """What failed in this pass; the time may have come while the rest of the pass was at work."""
    for failure in (context.issuance.failure, context.issuance.close_failure, context.rollout.failure):
        if failure is not None and failure.retry_at is not None:
            yield max(failure.retry_at, now)
    if context.snapshot.workloads is not None:
        yield from (max(at, now) for at in retries_at(context))


def _times_to_look_again(context: Context, now: datetime) -> Iterable[datetime | None]:
    secret, issuance = context.snapshot.secret, context.issuance
    yield issuance.leftovers_due_at
    yield secret.certificate.not_after if secret.certificate else None
    if issuance_is_due(context, now):
        yield issuance.wait_until
        yield context.snapshot.status.attempts.next_attempt_at if context.snapshot.status.attempts else None
        yield issuance.dependencies_due_at if is_mendable(context, now) else None
    elif secret.certificate is not None:
        yield renewal_due_at(secret.certificate, context, now)
        yield issuance.renewal_info_due_at
    if secret.hold is not None and renewal_is_held(context, now):
        yield secret.hold.until
    if roots_are_in_doubt(context):
        yield context.verification.roots_due_at
    if context.desired.domains:
        yield next_look_at(context)
    if context.snapshot.workloads is not None:
        yield next_probe_at(context)
        yield next_deep_probe_at(context)
        yield _pods_expected_at(context, now)


def _roll_step(context: Context, now: datetime) -> RollStep | None:
    """What the rollout does next; nothing is rolled out that no client would accept, such as an expired certificate."""
    if not usable(context, now):
        return None
    certificate = context.snapshot.secret.certificate
    if context.snapshot.workloads is None or certificate is None or context.rollout.progress is None:
        return None
    return next_roll(context.snapshot.workloads, evidence(context), certificate.sha256, context.rollout.progress, now)


def _pods_expected_at(context: Context, now: datetime) -> datetime | None:
    step = _roll_step(context, now)
    return step.until if isinstance(step, WaitForPods) and context.rollout.failure is None else None
