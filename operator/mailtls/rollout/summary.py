"""How far a rollout is, in numbers: what the status shows of it, and `mailtls rollout status`."""

from datetime import datetime

from mailtls.api.status import RolloutReport, WorkloadReport
from mailtls.context import Context
from mailtls.kube.workload import WorkloadState
from mailtls.rollout.decide import held
from mailtls.rollout.view import View
from mailtls.verification.evidence import evidence


def summary(context: Context, now: datetime) -> RolloutReport | None:
    """Count the pods of each workload; None while the workloads, or the certificate, are not known."""
    states, progress, leaf = context.snapshot.workloads, context.rollout.progress, context.leaf
    if not states or progress is None or leaf is None:
        return None
    view = View(states, evidence(context), leaf.sha256, progress, now)
    waiting = held(context, now)
    return RolloutReport(
        workloads=tuple(_counted(view, state) for state in states),
        waiting_for=waiting.finding.reason if waiting is not None else None,
        waiting_until=waiting.until if waiting is not None else None,
    )


def _counted(view: View, state: WorkloadState) -> WorkloadReport:
    left = [pod for pod in state.living_pods if view.pod_flaws(state, pod)]
    begun = [pod for pod in left if view.was_reloaded(pod) or view.was_restarted(state)]
    pods = len(state.living_pods)
    return WorkloadReport(str(state.workload), pods, pods - len(left), len(begun))
