"""Canary and waves: how many pods are acted on at once, and which."""

from dataclasses import replace
from datetime import timedelta

import pytest

from builders.rolling import NEW, NOW, OLD, SMTP, all_serve, evidence, pod, progress, seen, state, workload
from mailtls.api.spec import Amount
from mailtls.api.workload import UpdateStrategy
from mailtls.kube.workload import PodState, WorkloadState
from mailtls.reasons.reason import Finding, Reason
from mailtls.rollout.policy import next_roll
from mailtls.rollout.steps import (
    EvictPod,
    PutOff,
    ReloadPod,
    RolledOut,
    RolloutFailed,
    RollProgress,
    RollStep,
    WaitForPods,
)
from mailtls.rollout.view import View
from mailtls.rollout.waves import Wave, reloading, wave
from mailtls.verification.evidence import Evidence

SECOND = timedelta(seconds=1)


def planned(canary: int = 1, most: int = 1, *, share: bool = False, **acted: int) -> RollProgress:
    """An attempt by such a plan; `acted` pods were acted on so many seconds ago."""
    begun = progress(retry=True, started=timedelta(minutes=5))
    acted_at = {f"uid-of-{name}": NOW - seconds * SECOND for name, seconds in acted.items()}
    return replace(begun, canary=Amount(canary), max_unavailable=Amount(most, is_share=share), acted_at=acted_at)


def on(node: str, name: str, told: str | None = None) -> PodState:
    """A pod of a node."""
    return replace(pod(name, told=told), node=node)


def step(found: WorkloadState, serving: str, plan: RollProgress) -> RollStep:
    """What is done next where these pods serve the new certificate, and the others the old one."""
    names = serving.split()
    old = [each.name for each in found.pods if each.name not in names]
    return next_roll([found], evidence(all_serve(NEW, *names), all_serve(OLD, *old)), NEW, plan, NOW)


def reloaded(found: RollStep) -> str:
    """The pod that is reloaded."""
    assert isinstance(found, ReloadPod), found
    return found.pod.name


@pytest.mark.parametrize(
    ("proven", "in_flight", "room", "number"),
    [(0, 0, 2, 0), (0, 1, 1, 0), (0, 2, 0, 0), (1, 1, 0, 0), (2, 0, 3, 1), (2, 2, 1, 1), (4, 3, 0, 1), (5, 0, 3, 2)],
)
def test_room_is_the_canary_first_and_then_that_of_a_wave(proven: int, in_flight: int, room: int, number: int) -> None:
    """Two pods are the canary here, and three may be in flight."""
    found = Wave(canary=2, most=3, proven=proven, in_flight=in_flight, total=9)
    assert (found.room, found.number) == (room, number)


def test_no_other_pod_is_touched_before_the_canary_is_proven() -> None:
    """However large the waves are."""
    pods = state(pod("p0", told=NEW), pod("p1"), pod("p2"))
    found = step(pods, "", planned(1, 3, p0=1))
    assert isinstance(found, WaitForPods)
    assert found.finding.reason is Reason.ROLLING_OUT


def test_wave_goes_on_beside_pods_that_take_their_time() -> None:
    """As long as it has room; then they are awaited."""
    first = state(pod("p0", told=NEW), pod("p1", told=NEW), pod("p2"), pod("p3"))
    assert reloaded(step(first, "p0", planned(1, 2, p1=1))) == "p2"
    full = state(pod("p0", told=NEW), pod("p1", told=NEW), pod("p2", told=NEW), pod("p3"))
    assert isinstance(step(full, "p0", planned(1, 2, p1=2, p2=1)), WaitForPods)


def test_wave_takes_pods_of_other_nodes_first() -> None:
    """So that no node loses all of its pods to one wave."""
    pods = state(on("a", "p0", NEW), on("a", "p1", NEW), on("a", "p2"), on("b", "p3"))
    assert reloaded(step(pods, "p0", planned(1, 2, p1=1))) == "p3"


def test_pod_that_fails_stops_the_wave() -> None:
    """Nothing further is begun, though there is room."""
    pods = state(pod("p0", told=NEW), pod("p1", told=NEW), pod("p2"))
    found = step(pods, "p0", planned(1, 2, p1=60))
    assert isinstance(found, RolloutFailed)
    assert found.finding.reason is Reason.SERVING_OLD_CERTIFICATE


def test_failed_canary_names_the_others_that_were_touched() -> None:
    """A canary of two pods is two."""
    pods = state(pod("p0", told=NEW), pod("p1", told=NEW), pod("p2"))
    found = step(pods, "", planned(2, 2, p0=60, p1=60))
    assert isinstance(found, RolloutFailed)
    assert found.finding.reason is Reason.CANARY_FAILED
    assert "No other pod of its workload was touched besides p1." in found.finding.message


def test_pod_whose_file_is_old_leaves_the_wave_to_others() -> None:
    """One kubelet that takes its time delays only its own pod."""
    pods = state(pod("p0", told=NEW), pod("p1", told=NEW), pod("p2"), pod("p3"))
    late = PutOff(Finding(Reason.FILE_NOT_UPDATED, "Old."), NOW - SECOND, 1, NOW + 4 * SECOND)
    plan = replace(planned(1, 2), put_off={"uid-of-p1": late})
    assert reloaded(step(pods, "p0", plan)) == "p2"
    alone = step(pods, "p0", replace(plan, max_unavailable=Amount(1)))
    assert alone == WaitForPods(late.finding, late.again_at)


