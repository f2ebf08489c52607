"""Restarts of a workload by its pod template: what its own controller is to do, and what is done where it cannot."""

from collections.abc import Sequence
from datetime import timedelta

from mailtls.lifecycle.proof import PASSING, Flaw
from mailtls.lifecycle.roll_view import SETTLING_PAUSE, View
from mailtls.model.reason import Finding, Reason
from mailtls.model.roll import ReplacePod, RestartWorkload, RolloutFailed, RollStep
from mailtls.model.spec import UpdateStrategy, WorkloadKind
from mailtls.model.workload import PodState, WorkloadState, ordinal

CONTROLLERS_TURN = timedelta(seconds=5)
"""How long a controller has to replace a pod that is not ready, before we delete it."""


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
        if state.workload.update_strategy is UpdateStrategy.RESTART and (flaw := next(view.flaws(state), None)):
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
    if view.is_settling(flaw.pod):
        return view.wait(flaw.finding, SETTLING_PAUSE)
    if flaw.finding.reason in PASSING:
        return view.wait_or_fail(flaw.finding, str(state.workload))
    return RolloutFailed(flaw.finding)


def pods_predate_certificate(view: View, state: WorkloadState) -> RollStep | None:
    """Restart a workload that has a stale pod, once per attempt even if somebody takes the annotation away."""
    if not view.may_restart(state):
        return None
    if any(flaw.is_curable for flaw in view.flaws(state)):
        return RestartWorkload(state.workload)
    stuck = [flaw for flaw in view.flaws(state) if view.is_stuck(state, flaw.pod)]
    if stuck and any(view.is_starting(flaw.pod) for flaw in stuck):
        return view.wait(stuck[0].finding, SETTLING_PAUSE)
    return RestartWorkload(state.workload) if stuck else None
