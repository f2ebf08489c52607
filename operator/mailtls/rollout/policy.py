"""Bring the certificate into the pods: the canary first, then in waves, each pod proven before others are touched.

What was done stands in annotations and what is served is probed, so the next step follows from what can be seen: an
operator that dies anywhere goes on where it was.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from mailtls.api.workload import Daemon, UpdateStrategy
from mailtls.context import Context
from mailtls.kube.mounts import KEPT_SINCE_START
from mailtls.kube.workload import WorkloadState
from mailtls.probe.target import Endpoint
from mailtls.reasons.reason import Finding, Reason, Severity
from mailtls.rollout.evict import evicted_pods_are_unproven, is_evicting, pod_is_older
from mailtls.rollout.permission import held_back, serves_nothing_good
from mailtls.rollout.restarts import pods_predate_certificate, restart_is_under_way, restart_was_reverted
from mailtls.rollout.steps import (
    Action,
    EvictPod,
    ReloadPod,
    ReplacePod,
    RestartWorkload,
    RolledOut,
    RolloutFailed,
    RollProgress,
    RollStep,
    WaitForPods,
)
from mailtls.rollout.view import SETTLING_PAUSE, Terms, View
from mailtls.rollout.waves import commands_cannot_run, pod_is_stale, reloaded_pod_is_unverified, reloading
from mailtls.verification.evidence import clients_refuse


def next_roll(
    states: Sequence[WorkloadState],
    evidence: Mapping[tuple[str, int], Endpoint],
    wanted_sha256: str,
    progress: RollProgress,
    now: datetime,
    *,
    terms: Terms | None = None,
) -> RollStep:
    """Return the one step to take now; `states` are in the order of the spec, `evidence` comes from `gather`.

    Without `terms` pods may be begun at any time.
    """
    view = View(tuple(states), evidence, wanted_sha256, progress, now, terms=terms or Terms())
    steps = (check(view) for check in CHECKS)
    step = next((step for step in steps if step is not None), RolledOut(notes(view)))
    # A pod that an earlier attempt began is not tried again either while as many other resources roll out as may.
    return view.terms.queued if view.terms.queued is not None and isinstance(step, Action) else step


def workload_is_unusable(view: View) -> RollStep | None:
    """Refuse before any pod is touched what cannot work; what a pod keeps since its start matters once it is stale."""
    for state in view.states:
        if state.finding is None:
            continue
        if state.finding.reason not in KEPT_SINCE_START or any(view.flaws(state)):
            return RolloutFailed(state.finding)
    return None


def action_failed(view: View) -> RollStep | None:
    """Stop at a step of this attempt that went wrong, unless the evidence says that all is well."""
    for state in view.states:
        subjects = [str(state.workload)] if any(view.flaws(state)) else []
        subjects += [pod.uid for pod in state.living_pods if view.pod_flaws(state, pod) or not state.workload.ports]
        for subject in subjects:
            if subject in view.progress.faults:
                return RolloutFailed(view.progress.faults[subject])
    return None


def certificate_is_refused(view: View) -> RollStep | None:
    """Keep the old certificate in the other pods when clients turn the new one down."""
    refusal = refusal_in(view)
    if refusal is None:
        return None
    return RolloutFailed(Finding(Reason.CANARY_FAILED, f"{refusal} The other pods keep the old one."))


def refusal_in(view: View) -> str | None:
    """Say where the new certificate is served and clients turn it down."""
    for (pod, port), endpoint in sorted(view.evidence.items()):
        if endpoint.failure is not None and clients_refuse(endpoint, view.wanted_sha256):
            return (
                f"Port {port} of pod {pod} serves the new certificate, but clients refuse it with "
                f"{endpoint.failure.reason}: {endpoint.failure.message}"
            )
    return None


def next_is_held_back(view: View) -> RollStep | None:
    """Begin nothing outside of the windows, while a person pauses the rollout, or without an approval that is due.

    Pods at which clients are turned away do not wait behind one that has to.
    """
    step = workload_is_stale(view)
    held = held_back(view, step) if isinstance(step, Action) else None
    if held is None:
        return None
    other = workload_is_stale(replace(view, needy_first=True))
    return other if isinstance(other, Action) and held_back(view, other) is None else held


def workload_is_stale(view: View) -> RollStep | None:
    """Reload the next pod, or restart the next workload, in the order of the spec."""
    actions = {
        UpdateStrategy.RELOAD: pod_is_stale,
        UpdateStrategy.RESTART: pods_predate_certificate,
        UpdateStrategy.EVICT: pod_is_older,
    }
    begun = [
        state for state in view.states if reloading(view, state) or is_evicting(view, state)
    ]  # it ends before another one begins
    for state in begun or _in_order(view):
        action = actions.get(state.workload.update_strategy)
        if action is not None and (step := action(view, state)) is not None:
            return certificate_is_refused(view) or step
    return None


def _in_order(view: View) -> Sequence[WorkloadState]:
    """Put workloads first that have a pod at which clients are turned away, where the view wants that."""
    if not view.needy_first:
        return view.states
    return sorted(
        view.states, key=lambda each: not any(serves_nothing_good(view, each, pod) for pod in each.living_pods)
    )


def pod_is_unproven(view: View) -> RollStep | None:
    """Wait for pods where there is only to wait: not ready, refusing connections, or with `updateStrategy: None`."""
    for state in view.states:
        if flaw := next(view.flaws(state), None):
            waited = view.wait_or_fail(flaw.finding, flaw.pod.uid)
            is_at_once = isinstance(waited, WaitForPods) and flaw.finding.reason is Reason.PROBING
            return view.wait(flaw.finding, SETTLING_PAUSE) if is_at_once else waited
    return None


def pods_are_missing(view: View) -> RollStep | None:
    """Wait for pods that should exist and do not."""
    for state in view.states:
        if len(state.living_pods) < state.replicas_wanted:
            message = (
                f"{state.workload} has {len(state.living_pods)} of {state.replicas_wanted} pods; see its events "
                f"for why the others are not created.{_leaving(state)}"
            )
            return view.wait_or_fail(Finding(Reason.POD_NOT_READY, message), str(state.workload))
    return None


def _leaving(state: WorkloadState) -> str:
    """Name a pod that is deleted and does not go: a StatefulSet makes no other one before."""
    pod = next((pod for pod in state.pods if pod.terminating and pod.node), None)
    if pod is None:
        return ""
    return f" Pod {pod.name} is being deleted; where node {pod.node} is lost, it stays until that Node is deleted."


def _reloading(daemon: Daemon) -> str:
    return f"{'sends' if daemon.signal else 'runs'} {daemon.reload_words}"


def on_its_way(step: RollStep) -> str:
    """Say what a step does that may take its time: it is reported before it is taken."""
    match step:
        case ReloadPod(_, pod):
            containers = list(dict.fromkeys(reader.container for _, reader in step.due if reader.container))
            what = f"container{'s' if len(containers) > 1 else ''} {' and '.join(containers)} of " if containers else ""
            run = "".join(f", then {_reloading(daemon)}" for daemon, _ in step.due if daemon.command or daemon.signal)
            return f"Waits for {what}pod {pod.name} to see the new certificate{run}."
        case RestartWorkload(workload):
            return f"{workload} is asked to replace its pods."
        case ReplacePod(workload, pod) if pod.ready:
            return f"Pod {pod.name} of {workload} read another certificate at its start, so the pod is deleted."
        case ReplacePod(workload, pod):
            return f"{workload} waits for pod {pod.name} to become ready before it replaces it, so the pod is deleted."
        case EvictPod(workload, pod):
            return f"Pod {pod.name} of {workload} is evicted, as it is older than the certificate."
    return "The certificate is being rolled out."


def shared(context: Context) -> Finding | None:
    """Say which other resources name a workload of this one: worth a word, though each brings its own certificate."""
    if not context.snapshot.sharers:
        return None
    each = "; ".join(
        f"{workload} is also named by MailServerTLS {', '.join(by)}"
        for workload, by in context.snapshot.sharers.items()
    )
    message = f"{each}: its pods are reloaded or restarted for the certificates of both, each in its own time."
    return Finding(Reason.WORKLOAD_SHARED, message, Severity.WARN)


def notes(view: View) -> tuple[Finding, ...]:
    """Warn of what will bite at the next certificate, and of workloads that have no pod to prove it."""
    found = [state.finding for state in view.states if state.finding is not None]
    empty = [state for state in view.states if not state.living_pods]
    found += [Finding(Reason.NO_PODS, f"{state.workload} is scaled to zero.") for state in empty]
    return tuple(replace(finding, severity=Severity.WARN) for finding in found)


CHECKS: tuple[Callable[[View], RollStep | None], ...] = (
    workload_is_unusable,
    action_failed,
    commands_cannot_run,
    reloaded_pod_is_unverified,
    restart_was_reverted,
    restart_is_under_way,
    evicted_pods_are_unproven,
    next_is_held_back,
    workload_is_stale,
    pod_is_unproven,
    pods_are_missing,
)
"""In this order; the first step named is taken. What is in flight comes before what may be begun."""
