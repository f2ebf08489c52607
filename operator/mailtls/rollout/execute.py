"""Performs the steps of rolling out and proving: look at workloads, tell pods, probe them."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import random
from threading import Event

import structlog

from mailtls.api.installation import Features
from mailtls.api.reading.acme import STAGING
from mailtls.api.spec import DataRef, Desired
from mailtls.api.state import Failure
from mailtls.context import Context
from mailtls.controller.step import ConfirmPods, LookAtWorkloads, ProbePods, ProbeWays, Roll
from mailtls.issuance.acme.problem import AcmeProblem
from mailtls.kube.interface import Cluster
from mailtls.kube.references import trial_login
from mailtls.kube.secrets import Secrets
from mailtls.kube.workload import WorkloadState
from mailtls.kube.workloads import observe, replace_pod, restart_workload
from mailtls.metrics import Metrics
from mailtls.net.backoff import EXEC, ROLLOUT
from mailtls.probe.prober import SupportsProbe
from mailtls.probe.target import Credentials, Depth, Endpoint, Expected, Target, Way
from mailtls.reasons.reason import Finding, Reason, Severity
from mailtls.rollout.reload import reload_pod
from mailtls.rollout.steps import Action, ReloadPod, ReplacePod, RestartWorkload, RolloutFailed, RollProgress
from mailtls.rollout.view import settle_time
from mailtls.times import Clock
from mailtls.verification.evidence import refusals_in, resting, standing_refusals, targets, with_refusals
from mailtls.verification.routes import without_ways
from mailtls.verification.schedule import confirmed, retried, with_deep_findings
from mailtls.verification.state import stands

log = structlog.get_logger()
SETTLE = timedelta(seconds=10)  # a server goes on with processes it has for as long after its reload
FILE_PATIENCE = timedelta(seconds=10)  # a woken kubelet takes one; what takes longer is waited for by the queue
SETTLE_PAUSE = 0.2  # seconds


@dataclass(frozen=True, slots=True)
class Rolling:
    """Brings certificates into pods and collects the evidence that they serve."""

    cluster: Cluster
    prober: SupportsProbe
    clock: Clock
    metrics: Metrics
    stopping: Event
    read: Callable[[DataRef], bytes]
    trust_pem: str = ""
    features: Features = field(default_factory=Features)
    file_patience: timedelta = FILE_PATIENCE

    def look(self, context: Context, _step: LookAtWorkloads) -> Context:
        """Read workloads and pods; begin a rollout's memory where there is none."""
        desired = context.desired
        states = tuple(
            observe(self.cluster, desired.key.namespace, workload, desired.secret_name)
            for workload in desired.workloads
        )
        begun = RollProgress(
            self.clock.now(),
            desired.rollout.timeout,
            retry=True,
            settle=SETTLE,
            stored_at=_stored_at(context),
            secret_made_at=context.snapshot.secret.made_at,
        )
        return _with_workloads(context.with_rollout(progress=context.rollout.progress or begun), states)

    def probe(self, context: Context, step: ProbePods) -> Context:
        """Ask the pods; a sweep of all targets also moves the time of the next one."""
        for backoff in retried(context, step.targets):
            self.metrics.retried(backoff.kind)
        asked, context = self._asked(context, step)
        if step.depth is not Depth.DEEP:
            asked = with_deep_findings(asked, context.verification.endpoints)
        context = replace(context, verification=context.verification.with_answers(asked))
        if not set(targets(context.snapshot.workloads or (), context.desired.server_name)) <= set(step.targets):
            return context
        now = self.clock.now()
        # Without what was aside, too: whoever misses a sweep is probed when back.
        return without_ways(context).with_verification(
            probed_at=now,
            probed_depth=step.depth,
            deep_probed_at=now if step.depth is Depth.DEEP else context.verification.deep_probed_at,
            handled_probe=context.desired.probe_requested,
        )

    def _asked(self, context: Context, step: ProbePods | ProbeWays) -> tuple[Sequence[Endpoint], Context]:
        """Ask, with a login where one is wanted and none was refused a short while ago; remember who refuses it."""
        if step.depth is Depth.QUICK:
            return self._ask(context, step.targets), context
        trial = trial_login(self.cluster, context.desired)
        standing = standing_refusals(context, trial.version, self.clock.now())
        asked = self._ask(context, step.targets, step.depth, None if standing else trial.whom)
        asked = _warned(asked, trial.missing)
        known = standing or refusals_in(asked, trial.version, context.desired.probe_requested)
        return with_refusals(asked, standing), context.with_verification(login_refusals=known)

    def confirm(self, context: Context, step: ConfirmPods) -> Context:
        """Take up again what was learned of pods that are back; who turns out to have changed is asked like a new one.

        A glance leaves the times of sweeps and of looks at what fails as they are.
        """
        verification = context.verification
        learned = {each.target: each for each in verification.set_aside}
        found = [confirmed(learned[each.target], each) for each in self._ask(context, step.targets)]
        left = tuple(each for each in verification.set_aside if each.target not in step.targets)
        known = replace(verification, set_aside=left).with_answers(each for each in found if each)
        return replace(context, verification=known)

    def probe_ways(self, context: Context, step: ProbeWays) -> Context:
        """Ask Services or public addresses."""
        asked, context = self._asked(context, step)
        if step.depth is not Depth.DEEP:
            asked = with_deep_findings(asked, context.verification.set_aside)
        return replace(context, verification=context.verification.with_answers(asked))

    def roll(self, context: Context, step: Roll) -> Context:
        """Tell a pod or a workload, or remember that the rollout failed and when to try again."""
        if not isinstance(step.step, RolloutFailed) and (off := self._refusal(step.step)) is not None:
            return self._noted(context, step.step, off)
        if isinstance(step.step, ReloadPod):
            return self._reload(context, step.step)
        if isinstance(step.step, RestartWorkload):
            return self._restart(context, step.step)
        if isinstance(step.step, ReplacePod):
            return self._replace(context, step.step)
        self.metrics.rollout_ended("failed")
        failed = context.rollout.failures + 1
        self.metrics.retried(ROLLOUT.kind)
        retry_at = self.clock.now() + ROLLOUT.after(failed, random())  # noqa: S311 - jitter
        return context.with_rollout(failures=failed, failure=Failure(step.step.finding, retry_at))

    def _refusal(self, action: Action) -> Finding | None:
        """Say which feature is off that the action needs; None where it may be done."""
        if isinstance(action, ReloadPod):
            return self.features.reload_refusal(action.workload)
        return self.features.restart_refusal(action.workload)

    def _reload(self, context: Context, step: ReloadPod) -> Context:
        fault = reload_pod(
            self.cluster,
            context.desired.key.namespace,
            step,
            _wanted(context),
            secret_name=context.desired.secret_name,
            timeout=min(self.file_patience, context.desired.rollout.timeout).total_seconds(),
            stopping=self.stopping,
            is_woken=context.rollout.progress is not None and context.rollout.progress.is_awaited(step.subject),
        )
        context = self._noted(context, step, fault)
        return self._settle(self._refresh(context, step), step) if fault is None else context

    def _noted(self, context: Context, step: Action, fault: Finding | None) -> Context:
        if fault is not None and fault.reason is Reason.EXEC_UNAVAILABLE:
            self.metrics.retried(EXEC.kind)
        progress = context.rollout.progress
        return context.with_rollout(progress=progress.after(step, fault, self.clock.now()) if progress else None)

    def _settle(self, context: Context, step: ReloadPod) -> Context:
        """Ask the pod until it serves the new certificate; what it says last is the evidence."""
        its = tuple(
            each
            for each in targets(context.snapshot.workloads or (), context.desired.server_name)
            if each.pod == step.pod.name
        )
        settle = settle_time(context.rollout.progress, step.pod) if context.rollout.progress else SETTLE
        deadline = self.clock.now() + min(settle, SETTLE)
        while True:
            asked = self._ask(context, its)
            context = replace(context, verification=context.verification.with_answers(asked))
            served = all(each.served_sha256 == _wanted(context) for each in asked)
            if served or self.clock.now() >= deadline or self.stopping.wait(SETTLE_PAUSE):
                return context

    def _restart(self, context: Context, step: RestartWorkload) -> Context:
        fault = restart_workload(
            self.cluster, context.desired.key.namespace, step.workload, _wanted(context), context.desired.secret_name
        )
        return self._refresh(self._noted(context, step, fault), step)

    def _replace(self, context: Context, step: ReplacePod) -> Context:
        fault = replace_pod(self.cluster, context.desired.key.namespace, step.pod)
        return self._refresh(self._noted(context, step, fault), step)

    def _refresh(self, context: Context, step: Action) -> Context:
        fresh = observe(self.cluster, context.desired.key.namespace, step.workload, context.desired.secret_name)
        return _with_workloads(context, _replaced(context.snapshot.workloads or (), fresh))

    def _ask(
        self,
        context: Context,
        asked: Sequence[Target],
        depth: Depth = Depth.QUICK,
        login: Credentials | None = None,
    ) -> Sequence[Endpoint]:
        desired = context.desired
        certificate = context.snapshot.secret.certificate
        if certificate is None:
            raise AssertionError("without a certificate there is nothing to expect")
        # After a rollback a server that has not read the new file serves the younger certificate of the two.
        not_before = None if context.snapshot.secret.hold else certificate.not_before
        roots, without = self._roots(desired)
        expected = Expected(
            certificate.sha256,
            roots,
            not_before,
            trusts_staging=desired.acme.server == STAGING,
            thresholds=desired.probe.thresholds,
            # what the spec has gained since is said by Issued, and served when the next certificate is
            names=tuple(name for name in desired.dns_names if name in certificate.names),
        )
        if depth is Depth.QUICK:
            return _warned(self.prober.probe(asked, expected), without)
        found = _warned(self.prober.probe(asked, replace(expected, login=login), depth), without)
        return self._without_siblings(desired, found)

    def _without_siblings(self, desired: Desired, found: Sequence[Endpoint]) -> Sequence[Endpoint]:
        """Take back what is said of other certificates that another resource keeps; most servers have none."""
        if not any(each.second_sha256 or each.named_sha256 for each in found):
            return found
        kept = Secrets(self.cluster).leaves(desired.key.namespace)
        return [_without_kept(each, kept) for each in found]

    def _roots(self, desired: Desired) -> tuple[str, Finding | None]:
        """Roots to trust besides the system's, and a warning where those of `probe.trust` are missing."""
        if desired.probe.trust is None:
            return self.trust_pem, None
        try:
            return f"{self.trust_pem}\n{self.read(desired.probe.trust).decode(errors='replace')}", None
        except AcmeProblem as missing:
            words = (
                f"{missing.finding.message.rstrip('.')}, as probe.trust names it; its roots are not trusted until then."
            )
            return self.trust_pem, Finding(missing.finding.reason, words, Severity.WARN)


