"""Restarts by the pod template: a workload's controller replaces its pods, and each then proves the certificate."""

from collections.abc import Sequence
from datetime import timedelta

from mailtls.api.workload import UpdateStrategy, WorkloadKind
from mailtls.kube.workload import PodState, WorkloadState, ordinal
from mailtls.reasons.reason import Finding, Reason
from mailtls.rollout.steps import ReplacePod, RestartWorkload, RolloutFailed, RollStep
from mailtls.rollout.view import SETTLING_PAUSE, View, may_have_started_before
from mailtls.verification.evidence import PASSING, Flaw

CONTROLLERS_TURN = timedelta(seconds=5)
"""How long a controller has to replace a pod that is not ready, before we delete it."""


def restart_was_reverted(view: View) -> RollStep | None:
    """Let the controller finish what a reverted template has it do; then say who has to leave the template alone.

    To annotate it again would only begin the same anew. Pods that were made meanwhile may serve the certificate.
    """
    for state in view.states:
        if state.workload.update_strategy is not UpdateStrategy.RESTART or not view.was_reverted(state):
            continue
        flaw = next(view.flaws(state), None)
        if flaw is None:
            continue
        is_settling = not state.rolled or flaw.finding.reason in PASSING or view.is_settling(state, flaw.pod)
        if is_settling and view.now < view.progress.deadline(str(state.workload)):
            return view.wait_for(flaw.finding, str(state.workload))
        return RolloutFailed(_reverted(state, flaw))
    return None


def _reverted(state: WorkloadState, flaw: Flaw) -> Finding:
    who = f"field manager {state.template_keeper}" if state.template_keeper else "somebody"
    message = (
        f"{state.workload} was asked to replace its pods, and {who} put its pod template back, so older pods stay; it "
        "is not asked again. Let spec.template.metadata.annotations be as they are there, then run kubectl rollout "
        f"restart {state.workload.kind.lower()}/{state.workload.name}; or set updateStrategy: Evict, which writes no "
        f"template. {flaw.finding.message}"
    )
    return Finding(Reason.TEMPLATE_REVERTED, message, subject=str(state.workload))


def restart_is_under_way(view: View) -> RollStep | None:
    """Let a workload's controller finish, then demand the proof: patching the template again changes nothing.

    A pod that serves the certificate has it, whether it was replaced or not.
    """
    for state in view.states:
        if not view.was_restarted(state):
            continue
        left = [pod for pod in state.living_pods if view.is_of_older_template(pod) and view.pod_flaws(state, pod)]
        if left or (not state.rolled and len(state.living_pods) < state.replicas_wanted):
            return _await_controller(view, state, left)
        others = (flaw for flaw in view.flaws(state) if not _was_made_for_another(view, state, flaw))
        if state.workload.update_strategy is UpdateStrategy.RESTART and (flaw := next(others, None)):
            return _judge_restarted(view, state, flaw)
    return None


def _await_controller(view: View, state: WorkloadState, left: Sequence[PodState]) -> RollStep:
    subject = str(state.workload)
    if by_hand := state.by_hand or _held_by_partition(state, left):
        message = f"{state.workload} does not replace its pods by itself: {by_hand}"
        return view.wait_for(Finding(Reason.ROLLING_OUT, message), subject)
    for pod in left:
        if _blocks_its_controller(view, state, pod):
            return ReplacePod(state.workload, pod)
    if view.now < view.progress.deadline(subject):
        message = f"{state.workload} is replacing its pods."
        return view.wait_for(Finding(Reason.ROLLING_OUT, message), subject)
    minutes = view.progress.timeout / timedelta(minutes=1)
    message = (
        f"{state.workload} has not replaced its pods within {minutes:g} minutes; see its events, "
        "its update strategy and its pods, or raise spec.rollout.timeout."
    )
    return RolloutFailed(Finding(Reason.ROLLOUT_TIMEOUT, message))


def _held_by_partition(state: WorkloadState, left: Sequence[PodState]) -> str:
    """Say what a person has to do where only pods are left that the partition keeps from being replaced."""
    if not state.partition or not left or any(ordinal(pod.name) >= state.partition for pod in left):
        return ""
    names = ", ".join(pod.name for pod in left)
    return (
        f"spec.updateStrategy.rollingUpdate.partition is {state.partition}, and {names} below it "
        f"{'are' if len(left) > 1 else 'is'} not replaced; lower the partition, or delete "
        f"{'these pods' if len(left) > 1 else 'this pod'} yourself."
    )


def _blocks_its_controller(view: View, state: WorkloadState, pod: PodState) -> bool:
    """Whether a StatefulSet waits for a pod of an older template to become ready before it replaces any.

    With `podManagementPolicy: OrderedReady` it waits for ever where only the new certificate makes the pod ready.
    """
    if state.workload.kind is not WorkloadKind.STATEFUL_SET or pod.ready or view.is_starting(pod):
        return False
    asked_at = view.progress.acted_at.get(str(state.workload), view.progress.started_at)
    was_deleted = view.progress.acted_at.get(pod.uid, asked_at) > asked_at
    is_held = state.partition > ordinal(pod.name)
    return not is_held and not was_deleted and view.now >= asked_at + CONTROLLERS_TURN


def _judge_restarted(view: View, state: WorkloadState, flaw: Flaw) -> RollStep:
    if view.is_settling(state, flaw.pod):
        return view.wait_settling(state, flaw)
    if flaw.finding.reason in PASSING:
        return view.wait_or_fail(flaw.finding, str(state.workload))
    return RolloutFailed(flaw.finding)


def pods_predate_certificate(view: View, state: WorkloadState) -> RollStep | None:
    """Restart a workload that has a stale pod, once per attempt even if somebody takes the annotation away."""
    if not view.may_restart(state):
        mistaken = next((flaw.pod for flaw in view.flaws(state) if _was_made_for_another(view, state, flaw)), None)
        return ReplacePod(state.workload, mistaken) if mistaken is not None else None
    if any(flaw.is_curable for flaw in view.flaws(state)):
        return RestartWorkload(state.workload)
    stuck = [flaw for flaw in view.flaws(state) if view.is_stuck(state, flaw.pod)]
    if stuck and any(view.is_starting(flaw.pod) for flaw in stuck):
        return view.wait(stuck[0].finding, SETTLING_PAUSE)
    return RestartWorkload(state.workload) if stuck else None


def _was_made_for_another(view: View, state: WorkloadState, flaw: Flaw) -> bool:
    """Whether a pod of the right template read another certificate, for this one was put back since it was made.

    Its template names the certificate already, so its controller would not replace it.
    """
    stored_at, pod = view.progress.stored_at, flaw.pod
    if not view.was_restarted(state) or view.is_of_older_template(pod) or state.by_hand or stored_at is None:
        return False
    return flaw.is_curable and not view.is_settling(state, pod) and may_have_started_before(pod, stored_at)
