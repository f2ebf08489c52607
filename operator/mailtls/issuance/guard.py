"""Guard: whether the Secret still holds what was stored, and what is done where it does not.

What was stored is known from two places that whoever writes into the Secret does not write at the same time: its
fingerprint in the resource's status, and our own copy beside the staged key. Both follow a pair that was ordered: the
copy with the write that closes its order, the status at the end. Until then the pair's own seal says that it was stored
for the order that is open. A copy of what is adopted or rolled back to is saved before; between two writes any of these
may be the one that is right.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from mailtls.api.spec import Desired
from mailtls.api.status import HistoryEntry, Stored
from mailtls.observed import Observed, ServingSecret, Staged
from mailtls.reasons.reason import Finding, Reason
from mailtls.rollout.rollback import is_wished

MOST_RESTORES = 5  # within `SPAN`: a tool that writes the Secret again and again is waited for, and named
SPAN = timedelta(minutes=10)


def is_replaced(seen: Observed) -> bool:
    """Whether somebody else wrote another pair into our Secret; nothing is known of one that we never stored in."""
    secret = seen.secret
    if not secret.exists or not secret.is_ours or secret.foreign is not None:
        return False
    known = _known(seen)
    return bool(known) and (not _is_whole(secret) or _leaf(secret) not in known or _has_another_chain(seen))


def _known(seen: Observed) -> set[str]:
    stored = seen.status.stored
    in_status = {stored.sha256} if stored is not None and stored.name == seen.secret.name else set()
    in_copy = {_leaf(seen.copy)} if seen.copy is not None else set()
    of_order = {_leaf(seen.secret)} if seen.secret.is_of_the_order and _has_open_order(seen) else set()
    return in_status | in_copy | of_order


def _has_open_order(seen: Observed) -> bool:
    return seen.staged is not None and seen.staged.is_open


def is_consumed(staged: Staged, seen: Observed) -> bool:
    """Whether the order that the key was staged for has reached the Secret; a kept key alone does not tell."""
    certificate = seen.secret.certificate
    if certificate is None or certificate.sha256 == staged.replaces_sha256:
        return False
    return certificate.spki_sha256 == staged.spki_sha256


def _is_of_the_copy(seen: Observed) -> bool:
    return seen.copy is not None and _is_whole(seen.secret) and _leaf(seen.copy) == _leaf(seen.secret)


def _has_another_chain(seen: Observed) -> bool:
    """Whether it is the leaf that was stored, with other certificates behind it, or fewer."""
    if not _is_of_the_copy(seen):
        return False
    mine, found = (pair.certificate for pair in (seen.copy, seen.secret) if pair is not None)
    return mine is not None and found is not None and mine.chain_pem.split() != found.chain_pem.split()


def _has_another_origin(seen: Observed) -> bool:
    """Whether the annotations say something else of where the pair came from, which would have it ordered anew.

    Server-side apply cannot take away what somebody else added, so only what is missing or changed counts.
    """
    secret, copy = seen.secret, seen.copy
    if copy is None or not _is_of_the_copy(seen):
        return False
    both = ((copy.acme_server, secret.acme_server), (copy.profile, secret.profile), (copy.adopted, secret.adopted))
    is_another = any(mine is not None and mine != found for mine, found in both)
    return is_another or _forgets_a_request(secret, copy)


def _forgets_a_request(secret: ServingSecret, copy: ServingSecret) -> bool:
    """Whether a request that was handled would be taken for a new one, and a certificate ordered for it."""
    both = ((copy.handled_renew, secret.handled_renew), (copy.handled_rollback, secret.handled_rollback))
    return any(mine is not None and found is None for mine, found in both)


def needs_putting_right(seen: Observed) -> bool:
    """Whether what was stored can be put back, or only labels and annotations that somebody changed."""
    if is_replaced(seen):
        return seen.copy is not None and _is_whole(seen.copy)
    secret = seen.secret
    if not secret.exists or not secret.is_ours or secret.foreign is not None or not _is_whole(secret):
        return False
    return secret.lacks_labels or _has_another_origin(seen)


def is_fought_over(seen: Observed, now: datetime) -> datetime | None:
    """Until when the Secret is left as it is, because it was put right again and again; None: it is put right now."""
    recent = [each.at for each in seen.status.history if each.event is Reason.SECRET_REPLACED and now - each.at < SPAN]
    return min(recent) + SPAN if len(recent) >= MOST_RESTORES else None


def lacks_a_copy(desired: Desired, seen: Observed) -> bool:
    """Whether a copy of what serves is saved by a write of its own.

    The one of a pair that was just ordered is saved as its order is closed, unless that fails. Otherwise the two differ
    only while an order, or a rollback, is being stored.
    """
    if seen.staged is not None and seen.staged.is_open and is_consumed(seen.staged, seen):
        return seen.close_failure is not None and pair_to_copy(seen) is not None
    is_between = seen.copy is not None and (_has_open_order(seen) or is_wished(desired, seen))
    return pair_to_copy(seen) is not None and not is_between


def pair_to_copy(seen: Observed) -> ServingSecret | None:
    """What serves, where it is as it should be and our copy is not of it."""
    secret = seen.secret
    if not secret.exists or not secret.is_ours or not _is_whole(secret) or is_replaced(seen):
        return None
    return secret if seen.copy is None or _leaf(seen.copy) != _leaf(secret) else None


def replacement(desired: Desired, seen: Observed) -> Finding:
    """Say what is in the Secret, and who wrote it."""
    secret = seen.secret
    found = secret.certificate
    if found is None or not _is_whole(secret):
        what = "no certificate with its own key"
    elif _has_another_chain(seen):
        what = f"certificate {found.serial_number} with another chain"
    else:
        what = f"certificate {found.serial_number} of {found.issuer or 'an issuer without a name'}"
    writer = f"written by field manager {secret.writer}" if secret.writer else "written by somebody else"
    message = f"Secret {desired.secret_name} holds {what}, {writer}, and not what was stored."
    return Finding(Reason.SECRET_REPLACED, message)


def not_put_right(desired: Desired, seen: Observed, suspended: str) -> Finding:
    """Say what is in the Secret, and why it is not put right in this pass."""
    found = replacement(desired, seen)
    if desired.suspend:
        return Finding(found.reason, f"{found.message} {suspended}")
    if not needs_putting_right(seen):
        return Finding(found.reason, f"{found.message} No copy of it is left, so a new certificate is ordered.")
    again = "It was put back several times and is now left as it is for a while: stop the tool that writes it."
    return Finding(found.reason, f"{found.message} {again}")


def restored(seen: Observed) -> ServingSecret:
    """What is written: the copy, or the pair that is there where only labels are missing. Requests stay handled."""
    secret, copy = seen.secret, seen.copy
    if copy is None or not (is_replaced(seen) or _is_of_the_copy(seen)):
        return secret
    return replace(
        copy,
        handled_renew=secret.handled_renew or copy.handled_renew,
        handled_rollback=secret.handled_rollback or copy.handled_rollback,
        hold=copy.hold if is_replaced(seen) else secret.hold,
    )


def noted(desired: Desired, seen: Observed, now: datetime) -> Observed:
    """Tell, before it is put right, what was found and what is done."""
    copy = seen.copy
    if copy is None or copy.certificate is None:
        raise AssertionError("only a copy is put back")
    message = (
        f"{replacement(desired, seen).message} Certificate {copy.certificate.serial_number} was put back. To go back "
        "to the previous one, annotate the resource with mailtls.dev/rollback; to put one in by hand, set the Secret's "
        "annotation mailtls.dev/adopt to its SHA-256 fingerprint with the same edit."
    )
    entry = HistoryEntry(now, Reason.SECRET_REPLACED, message, copy.certificate.serial_number)
    status = replace(seen.status, history=(*seen.status.history, entry))
    return replace(seen, status=status, refused=entry)


def to_remember(seen: Observed) -> Stored | None:
    """What the status keeps: what is in the Secret while that is ours and as it should be, else what it kept before."""
    secret = seen.secret
    if not secret.exists or not secret.is_ours or secret.foreign or not _is_whole(secret) or is_replaced(seen):
        return seen.status.stored
    return Stored(secret.name, secret.uid, _leaf(secret))


def _is_whole(pair: ServingSecret) -> bool:
    certificate = pair.certificate
    return certificate is not None and certificate.spki_sha256 == pair.key_spki_sha256


def _leaf(pair: ServingSecret) -> str:
    return pair.certificate.sha256 if pair.certificate else ""
