"""Plan: the chapters in order; the first unmet one yields the next step."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from mailtls.api.spec import Desired
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
from mailtls.observed import Observed
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
Chapter = Callable[[Desired, Observed, datetime], Step | None]


def next_step(desired: Desired, seen: Observed, now: datetime) -> Step:
    """Return the one thing to do now; `Rest` when every chapter is met or has to wait."""
    for chapter in CHAPTERS:
        step = chapter(desired, seen, now)
        if step is not None:
            return step
    later = [at for at in _times_to_look_again(desired, seen, now) if at is not None and at > now]
    return Rest(min([*later, *_times_to_try_again(seen, now)], default=None))


def close_leftovers(desired: Desired, seen: Observed, now: datetime) -> Step | None:
    """Orders under an earlier secretName are closed first, also where the new Secret turns out to be another's."""
    is_due = seen.leftovers_due_at is not None and seen.leftovers_due_at <= now
    return CloseLeftovers() if is_due and not desired.suspend else None


def finish_what_is_over(desired: Desired, seen: Observed, now: datetime) -> Step | None:
    """An order that has served, failed for good, or is for something no longer wanted, is closed first."""
    staged, failure = seen.staged, seen.issue_failure
    if staged is None or not staged.is_open or seen.close_failure is not None:
        return None
    if failure is not None and not failure.is_final:
        return None
    failed = is_held_back(desired, seen, now)
    unfit = not fits(staged, desired) or spoils_a_kept_key(staged, desired, seen)
    unwanted = unfit or issuance_is_due(desired, seen, now) is None
    return CloseOrder() if failed or unwanted or is_consumed(staged, seen) else None


def stand_aside(desired: Desired, seen: Observed, now: datetime) -> Step | None:
    """A suspended resource, one whose Secret is another's, and one whose Secret must not be touched, do nothing."""
    if desired.suspend or (seen.holder is not None and seen.holder != desired.key):
        return Rest(None if desired.suspend else seen.leftovers_due_at)
    if seen.secret.foreign is None:
        return None
    if seen.secret.foreign.reason is not Reason.PENDING:
        return Rest(now + FOREIGN_RECHECK)
    # Whoever writes such a Secret, and keeps it from going, must not have us look every two seconds for ever.
    return Rest(now + min(max(NAMESAKE_RECHECK, (now - desired.created_at) / 8), FOREIGN_RECHECK))


def adopt(desired: Desired, seen: Observed, now: datetime) -> Step | None:
    """A Secret whose owner asks for it is taken over; where its certificate cannot serve, the next one takes it."""
    return AdoptSecret() if adoption_is_due(desired, seen, now) else None


def put_right(desired: Desired, seen: Observed, now: datetime) -> Step | None:
    """The Secret holds what was stored, with our labels, before anything else is done; and there is a copy of it."""
    if needs_putting_right(seen):
        until = is_fought_over(seen, now) if is_replaced(seen) else None
        return PutRight() if until is None or until <= now else Rest(until)
    return KeepCopy() if lacks_a_copy(desired, seen) else None


def roll_back(desired: Desired, seen: Observed, _now: datetime) -> Step | None:
    """A wish for the pair before is heeded before any other certificate is thought of."""
    return RollBack() if is_wished(desired, seen) else None


def look_at_references(desired: Desired, seen: Observed, now: datetime) -> Step | None:
    """What holds an attempt back may have been mended meanwhile, and no watch tells."""
    is_due = seen.look_again_at is None or seen.look_again_at <= now
    is_to_see = bool(references(desired)) or needs_new_account(desired, seen)
    return LookAtReferences() if is_due and is_mendable(desired, seen, now) and is_to_see else None


def look_at_roots(desired: Desired, seen: Observed, now: datetime) -> Step | None:
    """Why a chain is not trusted may be the roots to trust, which a person may have put right meanwhile."""
    is_due = seen.look_at_roots_at is None or seen.look_at_roots_at <= now
    return LookAtRoots() if is_due and roots_are_in_doubt(desired, seen) else None


def issue(desired: Desired, seen: Observed, now: datetime) -> Step | None:
    """From a due certificate to one that is downloaded; each effect is preceded by a saved intent."""
    due = issuance_is_due(desired, seen, now)
    if due is None or is_held_back(desired, seen, now) or _is_waiting(seen, now) or seen.close_failure is not None:
        return None
    staged = seen.staged
    if staged is None or not staged.is_open:
        return StageKey(due)
    if seen.chain is not None:
        return StoreCertificate()
    if seen.order is not None:
        return _advance(desired, seen, now) if staged.order_url else SaveOrder()
    return ResumeOrder(staged.order_url) if staged.order_url else OpenOrder()


