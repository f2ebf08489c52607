"""Guard: whether the Secret still holds what was stored, and what is done where it does not.

What was stored is known from two places that whoever writes into the Secret does not write at the same time: its
fingerprint in the resource's status, and our own copy beside the staged key. Both follow a pair that was ordered: the
copy with the write that closes its order, the status at the end. Until then the pair's own seal says that it was stored
for the order that is open. A copy of what is adopted or rolled back to is saved before; between two writes any of these
may be the one that is right.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from mailtls.api.spec import Desired, Place
from mailtls.api.status import HistoryEntry, Stored
from mailtls.context import Context
from mailtls.external.decide import accepted
from mailtls.kube.snapshot import ServingSecret, Staged
from mailtls.net.backoff import NAMESAKE
from mailtls.reasons.reason import Finding, Reason
from mailtls.rollout.rollback import rollback_is_requested
from mailtls.step import Rest, Step, objects_in

MOST_RESTORES = 5  # within `SPAN`: a tool that writes the Secret again and again is waited for, and named
SPAN = timedelta(minutes=10)
FOREIGN_RECHECK: Final = timedelta(seconds=30)  # no watch reports a Secret that is not ours


@dataclass(frozen=True, slots=True)
class RestoreSecret(Step):
    """Write what was stored, and our labels, into a Secret that somebody changed."""

    def places(self, desired: Desired) -> Iterable[Place]:
        """The namespace that the Secret is written to."""
        return (objects_in(desired.key.namespace),)


@dataclass(frozen=True, slots=True)
class SaveCopy(Step):
    """Save our own copy of the pair that serves, where there is none."""

    def places(self, desired: Desired) -> Iterable[Place]:
        """The namespace that the copy is written to."""
        return (objects_in(desired.key.namespace),)


def stand_aside(context: Context, now: datetime) -> Rest | None:
    """A suspended resource, one whose Secret is another's, and one whose Secret must not be touched, do nothing."""
    desired, foreign = context.desired, context.snapshot.secret.foreign
    if desired.suspend or context.snapshot.holder not in {None, desired.key}:
        return Rest(None if desired.suspend else context.issuance.leftovers_due_at)
    if foreign is None:
        return None
    if foreign.reason is not Reason.PENDING:
        return Rest(now + FOREIGN_RECHECK)
    # Whoever writes such a Secret, and keeps it from going, must not have us look every two seconds for ever.
    return Rest(now + NAMESAKE.after_failing_for(now - desired.created_at))


def restore_secret(context: Context, now: datetime) -> RestoreSecret | Rest | None:
    """The Secret holds what was stored, with our labels, before anything else is done."""
    if not needs_restoring(context):
        return None
    until = left_alone_until(context, now) if is_replaced(context) else None
    return RestoreSecret() if until is None or until <= now else Rest(until)


def save_copy(context: Context, _now: datetime) -> SaveCopy | None:
    """There is a copy of what serves."""
    return SaveCopy() if lacks_a_copy(context) else None


def is_replaced(context: Context) -> bool:
    """Whether somebody else wrote another pair into our Secret; nothing is known of one that we never stored in."""
    secret = context.snapshot.secret
    if not secret.exists or not secret.is_ours or secret.foreign is not None:
        return False
    known = _known(context)
    return bool(known) and (not _is_whole(secret) or _leaf(secret) not in known or _has_another_chain(context))


def _known(context: Context) -> set[str]:
    stored, copy, secret = context.snapshot.status.stored, context.snapshot.copy, context.snapshot.secret
    in_status = {stored.sha256} if stored is not None and stored.name == secret.name else set()
    in_copy = {_leaf(copy)} if copy is not None else set()
    of_order = {_leaf(secret)} if secret.is_of_the_order and _has_open_order(context) else set()
    return in_status | in_copy | of_order


def _has_open_order(context: Context) -> bool:
    staged = context.snapshot.staged
    return staged is not None and staged.is_open


def is_consumed(staged: Staged, context: Context) -> bool:
    """Whether the order that the key was staged for has reached the Secret; a kept key alone does not show it."""
    certificate = context.snapshot.secret.certificate
    if certificate is None or certificate.sha256 == staged.replaces_sha256:
        return False
    return certificate.spki_sha256 == staged.spki_sha256


def _is_of_the_copy(context: Context) -> bool:
    return (
        context.snapshot.copy is not None
        and _is_whole(context.snapshot.secret)
        and _leaf(context.snapshot.copy) == _leaf(context.snapshot.secret)
    )


def _has_another_chain(context: Context) -> bool:
    """Whether it is the leaf that was stored, with other certificates behind it, or fewer."""
    if not _is_of_the_copy(context):
        return False
    mine, found = (pair.certificate for pair in (context.snapshot.copy, context.snapshot.secret) if pair is not None)
    return mine is not None and found is not None and mine.chain_pem.split() != found.chain_pem.split()


def _has_another_origin(context: Context) -> bool:
    """Whether the annotations say something else of where the pair came from, which would have it ordered anew.

    Server-side apply cannot take away what somebody else added, so only what is missing or changed counts.
    """
    secret, copy = context.snapshot.secret, context.snapshot.copy
    if copy is None or not _is_of_the_copy(context):
        return False
    both = ((copy.acme_server, secret.acme_server), (copy.profile, secret.profile), (copy.adopted, secret.adopted))
    is_another = any(mine is not None and mine != found for mine, found in both)
    return is_another or _forgets_a_request(secret, copy) or (_says_what_failed(copy) and secret.hold != copy.hold)


