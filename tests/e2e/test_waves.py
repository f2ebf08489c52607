"""Canary, waves and evictions with real Postfix pods on a real cluster."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from e2e.postfixes import pod_spec, workload
from mailtls.api.spec import Amount, Rollout
from mailtls.api.workload import UpdateStrategy, WorkloadKind
from mailtls.reasons.reason import Reason
from mailtls.rollout.steps import EvictPod, ReloadPod, RolledOut, RolloutFailed

if TYPE_CHECKING:
    from e2e.postfixes import Mail

pytestmark = pytest.mark.cluster

PLAN = Rollout(canary=Amount(1), max_unavailable=Amount(50, is_share=True))


def test_pods_are_reloaded_by_the_plan_and_then_evicted_as_their_budget_allows(mail: Mail) -> None:
    """The same pods: each is reloaded once; a budget that keeps them from being evicted is named, and then lifted."""
    postfix = workload(WorkloadKind.STATEFUL_SET, UpdateStrategy.RELOAD)
    first = mail.authority.issue()
    mail.store(first)
    mail.deploy(postfix, pod_spec(), replicas=4)
    assert {each.served_sha256 for each in mail.probe((mail.observe(postfix),), first)} == {first.sha256}

    renewed = mail.authority.issue()
    mail.store(renewed)
    end, steps = mail.roll(renewed, postfix, plan=PLAN)
    pods = mail.observe(postfix).pods
    assert end == RolledOut()
    assert sorted(step.pod.name for step in steps if isinstance(step, ReloadPod)) == [pod.name for pod in pods]
    assert {pod.node for pod in pods} != {""}

    last = mail.authority.issue()
    mail.store(last)
    evicting = workload(WorkloadKind.STATEFUL_SET, UpdateStrategy.EVICT)
    budgets = f"/apis/policy/v1/namespaces/{mail.namespace}/poddisruptionbudgets"
    spec = {"minAvailable": 4, "selector": {"matchLabels": {"app": postfix.name}}}
    mail.cluster.create(
        budgets,
        {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "all-of-them"}, "spec": spec},
    )
    end, steps = mail.roll(last, evicting, plan=PLAN, timeout=timedelta(seconds=12))
    assert isinstance(end, RolloutFailed)
    assert end.finding.reason is Reason.ROLLOUT_TIMEOUT
    assert "all-of-them" in end.finding.message
    assert len(steps) >= 2
    assert [pod.uid for pod in mail.observe(postfix).living_pods] == [pod.uid for pod in pods]

    mail.cluster.merge(f"{budgets}/all-of-them", {"spec": {"minAvailable": 2}})
    end, steps = mail.roll(last, evicting, plan=PLAN)
    assert end == RolledOut()
    after = mail.observe(evicting).living_pods
    assert len(after) == 4
    assert {pod.uid for pod in after}.isdisjoint(pod.uid for pod in pods)
    assert {step.pod.uid for step in steps if isinstance(step, EvictPod)} == {pod.uid for pod in pods}
    endpoints = mail.probe((mail.observe(evicting),), last)
    assert {endpoint.served_sha256 for endpoint in endpoints} == {last.sha256}
