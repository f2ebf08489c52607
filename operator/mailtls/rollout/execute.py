"""Performs a rollout: reads workloads, reloads pods or has them replaced, and probes what was reloaded."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from random import random
from threading import Event
from typing import Self

import structlog

from mailtls.api.installation import Feature, Features
from mailtls.api.state import Failure
from mailtls.api.status import ConditionType
from mailtls.api.workload import Workload
from mailtls.context import Context
from mailtls.kube.bounds import excess, with_bound
from mailtls.kube.interface import Cluster
from mailtls.kube.replacement import evict_pod
from mailtls.kube.workload import WorkloadState
from mailtls.kube.workloads import observe, replace_pod, restart_workload
from mailtls.metrics import Metrics
from mailtls.net.backoff import COUNTED, ROLLOUT, SERVER
from mailtls.net.effects import seconds_left
from mailtls.probe.conversation import USUAL_TIMEOUT
from mailtls.probe.target import Endpoint, Route
from mailtls.reasons.reason import Finding, Reason
from mailtls.rollout.decide import ReadWorkloads, Roll
from mailtls.rollout.going_back import pods_know_the_secret
from mailtls.rollout.permission import ON_PURPOSE, terms_of
from mailtls.rollout.policy import next_roll
from mailtls.rollout.reload import reload_pod
from mailtls.rollout.steps import (
    BACKOFFS,
    Action,
    EvictPod,
    ReloadPod,
    ReplacePod,
    RestartWorkload,
    RolloutFailed,
    RollProgress,
)
from mailtls.rollout.view import settle_time
from mailtls.stage import FILE_PATIENCE, Adapters, Executor
from mailtls.times import Clock
from mailtls.verification.evidence import evidence, resting, targets
from mailtls.verification.execute import Probing
from mailtls.verification.state import stands

log = structlog.get_logger()
IN_STEP = timedelta(seconds=10)  # in which a reloaded server is probed again; to wait for longer is the queue's
JUDGING = timedelta(seconds=5)  # more than a probe takes after its conversation, on a busy machine


@dataclass(frozen=True, slots=True)
class Rolling(Executor):
    """Brings certificates into pods, and probes each that was reloaded."""

    cluster: Cluster
    probing: Probing
    clock: Clock
    metrics: Metrics
    stopping: Event
    features: Features = field(default_factory=Features)
    file_patience: timedelta = FILE_PATIENCE

    @classmethod
    def of(cls, adapters: Adapters) -> Self:
        """Make one."""
        return cls(
            adapters.cluster,
            Probing.of(adapters),
            adapters.clock,
            adapters.metrics,
            adapters.stopping,
            adapters.features,
            adapters.file_patience,
        )

    def read(self, context: Context, _step: ReadWorkloads) -> Context:
        """Read workloads and pods; begin the memory of a rollout where there is none."""
        desired = context.desired
        begun = RollProgress(
            self.clock.now(),
            desired.rollout.timeout,
            retry=True,
            stored_at=_stored_at(context),
            certified_at=_stored_at(context) or (context.leaf.not_before if context.leaf else None),
            secret_made_at=None if pods_know_the_secret(context) else context.snapshot.secret.made_at,
            canary=desired.rollout.canary,
            max_unavailable=desired.rollout.max_unavailable,
            reverted=context.rollout.reverted,
        )
        known = None if _was_held(context) else context.rollout.progress
        return _with_workloads(context.with_rollout(progress=known or begun), self._observed(context))

    def _observed(self, context: Context) -> tuple[WorkloadState, ...]:
        """Read the workloads, but no further ones once there are too many endpoints."""
        states: tuple[WorkloadState, ...] = ()
        for workload in context.desired.workloads:
            states = (*states, self._observe(context, workload))
            if excess(states):
                break
        return states

    def roll(self, context: Context, step: Roll) -> Context:
        """Reload a pod or restart a workload, or remember that the rollout failed and when to try again."""
        if not isinstance(step.step, RolloutFailed) and (off := self._refusal(step.step)) is not None:
            return self._noted(context, step.step, off)
        if isinstance(step.step, ReloadPod):
            return self._reload(context, step.step)
        if isinstance(step.step, RestartWorkload):
            return self._restart(context, step.step)
        if isinstance(step.step, ReplacePod | EvictPod):
            return self._replace(context, step.step)
        self.metrics.rollout_ended("failed")
        failed = context.rollout.failures + 1
        self.metrics.retried(ROLLOUT.kind)
        retry_at = self.clock.now() + ROLLOUT.after(failed, random())  # noqa: S311 - jitter
        found = step.step.finding
        reverted = {found.subject} if found.reason is Reason.TEMPLATE_REVERTED else set()
        return context.with_rollout(
            failures=failed, failure=Failure(found, retry_at), reverted=context.rollout.reverted | reverted
        )

    def _refusal(self, action: Action) -> Finding | None:
        """Say which feature is off that the action needs; None where it may be done."""
        if isinstance(action, ReloadPod):
            return self.features.reload_refusal(action.workload)
        if isinstance(action, EvictPod):
            return self.features.refusal(Feature.EVICTIONS)
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
        if fault is None:
            return self._settle(self._refresh(context, step), step)
        # Of several daemons the first may serve the new certificate already: the next attempt leaves it alone.
        has_begun = fault.reason is Reason.RELOAD_FAILED and len(step.workload.reloaded) > 1
        return self._probed(context, step)[0] if has_begun and _has_time(step.workload) else context

    def _noted(self, context: Context, step: Action, fault: Finding | None) -> Context:
        if fault is not None and (backoff := BACKOFFS.get(fault.reason)) in COUNTED:
            self.metrics.retried(backoff.kind)
        progress = context.rollout.progress
        return context.with_rollout(progress=progress.after(step, fault, self.clock.now()) if progress else None)

    def _settle(self, context: Context, step: ReloadPod) -> Context:
        """Probe the pod until it serves the new certificate; what was seen last is the evidence."""
        progress, workload = context.rollout.progress, step.workload
        settle = settle_time(progress, workload, step.pod) if progress else workload.settle_time
        deadline = self.clock.now() + min(settle, IN_STEP)
        for tries in count(1):
            if not _has_time(workload):
                return _unprobed(context, step)
            context, probed = self._probed(context, step)
            served = all(each.served_sha256 == _wanted(context) for each in probed)
            if served or self._is_more_to_do(context) or self.clock.now() >= deadline:
                break
            if self.stopping.wait(SERVER.after(tries).total_seconds()):
                break
        return context

    def _probed(self, context: Context, step: ReloadPod) -> tuple[Context, Sequence[Endpoint]]:
        every = targets(context.snapshot.workloads or (), context.desired.server_name)
        probed = self.probing.probe_targets(context, tuple(each for each in every if each.pod == step.pod.name))
        return replace(context, verification=context.verification.with_answers(probed)), probed

    def _is_more_to_do(self, context: Context) -> bool:
        """Whether another pod of the wave can be reloaded while this one takes its time."""
        known = context.snapshot.workloads, context.rollout.progress
        if known[0] is None or known[1] is None:
            return False
        terms = terms_of(context)
        step = next_roll(known[0], evidence(context), _wanted(context), known[1], self.clock.now(), terms=terms)
        return isinstance(step, ReloadPod)

    def _restart(self, context: Context, step: RestartWorkload) -> Context:
        key, name, now = context.desired.key, context.desired.secret_name, self.clock.now()
        state = next(each for each in context.snapshot.workloads or () if each.workload == step.workload)
        fault = restart_workload(self.cluster, key.namespace, state, _wanted(context), name, now=now)
        return self._refresh(self._noted(context, step, fault), step)

    def _replace(self, context: Context, step: ReplacePod | EvictPod) -> Context:
        remove = evict_pod if isinstance(step, EvictPod) else replace_pod
        fault = remove(self.cluster, context.desired.key.namespace, step.pod)
        return self._refresh(self._noted(context, step, fault), step)

    def _refresh(self, context: Context, step: Action) -> Context:
        fresh = self._observe(context, step.workload)
        return _with_workloads(context, _replaced(context.snapshot.workloads or (), fresh))

    def _observe(self, context: Context, workload: Workload) -> WorkloadState:
        desired, secret = context.desired, context.snapshot.secret
        return observe(
            self.cluster, desired.key.namespace, workload, desired.secret_name, is_immutable=secret.is_immutable
        )


def _has_time(workload: Workload) -> bool:
    """Whether the step lasts for as long as the slowest port of a pod may take to answer: cut short, it seems dead."""
    try:
        left = seconds_left()
    except TimeoutError:
        return False
    slowest = max((port.timeout or USUAL_TIMEOUT for port in workload.ports), default=timedelta(0))
    return left is None or slowest + JUDGING < timedelta(seconds=left)


def _unprobed(context: Context, step: ReloadPod) -> Context:
    """Forget what the pod served before its reload, so that the next step probes it, in a time of its own."""
    others = tuple(each for each in context.verification.endpoints if each.target.pod != step.pod.name)
    return context.with_verification(endpoints=others)


def _wanted(context: Context) -> str:
    return context.leaf.sha256 if context.leaf else ""


def _stored_at(context: Context) -> datetime | None:
    stored = (each.at for each in context.snapshot.status.history if each.event in {Reason.ISSUED, Reason.ROLLED_BACK})
    return max(stored, default=None)


def _was_held(context: Context) -> bool:
    """Whether the rollout waited on purpose when it was last reported: that time counts for no time-out."""
    before = context.snapshot.status.condition(ConditionType.ROLLED_OUT)
    return before is not None and before.reason in ON_PURPOSE


def _with_workloads(context: Context, read: tuple[WorkloadState, ...]) -> Context:
    """Keep what is known of pods that live and of routes that are probed, that of unready pods aside; drop the rest."""
    verification, states = context.verification, with_bound(context.desired.workloads, read)
    ready, unready = (set(each(states, context.desired.server_name)) for each in (targets, resting))
    routes = context.desired.probe.routes - {Route.PODS}
    kept = tuple(each for each in verification.endpoints if each.target in ready or each.target.route in routes)
    evidence = (*verification.set_aside, *verification.endpoints)
    learned = {each.target: each for each in evidence if stands(each)}
    known = {endpoint.target for endpoint in kept}
    aside = tuple(each for target, each in learned.items() if target in ready | unready and target not in known)
    shown = {target: each for target, each in verification.shown.items() if target in ready | unready}
    return context.with_snapshot(workloads=states).with_verification(endpoints=kept, set_aside=aside, shown=shown)


def _replaced(states: Sequence[WorkloadState], fresh: WorkloadState) -> tuple[WorkloadState, ...]:
    return tuple(fresh if state.workload == fresh.workload else state for state in states)
