"""Going back: a certificate that fails in a pod is rolled back by itself, to the one that every pod had proven before.

The pair before becomes the wanted one with the write that says which was refused and why. It is rolled out like any
other, so that pods which never got the refused one need nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from mailtls.api.spec import Desired, OnFailure, Place
from mailtls.api.status import ConditionType, HistoryEntry, Stored
from mailtls.context import Context
from mailtls.kube.pairs import MOST_WORDS
from mailtls.kube.snapshot import Hold, Refused, ServingSecret
from mailtls.kube.workload import PodState
from mailtls.net.backoff import REFUSED_CERTIFICATE
from mailtls.probe.target import Route
from mailtls.reasons.quoting import printable, shorten
from mailtls.reasons.reason import Finding, Reason
from mailtls.rollout.policy import next_roll, refusal_in
from mailtls.rollout.steps import RolloutFailed
from mailtls.rollout.view import View
from mailtls.rollout.waves import failure_in
from mailtls.step import Step, objects_in
from mailtls.times import format_minute
from mailtls.verification.evidence import PASSING, UNREACHABLE, Flaw, evidence
from mailtls.verification.schedule import has_rolled_out, targets_to_probe

SHORTEST_HOLD: Final = timedelta(hours=1)
BY_HAND: Final = (
    "To go back to the previous certificate: kubectl mailtls rollback NAME, or kubectl annotate mst NAME "
    'mailtls.dev/rollback="$(date +%s)" --overwrite.'
)


PROVEN: Final = (
    "Every pod has served this certificate well before, so the certificate is not the cause: undo what was changed in "
    "the server since then."
)


@dataclass(frozen=True, slots=True)
class GoBack(Step):
    """Exchange the pair in the Secret, which fails in a pod, for the one before it, where that can serve."""

    why: str

    def places(self, desired: Desired) -> Iterable[Place]:
        """The namespace of both Secrets."""
        return (objects_in(desired.key.namespace),)


def go_back(context: Context, now: datetime) -> GoBack | None:
    """A certificate that fails after a pod has loaded it is rolled back, before another pod is reloaded with it."""
    if not _may_go_back(context) or (why := failure_of(context, now)) is None:
        return None
    return GoBack(why)


def _may_go_back(context: Context) -> bool:
    """Whether the pair before may be looked at; one that was proven, or rolled back to, is never rolled back."""
    desired, secret = context.desired, context.snapshot.secret
    is_on = desired.rollout.on_failure is OnFailure.ROLLBACK and not desired.is_external
    return is_on and secret.hold is None and context.rollout.no_way_back is None and not was_verified(context)


def failure_of(context: Context, now: datetime) -> str | None:
    """Say how the certificate fails in a pod that has it, None where none does or the first attempt goes on.

    Clients that refuse it, or get no TLS, count at once. A pod that serves another certificate all the same, or whose
    port is closed, may be slow: it counts when a second attempt fails.
    """
    view = _view(context, now)
    if view is None:
        return None
    refused = refusal_in(view)
    if refused is not None:
        return refused
    if not isinstance(_next(view), RolloutFailed):
        return None
    is_second = context.rollout.failures > 0 and context.rollout.failure is None
    return next((failure_in(flaw) for flaw in _flaws(view) if is_second or _harms(view, flaw)), None)


def _view(context: Context, now: datetime) -> View | None:
    states, leaf, progress = context.snapshot.workloads, context.leaf, context.rollout.progress
    if states is None or leaf is None or progress is None:
        return None
    return View(states, evidence(context), leaf.sha256, progress, now)


def _next(view: View) -> object:
    return next_roll(view.states, view.evidence, view.wanted_sha256, view.progress, view.now)


def _flaws(view: View) -> Iterable[Flaw]:
    """What a pod lacks that has loaded the certificate, but for what has to do with the pod or the way to it."""
    for state in view.states:
        for pod in state.living_pods:
            if _has_loaded(view, pod) and not view.is_settling(state, pod):
                yield from (each for each in view.pod_flaws(state, pod) if _is_of_the_server(each))


def _has_loaded(view: View, pod: PodState) -> bool:
    return view.was_reloaded(pod) or pod.template_sha256 == view.wanted_sha256


def _is_of_the_server(flaw: Flaw) -> bool:
    of_the_pod = {*UNREACHABLE, *PASSING, Reason.KEY_UNREADABLE} - {Reason.CONNECTION_REFUSED}
    return flaw.finding.reason not in of_the_pod


def _harms(view: View, flaw: Flaw) -> bool:
    """Whether clients are worse off than before: a port shows no certificate at all."""
    endpoint = view.evidence.get((flaw.pod.name, flaw.port)) if flaw.port is not None else None
    is_closed = flaw.finding.reason is Reason.CONNECTION_REFUSED
    return endpoint is not None and endpoint.served_sha256 is None and not is_closed


def was_verified(context: Context) -> bool:
    """Whether every pod has proven the certificate that serves, at any time: what fails since then is not its fault."""
    stored, certificate = context.last_accepted, context.snapshot.secret.certificate
    is_it = stored is not None and certificate is not None and stored.sha256 == certificate.sha256
    return is_it and stored is not None and stored.is_verified


def is_the_servers_fault(context: Context) -> bool:
    """Whether what fails now cannot be blamed on the certificate, so that somebody has changed the server."""
    return context.snapshot.secret.hold is None and was_verified(context)


def is_verified(context: Context, now: datetime) -> bool:
    """Whether every pod proves it now, as deep as the spec wants it, or did before."""
    return was_verified(context) or _all_prove_it(context, now)


def _all_prove_it(context: Context, now: datetime) -> bool:
    pods = [each for each in context.verification.endpoints if each.target.route is Route.PODS]
    is_good = bool(pods) and not any(each.failure or each.is_unknown for each in pods)
    return is_good and not targets_to_probe(context, now) and has_rolled_out(context, now)


def with_proof(stored: Stored | None, context: Context, now: datetime) -> Stored | None:
    """Add to what the status keeps whether every pod has proven it, and which workloads have proven one of the Secret.

    A Secret that was made anew is another one: pods are older than it again.
    """
    before = context.last_accepted
    if stored is None:
        return None
    kept = before.proven_in if before is not None and before.uid == stored.uid else ()
    stored = replace(stored, proven_in=kept)
    if context.leaf is None or stored.sha256 != context.leaf.sha256:
        return stored
    proven_in = _workloads(context) if _all_prove_it(context, now) else kept
    return replace(stored, is_verified=is_verified(context, now), proven_in=proven_in)


def pods_know_the_secret(context: Context) -> bool:
    """Whether every pod has proven a certificate of this Secret: none serves what it found before that was there."""
    stored = context.last_accepted
    is_it = stored is not None and stored.uid == context.snapshot.secret.uid
    return is_it and stored is not None and set(_workloads(context)) <= set(stored.proven_in)


def _workloads(context: Context) -> tuple[str, ...]:
    return tuple(sorted(map(str, context.desired.workloads)))


def unfit(pair: ServingSecret | None, context: Context) -> Finding | None:
    """Say why the pair before is not gone back to by itself, though it could serve if somebody requested it."""
    if pair is None or pair.is_verified:
        return None
    name = f"{context.desired.secret_name}-previous"
    message = (
        f"Nothing was rolled back to Secret {name}: not every pod was verified with its certificate when it served."
    )
    return Finding(Reason.ROLLBACK_REFUSED, message)


def untrusted(context: Context) -> Finding:
    """Say that clients would not trust the pair before either."""
    name = f"{context.desired.secret_name}-previous"
    message = f"Nothing was rolled back to Secret {name}: no root that is trusted now vouches for its certificate."
    return Finding(Reason.ROLLBACK_REFUSED, message)


def hold_after(pair: ServingSecret, context: Context, why: str, now: datetime) -> Hold:
    """Until when no other certificate is ordered: longer each time in a row, but never past half of what is left."""
    refused, restored = context.snapshot.secret.certificate, pair.certificate
    if refused is None or restored is None:
        raise AssertionError("both pairs have a certificate")
    before = pair.hold.refused if pair.hold is not None else None
    times = before.times + 1 if before is not None else 1
    left = restored.not_after - now
    pause = max(min(REFUSED_CERTIFICATE.after(times), left / 2), min(SHORTEST_HOLD, left))
    words = shorten(printable(why), MOST_WORDS)
    of = Refused(refused.sha256, refused.serial_number, words, now.replace(microsecond=0), times)
    return Hold((now + pause).replace(microsecond=0), context.desired.generation, of)


def rolled_back(context: Context) -> Refused | None:
    """The certificate that was rolled back by itself to the one that serves, as long as the spec is the same."""
    hold = context.snapshot.secret.hold
    return hold.refused if hold is not None and hold.generation == context.desired.generation else None


def noted(context: Context, now: datetime) -> Context:
    """Report once what was rolled back, also where the process that did it died before it could."""
    hold = context.snapshot.secret.hold
    if hold is None or hold.refused is None or _is_reported(hold.refused, context):
        return context
    entry = HistoryEntry(now, Reason.ROLLED_BACK, what_was_rolled_back(context, hold), hold.refused.serial_number)
    return context.with_history(entry)


def _is_reported(of: Refused, context: Context) -> bool:
    """Whether the history or the condition reports it; the history is short, and may have forgotten it."""
    status = context.snapshot.status
    condition = status.condition(ConditionType.ROLLED_OUT)
    reported_at = (each.at for each in status.history if (each.event, each.serial_number) == _event_of(of))
    return any(at >= of.at for at in reported_at) or (condition is not None and of.serial_number in condition.message)


def _event_of(of: Refused) -> tuple[Reason, str]:
    return Reason.ROLLED_BACK, of.serial_number


def what_was_rolled_back(context: Context, hold: Hold) -> str:
    """Say what was rolled back and why, and what a person may do."""
    of, name = hold.refused, context.desired.secret_name
    if of is None:
        raise AssertionError("only what was refused is reported")
    return (
        f"Certificate {of.serial_number} failed and was rolled back: {of.why} It is kept in Secret {name}-previous; "
        "kubectl mailtls rollback NAME tries it again. No other one is ordered before "
        f"{format_minute(hold.until)}, unless the spec is changed or kubectl mailtls renew NAME requests it."
    )


def advice(context: Context) -> str:
    """Say what becomes of a certificate that fails in a pod, and is not rolled back by itself or not yet."""
    desired, secret = context.desired, context.snapshot.secret
    if is_the_servers_fault(context):
        return PROVEN
    if desired.is_external:
        return (
            "mailtls does not write this Secret and rolls nothing back in it: have whoever writes it put the previous "
            "certificate and key into it."
        )
    if desired.rollout.on_failure is OnFailure.HOLD:
        return f"spec.rollout.onFailure is Hold, so nothing is rolled back by itself. {BY_HAND}"
    if context.rollout.no_way_back is not None:
        return context.rollout.no_way_back.message
    if secret.hold is not None:
        return BY_HAND
    return "The previous certificate is brought back if the next attempt fails too."
