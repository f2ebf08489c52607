"""A rollout that waits on purpose: nobody is alarmed, nothing is probed for it, and no time-out counts the wait."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from builders.contexts import next_step, wanting
from builders.endpoints import POSTFIX, proven
from builders.reconciles import Operator
from builders.stories import DAY, NOW, desired
from fakes.clock import StoppedClock
from mailtls.api.spec import Approval, Rollout
from mailtls.api.status import Condition, ConditionType, RolloutReport, ServedCount, Status, Truth, WorkloadReport
from mailtls.api.status_json import read, write
from mailtls.api.windows import Window
from mailtls.api.workload import UpdateStrategy
from mailtls.context import Context
from mailtls.controller.conditions import conditions
from mailtls.controller.status_writer import report_of
from mailtls.domains.policy import CheckDomains
from mailtls.metrics import Metrics
from mailtls.net.backoff import PROBE
from mailtls.probe.target import Depth, Endpoint, Expected, Route, Target
from mailtls.reasons.reason import Finding, Reason
from mailtls.resource_metrics import Known, Served
from mailtls.rollout.conditions import summary
from mailtls.rollout.decide import ReadWorkloads, Roll, held
from mailtls.rollout.execute import Rolling
from mailtls.rollout.turns import Turn
from mailtls.step import Rest
from mailtls.verification.conditions import served, while_held
from mailtls.verification.schedule import next_probe_at, swept_again_at

OLD = Finding(Reason.SERVING_OLD_CERTIFICATE, "The old certificate is served.")
CLOSED = Rollout(windows=(Window("0 2 * * *", timedelta(hours=3)),))  # NOW is at noon
OPENS_AT = NOW.replace(hour=2) + DAY
WANTED = desired(workloads=(POSTFIX,), rollout=CLOSED)


class AllIsWell:
    """A prober that finds the wanted certificate everywhere."""

    def __init__(self, clock: StoppedClock) -> None:
        self.clock = clock

    def probe(self, targets: Iterable[Target], expected: Expected, depth: Depth = Depth.QUICK) -> Sequence[Endpoint]:
        """Answer for each target at once."""
        return [Endpoint(each, self.clock.now(), served_sha256=expected.leaf_sha256) for each in targets]


def waiting() -> Context:
    """The second half of the endpoints serves the certificate, and the first another one that is good for a month."""
    have = proven(OLD, OLD)
    endpoints = (replace(each, served_not_after=NOW + 30 * DAY) for each in have.verification.endpoints)
    return wanting(WANTED, have.with_verification(endpoints=tuple(endpoints)))


def said(context: Context) -> dict[ConditionType, Condition]:
    """The conditions as they are reported."""
    return {each.type: each for each in conditions(while_held(context, NOW), NOW)}


def test_resource_stays_ready_and_says_what_the_next_certificate_waits_for() -> None:
    """What is served is good; RolledOut says that it is not the newest, and nothing is false for an alarm's sake."""
    now = said(waiting())
    rolled, verified, ready = (now[ConditionType(each)] for each in ("RolledOut", "Verified", "Ready"))
    assert (rolled.status, rolled.reason) == (Truth.FALSE, Reason.WAITING_FOR_WINDOW)
    assert (verified.status, verified.reason) == (Truth.TRUE, Reason.VERIFIED)
    assert verified.message == (
        "2 of 4 endpoints serve the stored certificate, and 2 another one that clients accept, until their pods' turn "
        "comes."
    )
    assert (ready.status, ready.reason) == (Truth.TRUE, Reason.WAITING_FOR_WINDOW)
    assert ready.message == f"What is served is good. {rolled.message}"
    assert served(while_held(waiting(), NOW)) == ServedCount(2, 4)


def test_other_faults_are_said_while_the_rollout_waits() -> None:
    """Only that a pod has not got the certificate yet is no fault."""
    have = proven(Finding(Reason.STARTTLS_UNAVAILABLE, "No."), OLD)
    paused = wanting(replace(WANTED, is_paused=True), have)
    now = said(paused)
    assert now[ConditionType.ROLLED_OUT].reason is Reason.ROLLOUT_PAUSED
    assert now[ConditionType.VERIFIED].reason is Reason.STARTTLS_UNAVAILABLE
    assert now[ConditionType.READY].status is Truth.FALSE


def test_pods_that_read_their_files_by_themselves_fail_as_ever() -> None:
    """Their turn does not come: with `updateStrategy: None` they should have the certificate."""
    by_itself = replace(POSTFIX, update_strategy=UpdateStrategy.NONE)
    have = proven(OLD)
    states = tuple(replace(each, workload=by_itself) for each in have.snapshot.workloads or ())
    now = said(wanting(replace(WANTED, workloads=(by_itself,)), have.with_snapshot(workloads=states)))
    assert now[ConditionType.VERIFIED].reason is Reason.SERVING_OLD_CERTIFICATE