def _advance(desired: Desired, seen: Observed, now: datetime) -> Step:
    if seen.order is None or seen.staged is None:
        raise AssertionError("an order is advanced only when there is one")
    names = seen.staged.names
    action = order.next_action(seen.order, seen.presented, challenge_type_of(desired.acme), now, names)
    return GiveUp(action) if isinstance(action, Fail) else AdvanceOrder(action)


def schedule(_desired: Desired, seen: Observed, now: datetime) -> Step | None:
    """Every stored certificate has a time of renewal, asked of the CA again when it said so."""
    certificate = seen.secret.certificate
    if certificate is None or (seen.secret.acme_server is None and not is_adopted(seen)):
        return None
    is_known = seen.schedule is not None and seen.schedule.sha256 == certificate.sha256
    if is_known and (seen.ask_ca_again_at is None or now < seen.ask_ca_again_at):
        return None
    return ScheduleRenewal()


def look(desired: Desired, seen: Observed, _now: datetime) -> Step | None:
    """The pods are looked at once in a pass, whatever is stored: an expired certificate is seen where it serves."""
    if not desired.workloads or seen.workloads is not None or not is_readable(seen):
        return None
    return LookAtWorkloads()


def probe(desired: Desired, seen: Observed, now: datetime) -> Step | None:
    """What the pods serve is asked of the pods, before and after they are told anything."""
    if known := targets_to_confirm(desired, seen, now):
        return ConfirmPods(known)
    targets = targets_to_probe(desired, seen, now)
    return ProbePods(targets, depth_to_probe(desired, seen, now)) if targets else None


def roll(desired: Desired, seen: Observed, now: datetime) -> Step | None:
    """One pod after the other; waiting and failing are not steps but what the report says."""
    if seen.roll_failure is not None:
        return None
    step = _roll_step(desired, seen, now)
    return Roll(step) if isinstance(step, ReloadPod | ReplacePod | RestartWorkload | RolloutFailed) else None


def look_around(desired: Desired, seen: Observed, now: datetime) -> Step | None:
    """By which ways clients come is looked up when every pod has the certificate, and each of them is asked."""
    return FindWays() if are_due(desired, seen, now) else ways_to_probe(desired, seen)


def look_at_domains(desired: Desired, seen: Observed, now: datetime) -> Step | None:
    """What the domains publish comes last, and waits while a certificate is on its way: lookups may take seconds."""
    is_ordering = seen.order is not None and seen.issue_failure is None
    if is_ordering or _pods_expected_at(desired, seen, now) is not None or not domains_are_due(desired, seen, now):
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


def _is_waiting(seen: Observed, now: datetime) -> bool:
    return seen.wait_until is not None and now < seen.wait_until


def _times_to_try_again(seen: Observed, now: datetime) -> Iterable[datetime]:
    """What failed in this pass; the time may have come while the rest of the pass was at work."""
    for failure in (seen.issue_failure, seen.close_failure, seen.roll_failure):
        if failure is not None and failure.retry_at is not None:
            yield max(failure.retry_at, now)
    if seen.workloads is not None:
        yield from (max(at, now) for at in retries_at(seen))


def _times_to_look_again(desired: Desired, seen: Observed, now: datetime) -> Iterable[datetime | None]:
    yield seen.leftovers_due_at
    yield seen.secret.certificate.not_after if seen.secret.certificate else None
    if issuance_is_due(desired, seen, now):
        yield seen.wait_until
        yield seen.status.attempts.next_attempt_at if seen.status.attempts else None
        yield seen.look_again_at if is_mendable(desired, seen, now) else None
    elif seen.secret.certificate is not None:
        yield renewal_due_at(seen.secret.certificate, seen, now)
        yield seen.ask_ca_again_at
    if seen.secret.hold is not None and renewal_is_held(desired, seen, now):
        yield seen.secret.hold.until
    if roots_are_in_doubt(desired, seen):
        yield seen.look_at_roots_at
    if desired.domains:
        yield next_look_at(desired, seen)
    if seen.workloads is not None:
        yield next_probe_at(desired, seen)
        yield next_deep_probe_at(desired, seen)
        yield _pods_expected_at(desired, seen, now)


def _roll_step(desired: Desired, seen: Observed, now: datetime) -> RollStep | None:
    """What the rollout does next; nothing is rolled out that no client would accept, such as an expired certificate."""
    if not usable(desired, seen, now):
        return None
    certificate = seen.secret.certificate
    if seen.workloads is None or certificate is None or seen.progress is None:
        return None
    return next_roll(seen.workloads, evidence(seen), certificate.sha256, seen.progress, now)


def _pods_expected_at(desired: Desired, seen: Observed, now: datetime) -> datetime | None:
    step = _roll_step(desired, seen, now)
    return step.until if isinstance(step, WaitForPods) and seen.roll_failure is None else None
