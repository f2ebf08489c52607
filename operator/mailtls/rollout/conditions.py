"""What the condition RolledOut says, and how far a rollout is in numbers."""

from dataclasses import replace
from datetime import datetime
from typing import Final

from mailtls.api.reading.document import Json
from mailtls.api.status import ConditionType, RolloutReport, Truth, Verdict, WorkloadReport
from mailtls.api.status_json import read
from mailtls.context import Context
from mailtls.issuance.policy import stored_is_expired, usable
from mailtls.kube.workload import PodState, WorkloadState
from mailtls.reasons.reason import Finding, Reason, Severity
from mailtls.rollout.decide import held
from mailtls.rollout.going_back import advice, failure_of, rolled_back, was_verified, what_was_rolled_back
from mailtls.rollout.permission import terms_of
from mailtls.rollout.policy import next_roll, on_its_way
from mailtls.rollout.steps import Held, RolledOut, RolloutFailed, RollStep, WaitForPods
from mailtls.rollout.view import View
from mailtls.verification.evidence import PASSING, UNREACHABLE, evidence

NO_CERTIFICATE: Final = "Waits for a certificate."
NOT_PROBED: Final = "The certificate is stored; no pod was probed yet."


def rolled_out(context: Context, now: datetime) -> Verdict:
    """True when every pod was reloaded with the stored certificate, or serves it without that."""
    if not context.desired.workloads:
        return Verdict.true(Reason.NO_WORKLOADS, "No workloads are named, so no pod has to be reloaded.")
    if (refused := context.external.refusal) is not None:
        return Verdict.false(replace(refused, message=f"Nothing is rolled out. {refused.message}"))
    return _how_far(context, now)


def is_rolling(resource: Json) -> bool:
    """Whether the status says that a rollout is under way: it is written before a pod is touched."""
    said = read(resource.get("status") or {}).condition(ConditionType.ROLLED_OUT)
    return said is not None and said.status is Truth.FALSE and said.reason is Reason.ROLLING_OUT


def _how_far(context: Context, now: datetime) -> Verdict:
    certificate = context.snapshot.secret.certificate
    if certificate is None or context.snapshot.workloads is None or context.rollout.progress is None:
        is_waiting = certificate is None or context.snapshot.secret.is_placeholder
        return Verdict.pending(NO_CERTIFICATE if is_waiting else NOT_PROBED)
    workloads, progress, terms = context.snapshot.workloads, context.rollout.progress, terms_of(context)
    step = next_roll(workloads, evidence(context), certificate.sha256, progress, now, terms=terms)
    if (hold := context.snapshot.secret.hold) is not None and rolled_back(context) is not None:
        message = f"{what_was_rolled_back(context, hold)} {_how_far_back(context, step)}"
        return Verdict.false(Finding(Reason.ROLLED_BACK, message))
    if isinstance(step, RolledOut):
        failure = (advice(context),) if failure_of(context, now) else ()
        said = ("Every pod has the certificate.", *(note.message for note in step.notes), *failure)
        return Verdict.true(Reason.ROLLED_OUT, " ".join(said), step.notes)
    trouble = step.finding if isinstance(step, WaitForPods | Held | RolloutFailed) else None
    trouble = context.rollout.failure.finding if context.rollout.failure else trouble
    if trouble is not None and trouble.reason is Reason.CANARY_FAILED:
        trouble = replace(trouble, message=f"{trouble.message} {advice(context)}")
    if not usable(context, now):
        return Verdict.false(_not_rolled(context, now))
    if trouble is None:
        return Verdict.false(Finding(Reason.ROLLING_OUT, on_its_way(step)))
    is_out = _was_out(context, trouble)
    is_out = is_out and not _is_left_down(context, now, is_over=not isinstance(step, WaitForPods))
    return _still_out(trouble) if is_out else Verdict.false(trouble)


def _how_far_back(context: Context, step: RollStep) -> str:
    """Say how far the certificate is that takes the place of one that failed."""
    certificate, failure = context.snapshot.secret.certificate, context.rollout.failure
    serial = certificate.serial_number if certificate else ""
    if isinstance(step, RolledOut):
        return f"Every pod has certificate {serial}."
    trouble = step.finding if isinstance(step, WaitForPods | Held | RolloutFailed) else None
    trouble = failure.finding if failure else trouble
    how = f"{trouble.reason}: {trouble.message}" if trouble else on_its_way(step)
    return f"Certificate {serial} is being brought back: {how}"


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


def _still_out(trouble: Finding) -> Verdict:
    message = f"No pod is left to be reloaded. {trouble.message}"
    return Verdict.true(Reason.ROLLED_OUT, message, (replace(trouble, severity=Severity.WARN),))


def _is_left_down(context: Context, now: datetime, *, is_over: bool) -> bool:
    """Whether a pod is not ready though it had its time, or cannot read its key, and never proved the certificate."""
    view = _view(context, now)
    down = [(state, pod) for state in view.states for pod in state.living_pods if not pod.ready] if view else []
    return any(
        is_over or context.rollout.failure is not None or _cannot_read_its_key(pod)
        for state, pod in down
        if view is not None and not view.proved_it_before(state, pod) and not _was_verified(context, pod)
    )


def _was_verified(context: Context, pod: PodState) -> bool:
    """Whether the status says so, as after a restart of the operator: the pod runs since before all had it."""
    before = context.snapshot.status.condition(ConditionType.ROLLED_OUT)
    runs_since = pod.started_at if pod.is_running else None
    return (
        was_verified(context) and before is not None and runs_since is not None and runs_since < before.transitioned_at
    )


def _cannot_read_its_key(pod: PodState) -> bool:
    return pod.key_fault is not None and pod.key_fault.severity is Severity.FAIL


def _view(context: Context, now: datetime) -> View | None:
    states, progress, leaf = context.snapshot.workloads, context.rollout.progress, context.leaf
    if not states or progress is None or leaf is None:
        return None
    return View(states, evidence(context), leaf.sha256, progress, now)


def summary(context: Context, now: datetime) -> RolloutReport | None:
    """Count the pods of each workload; None while the workloads, or the certificate, are not known."""
    view = _view(context, now)
    if view is None:
        return None
    waiting = held(context, now)
    return RolloutReport(
        workloads=tuple(_counted(view, state) for state in view.states),
        waiting_for=waiting.finding.reason if waiting is not None else None,
        waiting_until=waiting.until if waiting is not None else None,
    )


def _counted(view: View, state: WorkloadState) -> WorkloadReport:
    left = [pod for pod in state.living_pods if view.pod_flaws(state, pod)]
    begun = [pod for pod in left if view.was_reloaded(pod) or view.was_restarted(state)]
    pods = len(state.living_pods)
    return WorkloadReport(str(state.workload), pods, pods - len(left), len(begun))