def test_pod_whose_reload_failed_before_it_was_up_is_judged_by_what_it_serves_then() -> None:
    """It is waited for, to the time-out; once it is ready, its evidence counts, and one reload more is allowed."""
    early = PutOff(Finding(Reason.POD_NOT_READY, "Pod p0 is not ready: ..."), NOW - 6 * SECOND, 1, NOW - SECOND)
    plan = replace(planned(), put_off={"uid-of-p0": early}, retry=True)
    assert step(state(pod("p0", told=NEW)), "p0", plan) == RolledOut()
    assert reloaded(step(state(pod("p0", told=NEW)), "", plan)) == "p0"
    waiting = step(state(pod("p0", told=NEW, ready=False)), "", plan)
    assert isinstance(waiting, WaitForPods)
    over = replace(plan, put_off={"uid-of-p0": replace(early, since=NOW - plan.timeout)})
    assert step(state(pod("p0", told=NEW, ready=False)), "", over) == RolloutFailed(early.finding)


def test_pod_without_a_port_is_tried_again_though_its_annotation_says_that_it_was_reloaded() -> None:
    """Its kubelet was woken by that annotation, and its file was old still."""
    late = PutOff(Finding(Reason.FILE_NOT_UPDATED, "Old."), NOW - 6 * SECOND, 1, NOW - SECOND)
    found = state(pod("p0", told=NEW), of=workload(ports=()))
    assert reloaded(step(found, "", replace(planned(), put_off={"uid-of-p0": late}))) == "p0"


def test_next_workload_waits_for_pods_in_flight() -> None:
    """Workloads go in the order given, also where the wave would have room."""
    first = state(pod("p0", told=NEW), pod("p1", told=NEW))
    second = state(pod("q0"), of=workload(name="second"))
    seen_now = evidence(all_serve(NEW, "p0"), all_serve(OLD, "p1", "q0"))
    assert isinstance(next_roll([first, second], seen_now, NEW, planned(1, 2, p1=1), NOW), WaitForPods)


def test_share_is_of_the_pods_that_there_should_be() -> None:
    """Also while some of them are missing."""
    pods = [pod(f"p{number}", told=NEW if number else None) for number in range(4)]
    found = state(*pods, of=workload(ports=(SMTP,)), wanted=8)
    view = View((found,), evidence(all_serve(OLD, *(each.name for each in pods))), NEW, planned(1, 50, share=True), NOW)
    assert len(reloading(view, found)) == 3
    assert wave(view, found, 3) == Wave(canary=1, most=4, proven=0, in_flight=3, total=8)


def test_pod_that_never_started_is_awaited_and_not_evicted() -> None:
    """It reads the certificate when it starts, and evicting it would only begin that anew."""
    older = replace(pod("p0", ready=False), made_at=NOW - timedelta(hours=1), started_at=None)
    found = state(older, of=workload(UpdateStrategy.EVICT))
    plan = replace(planned(), certified_at=NOW - 60 * SECOND)
    waiting = next_roll([found], {}, NEW, plan, NOW)
    assert isinstance(waiting, WaitForPods)
    assert waiting.finding.reason is Reason.POD_NOT_READY
    crashed = state(replace(older, started_at=NOW - timedelta(minutes=30)), of=workload(UpdateStrategy.EVICT))
    assert isinstance(next_roll([crashed], {}, NEW, plan, NOW), EvictPod)


@pytest.mark.parametrize("strategy", [UpdateStrategy.EVICT, UpdateStrategy.RELOAD, UpdateStrategy.RESTART])
def test_pod_that_proved_the_certificate_before_its_node_was_lost_is_left_alone(strategy: UpdateStrategy) -> None:
    """After a rollback to what it serves it is older than the certificate, and would gain nothing by being replaced."""
    started = NOW - timedelta(hours=1)
    pods = [replace(pod(f"p{n}", ready=n > 0), made_at=started, started_at=started) for n in (0, 1)]
    found = state(*pods, of=workload(strategy))
    plan = replace(planned(), certified_at=NOW - 60 * SECOND, stored_at=NOW - 60 * SECOND)
    proven = next_roll([found], evidence(all_serve(NEW, "p0", "p1")), NEW, plan, NOW)
    assert isinstance(proven, WaitForPods)
    assert proven.finding.reason is Reason.POD_NOT_READY
    for known in (evidence(all_serve(NEW, "p1"), all_serve(NEW, "p0")[:1]), evidence(all_serve(NEW, "p1"))):
        assert not isinstance(next_roll([found], known, NEW, plan, NOW), WaitForPods), "a port that was not seen"


def test_pod_whose_port_closes_after_it_proved_the_certificate_is_not_evicted() -> None:
    """Its processes have the certificate, so that another pod gains nothing; the port is said by itself."""
    older = [replace(pod(f"p{n}"), made_at=NOW - timedelta(hours=1)) for n in (0, 1)]
    found = state(*older, of=workload(UpdateStrategy.EVICT))
    plan = replace(planned(), certified_at=NOW - 60 * SECOND)
    closed = seen("p0", SMTP, None, Reason.CONNECTION_REFUSED)

    def known(showed: str | None) -> Evidence:
        others = all_serve(NEW, "p0", "p1")[1:]
        return evidence(others, [replace(closed, showed_sha256=showed)])

    waiting = next_roll([found], known(NEW), NEW, plan, NOW)
    assert isinstance(waiting, WaitForPods)
    assert waiting.finding.reason is Reason.CONNECTION_REFUSED
    for showed in (OLD, None):
        evicted = next_roll([found], known(showed), NEW, plan, NOW)
        assert isinstance(evicted, EvictPod)
        assert evicted.pod.name == "p0"