def _says_what_failed(copy: ServingSecret) -> bool:
    """Whether the pair took the place of one that failed in a pod, so that orders come ever more seldom."""
    return copy.hold is not None and copy.hold.refused is not None


def _forgets_a_request(secret: ServingSecret, copy: ServingSecret) -> bool:
    """Whether a request that was handled would be taken for a new one, and a certificate ordered for it."""
    both = ((copy.handled_renew, secret.handled_renew), (copy.handled_rollback, secret.handled_rollback))
    return any(mine is not None and found is None for mine, found in both)


def needs_restoring(context: Context) -> bool:
    """Whether what was stored can be put back, or only labels and annotations that somebody changed."""
    if is_replaced(context):
        return context.snapshot.copy is not None and _is_whole(context.snapshot.copy)
    secret = context.snapshot.secret
    if not secret.exists or not secret.is_ours or secret.foreign is not None or not _is_whole(secret):
        return False
    return secret.lacks_labels or _has_another_origin(context)


def left_alone_until(context: Context, now: datetime) -> datetime | None:
    """Until when the Secret is left as it is, because it was put right again and again; None: it is put right now."""
    recent = [
        each.at
        for each in context.snapshot.status.history
        if each.event is Reason.SECRET_REPLACED and now - each.at < SPAN
    ]
    return min(recent) + SPAN if len(recent) >= MOST_RESTORES else None


def lacks_a_copy(context: Context) -> bool:
    """Whether a copy of what serves is saved by a write of its own.

    The one of a pair that was just ordered is saved as its order is closed, unless that fails. Otherwise the two differ
    only while an order, or a rollback, is being stored.
    """
    staged = context.snapshot.staged
    if staged is not None and staged.is_open and is_consumed(staged, context):
        return context.issuance.close_failure is not None and pair_to_copy(context) is not None
    is_between = context.snapshot.copy is not None and (_has_open_order(context) or rollback_is_requested(context))
    return pair_to_copy(context) is not None and not is_between


def pair_to_copy(context: Context) -> ServingSecret | None:
    """What serves, where it is as it should be and our copy is not of it."""
    secret, copy = context.snapshot.secret, context.snapshot.copy
    if not secret.exists or not secret.is_ours or not _is_whole(secret) or is_replaced(context):
        return None
    if secret.is_placeholder:
        return None
    return secret if copy is None or _leaf(copy) != _leaf(secret) else None


def replacement(context: Context) -> Finding:
    """Say what is in the Secret, and who wrote it."""
    secret = context.snapshot.secret
    found = secret.certificate
    if found is None or not _is_whole(secret):
        what = "no certificate with its own key"
    elif _has_another_chain(context):
        what = f"certificate {found.serial_number} with another chain"
    else:
        what = f"certificate {found.serial_number} of {found.issuer or 'an issuer without a name'}"
    writer = f"written by field manager {secret.writer}" if secret.writer else "written by somebody else"
    message = f"Secret {context.desired.secret_name} holds {what}, {writer}, and not what was stored."
    return Finding(Reason.SECRET_REPLACED, message)


def not_restored(context: Context, suspended: str) -> Finding:
    """Say what is in the Secret, and why it is not put right in this reconcile."""
    found = replacement(context)
    if context.desired.suspend:
        return Finding(found.reason, f"{found.message} {suspended}")
    if not needs_restoring(context):
        return Finding(found.reason, f"{found.message} No copy of it is left, so a new certificate is ordered.")
    again = "It was put back several times and is now left as it is for a while: stop the tool that writes it."
    return Finding(found.reason, f"{found.message} {again}")


def restored(context: Context) -> ServingSecret:
    """What is written: the copy, or the pair that is there where only labels are missing. Requests stay handled."""
    secret, copy = context.snapshot.secret, context.snapshot.copy
    if copy is None or not (is_replaced(context) or _is_of_the_copy(context)):
        return secret
    return replace(
        copy,
        handled_renew=secret.handled_renew or copy.handled_renew,
        handled_rollback=secret.handled_rollback or copy.handled_rollback,
        hold=copy.hold if is_replaced(context) or _says_what_failed(copy) else secret.hold,
    )


def noted(context: Context, now: datetime) -> Context:
    """Report, before it is put right, what was found and what is done."""
    copy = context.snapshot.copy
    if copy is None or copy.certificate is None:
        raise AssertionError("only a copy is put back")
    message = (
        f"{replacement(context).message} Certificate {copy.certificate.serial_number} was put back. To go back "
        "to the previous one, annotate the resource with mailtls.dev/rollback; to put one in by hand, set the Secret's "
        "annotation mailtls.dev/adopt to its SHA-256 fingerprint with the same edit."
    )
    entry = HistoryEntry(now, Reason.SECRET_REPLACED, message, copy.certificate.serial_number)
    return context.with_history(entry).with_issuance(refused=entry)


def to_remember(context: Context) -> Stored | None:
    """What the status keeps: what is in the Secret while that is ours and as it should be, else what it kept before.

    Of a Secret that somebody else writes: what has passed the gate last.
    """
    secret = context.snapshot.secret
    if context.desired.is_external:
        return accepted(context)
    is_good = secret.exists and secret.is_ours and not secret.foreign and _is_whole(secret)
    if not is_good or secret.is_placeholder or is_replaced(context):
        return context.snapshot.status.stored
    return Stored(secret.name, secret.uid, _leaf(secret))


def _is_whole(pair: ServingSecret) -> bool:
    certificate = pair.certificate
    return certificate is not None and certificate.spki_sha256 == pair.key_spki_sha256


def _leaf(pair: ServingSecret) -> str:
    return pair.certificate.sha256 if pair.certificate else ""