def _warned(endpoints: Sequence[Endpoint], warning: Finding | None) -> Sequence[Endpoint]:
    """Add what nobody told the prober."""
    return [replace(each, findings=(*each.findings, warning)) for each in endpoints] if warning else endpoints


def _without_kept(endpoint: Endpoint, kept: Collection[str]) -> Endpoint:
    """Without the findings on certificates that are stored elsewhere."""
    named = {subject for subject, sha256 in endpoint.named_sha256 if sha256 in kept}
    second = {Reason.SECOND_CERTIFICATE_STALE} if endpoint.second_sha256 in kept else set()
    others = (each for each in endpoint.findings if each.reason not in second and each.subject not in named)
    return replace(endpoint, findings=tuple(others))


def _wanted(context: Context) -> str:
    return context.snapshot.secret.certificate.sha256 if context.snapshot.secret.certificate else ""


def _stored_at(context: Context) -> datetime | None:
    stored = (each.at for each in context.snapshot.status.history if each.event in {Reason.ISSUED, Reason.ROLLED_BACK})
    return max(stored, default=None)


def _with_workloads(context: Context, states: tuple[WorkloadState, ...]) -> Context:
    """Keep what is known of pods that live and ways that are asked, that on unready pods aside; the rest is gone."""
    verification = context.verification
    ready, unready = (set(each(states, context.desired.server_name)) for each in (targets, resting))
    ways = context.desired.probe.ways - {Way.PODS}
    kept = tuple(each for each in verification.endpoints if each.target in ready or each.target.way in ways)
    evidence = (*verification.set_aside, *verification.endpoints)
    learned = {each.target: each for each in evidence if stands(each)}
    known = {endpoint.target for endpoint in kept}
    aside = tuple(each for target, each in learned.items() if target in ready | unready and target not in known)
    return context.with_snapshot(workloads=states).with_verification(endpoints=kept, set_aside=aside)


def _replaced(states: Sequence[WorkloadState], fresh: WorkloadState) -> tuple[WorkloadState, ...]:
    return tuple(fresh if state.workload == fresh.workload else state for state in states)