def test_services_are_probed_when_every_pod_has_the_certificate_and_nobody_waits_for_that() -> None:
    """Until then they would show one certificate or the other by chance, which makes the resource no less Ready."""
    probing = replace(WANTED.probe, routes=frozenset({Route.PODS, Route.SERVICE}))
    now = said(wanting(replace(WANTED, probe=probing), waiting()))
    assert now[ConditionType.READY].status is Truth.TRUE


def test_waiting_costs_no_probe_before_the_next_sweep_and_is_over_when_the_window_opens() -> None:
    """What fails otherwise is probed again within seconds; other stages go on meanwhile."""
    have = waiting()
    assert next_probe_at(have, NOW) == swept_again_at(WANTED, NOW)
    assert next_probe_at(wanting(replace(WANTED, rollout=Rollout()), have), NOW) == NOW + PROBE.first
    step = next_step(have, NOW)
    assert not isinstance(step, Roll)
    assert isinstance(step, Rest | CheckDomains)
    at_night = replace(WANTED, probe=replace(WANTED.probe, interval=2 * DAY))
    rest = next_step(wanting(at_night, have), NOW)
    assert rest == Rest(OPENS_AT)
    in_turn = wanting(at_night, have).with_rollout(turn=Turn(is_granted=True))
    assert isinstance(next_step(in_turn, OPENS_AT), Roll)


def test_port_that_waits_is_measured_as_one_that_warns() -> None:
    """The certificate differs, which is true, and the probe succeeded; alerts tell both apart by the severity."""
    metrics = Metrics()
    have = while_held(waiting(), NOW)
    metrics.update(have.desired.key, Known(served=Served(have.verification.endpoints)))
    labels = {"namespace": "mail", "name": "mx", "workload": "StatefulSet/postfix", "pod": "postfix-0", "port": "25"}

    def value(name: str, **more: str) -> float | None:
        return metrics.registry.get_sample_value(name, labels | more)

    assert value("mailtls_endpoint_probe_success") == 1
    assert value("mailtls_endpoint_certificate_matches") == 0
    assert value("mailtls_endpoint_finding", reason="ServingOldCertificate", severity="Warn") == 1


def test_nothing_is_presented_as_waiting_where_a_pod_may_be_begun() -> None:
    """A rollout that goes on, or has failed, warns of nothing away."""
    going = wanting(replace(WANTED, rollout=Rollout()), waiting())
    assert while_held(going, NOW) == going
    approved = wanting(replace(WANTED, rollout=Rollout(approval=Approval.REQUIRED), approved="aa" * 32), waiting())
    assert held(approved, NOW) is None
    assert held(wanting(replace(WANTED, rollout=Rollout(approval=Approval.REQUIRED)), waiting()), NOW) is not None


@pytest.mark.parametrize(
    ("reason", "is_anew"),
    [(Reason.WAITING_FOR_WINDOW, True), (Reason.ROLLOUT_PAUSED, True), (Reason.ROLLING_OUT, False)],
)
def test_time_that_a_rollout_waited_counts_for_no_time_out(reason: Reason, is_anew: bool) -> None:
    """After a night of waiting every pod has the whole of spec.rollout.timeout."""
    clock = StoppedClock()
    operator = Operator(clock, AllIsWell(clock))
    operator.look()
    before = Condition(ConditionType.ROLLED_OUT, Truth.FALSE, reason, "It waits.", clock.now(), 1)
    have = operator.seen.with_snapshot(status=Status(conditions=(before,)), workloads=None)
    clock.advance(timedelta(hours=8))
    rolling = operator.executors[Rolling]
    assert isinstance(rolling, Rolling)
    progress = rolling.read(have, ReadWorkloads()).rollout.progress
    assert progress is not None
    assert (progress.started_at == clock.now()) is is_anew


def test_status_counts_the_pods_of_each_workload() -> None:
    """Proven, in flight, and those that were not begun; why the rollout waits and until when."""
    waits = RolloutReport((WorkloadReport("StatefulSet/postfix", 2, 1, 0),), Reason.WAITING_FOR_WINDOW, OPENS_AT)
    assert summary(waiting(), NOW) == waits
    assert read(write(report_of(waiting(), (), NOW))).rollout == waits
    told = tuple(
        replace(each, pods=tuple(replace(pod, reloaded_sha256="aa" * 32) for pod in each.pods))
        for each in waiting().snapshot.workloads or ()
    )
    going = summary(waiting().with_snapshot(workloads=told), NOW)
    assert going == RolloutReport((WorkloadReport("StatefulSet/postfix", 2, 1, 1),))
    assert summary(waiting().with_snapshot(workloads=None), NOW) is None
