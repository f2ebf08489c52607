"""May the next pod be begun now? What people decided about that, held against what clients are served meanwhile.

Only what would be begun is held back. What is in flight is seen through to its end: a pod that was reloaded is
verified, and a workload whose controller replaces pods goes on.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from mailtls.api.resource import APPROVE, PAUSE_ROLLOUT
from mailtls.api.spec import Approval
from mailtls.api.windows import closed_until
from mailtls.context import Context
from mailtls.kube.workload import PodState, WorkloadState
from mailtls.probe.target import Endpoint
from mailtls.reasons.reason import Finding, Reason, Severity
from mailtls.rollout.steps import Action, Held, RestartWorkload
from mailtls.rollout.view import Terms, View
from mailtls.times import format_minute
from mailtls.verification.evidence import PASSING, REFUSED, UNREACHABLE, serves

SHORTEST_APPROVAL: Final = 8
"""Digits of the fingerprint that an approval names at least: enough to mean one certificate."""
_SHOWN: Final = 16
ON_PURPOSE: Final = frozenset(
    {Reason.WAITING_FOR_WINDOW, Reason.WAITING_FOR_APPROVAL, Reason.ROLLOUT_PAUSED, Reason.ROLLOUT_QUEUED}
)
"""Why a rollout waits that people decided about; Verified says whether what is served meanwhile is good."""


def terms_of(context: Context) -> Terms:
    """Gather what was decided about the rollout of the stored certificate."""
    desired = context.desired
    return Terms(desired.rollout, desired.is_paused, desired.approved, _is_put_back(context), _queued(context))


def _is_put_back(context: Context) -> bool:
    """Whether the pair was rolled back to, which somebody who may write the Secret cannot make us believe.

    Our own copy of the very pair, which is sealed, says so too; there is none for a moment after the rollback.
    """
    secret, copy = context.snapshot.secret, context.snapshot.copy
    leaf, kept = secret.certificate, copy.certificate if copy is not None else None
    is_denied = (
        copy is not None and copy.hold is None and leaf is not None and kept is not None and leaf.sha256 == kept.sha256
    )
    return secret.hold is not None and not is_denied


def _queued(context: Context) -> Held | None:
    """Say what the rollout waits for where as many resources roll out as the installation lets do so at once."""
    turn = context.rollout.turn
    if turn is None or turn.is_granted:
        return None
    message = (
        "The certificate waits for its turn: as many resources roll out now as rollout.maxConcurrent of the "
        f"installation allows ({turn.at_work}), and {turn.before} wait before this one."
    )
    return Held(Finding(Reason.ROLLOUT_QUEUED, message), turn.again_at)


def held_back(view: View, step: Action) -> Held | None:
    """Say why `step`, which would begin something, has to wait; None where it may be taken now.

    A pause holds all back. Nothing else keeps a certificate from pods that have no good one, or one that was put back.
    """
    if view.terms.is_paused:
        return _held(view, Reason.ROLLOUT_PAUSED, _PAUSED, None)
    return _held_by_people(view, step) or view.terms.queued


def _held_by_people(view: View, step: Action) -> Held | None:
    if view.terms.is_put_back or any(serves_nothing_good(view, state, pod) for state, pod in _touched(view, step)):
        return None
    return _await_approval(view, step) or _await_window(view)


_PAUSED: Final = (
    f"The rollout is paused by the annotation {PAUSE_ROLLOUT}. To go on: kubectl mailtls rollout resume NAME, or "
    f"kubectl annotate mst NAME {PAUSE_ROLLOUT}-."
)


def _held(view: View, reason: Reason, message: str, until: datetime | None) -> Held:
    pods = [view.pod_flaws(state, pod) for state in view.states for pod in state.living_pods]
    left = sum(1 for flaws in pods if flaws)
    return Held(Finding(reason, f"{message} {left} of {len(pods)} pods do not have the certificate yet."), until)


def _touched(view: View, step: Action) -> Iterator[tuple[WorkloadState, PodState]]:
    """All pods that the step replaces or reloads."""
    for state in view.states:
        if state.workload != step.workload:
            continue
        for pod in state.living_pods:
            if isinstance(step, RestartWorkload) or pod.uid == step.pod.uid:
                yield state, pod


def serves_nothing_good(view: View, state: WorkloadState, pod: PodState) -> bool:
    """Whether clients are turned away at the pod now, for want of a certificate that they accept."""
    endpoints = (view.evidence.get((pod.name, port.port)) for port in state.workload.ports)
    return view.is_stuck(state, pod) or any(_is_no_good(each, view.now) for each in endpoints if each)


def _is_no_good(endpoint: Endpoint, now: datetime) -> bool:
    if endpoint.served_sha256 is None:
        return endpoint.failure is not None and endpoint.failure.reason not in UNREACHABLE | PASSING
    has_expired = endpoint.served_not_after is not None and endpoint.served_not_after <= now
    is_refused = any(
        found.severity is Severity.FAIL and found.reason in REFUSED and not found.subject for found in endpoint.findings
    )
    return has_expired or is_refused


def needy_first(view: View, state: WorkloadState, pods: list[PodState]) -> list[PodState]:
    """Put pods first at which clients are turned away, where the view wants that."""
    return sorted(pods, key=lambda pod: not serves_nothing_good(view, state, pod)) if view.needy_first else pods


def _first_expiry(view: View) -> datetime | None:
    """When the first of the good certificates expires that are served in place of the new one.

    One that clients refuse lets its own pod be begun, and says nothing of the others: anybody can make one.
    """
    endpoints = (each for each in view.evidence.values() if not _is_no_good(each, view.now))
    others = [each for each in endpoints if not serves(each, view.wanted_sha256)]
    return min((each.served_not_after for each in others if each.served_not_after is not None), default=None)


def _await_approval(view: View, step: Action) -> Held | None:
    """Wait for a person once a first pod has the certificate; a controller replaces all pods and knows no first."""
    if view.terms.rollout.approval is not Approval.REQUIRED or _is_approved(view):
        return None
    if _is_of_the_canary(view, step):
        return None
    approve = f"{APPROVE}={view.wanted_sha256[:_SHOWN]}"
    message = (
        f"The certificate waits for a person to approve it{_unfit(view.terms.approved)}: kubectl mailtls rollout "
        f"approve NAME, or kubectl annotate mst NAME {approve} --overwrite."
    )
    return _held(view, Reason.WAITING_FOR_APPROVAL, message, _first_expiry(view))


def _is_approved(view: View) -> bool:
    """Whether the annotation names this very certificate: an approval of another one counts for nothing."""
    approved = view.terms.approved
    return len(approved) >= SHORTEST_APPROVAL and view.wanted_sha256.startswith(approved)


def _unfit(approved: str) -> str:
    if not approved:
        return ""
    return f" ({APPROVE} names another one, or fewer than {SHORTEST_APPROVAL} digits of its SHA-256 fingerprint)"


def _is_of_the_canary(view: View, step: Action) -> bool:
    """Whether the step is one of the first pods, which show what is to be approved; a controller knows no first.

    Where there are several workloads it is the canary of the one that is begun first.
    """
    begun = {str(state.workload): sum(_begun(view, state)) for state in view.states}
    others = sum(number for name, number in begun.items() if name != str(step.workload))
    sizes = (
        max(len(state.living_pods), state.replicas_wanted) for state in view.states if state.workload == step.workload
    )
    canary = view.progress.canary.of(next(sizes, 0))
    return not isinstance(step, RestartWorkload) and not others and begun.get(str(step.workload), 0) < canary


def _begun(view: View, state: WorkloadState) -> Iterator[bool]:
    """Of each pod whether it has the certificate, or was reloaded with it."""
    for pod in state.living_pods:
        yield view.was_reloaded(pod) or not view.pod_flaws(state, pod)


def _await_window(view: View) -> Held | None:
    """Wait for the next window, but for no longer than the certificate that is served allows."""
    rollout, expiry = view.terms.rollout, _first_expiry(view)
    closed = closed_until(rollout.windows, view.now)
    urgent_at = expiry - rollout.urgent_before if expiry is not None else None
    if closed is None or (urgent_at is not None and urgent_at <= view.now):
        return None
    opens_at, local = closed
    good = f" The one that is served is good until {format_minute(expiry)}." if expiry is not None else ""
    message = f"The certificate waits for the next window, which opens at {local}.{good}"
    return _held(view, Reason.WAITING_FOR_WINDOW, message, min(opens_at, urgent_at or opens_at))
