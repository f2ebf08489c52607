"""The next step of a rollout, check by check and composed."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from builders.rolling import NEW, NOW, OLD, SMTP, SMTPS, all_serve, evidence, pod, progress, seen, state, workload
from mailtls.api.workload import Daemon, UpdateStrategy
from mailtls.kube.mounts import KEPT_SINCE_START
from mailtls.kube.workload import PodState
from mailtls.reasons.reason import Finding, Reason, Severity
from mailtls.reasons.software import Software
from mailtls.rollout import policy as roll
from mailtls.rollout.policy import next_roll
from mailtls.rollout.steps import (
    Held,
    ReloadPod,
    ReplacePod,
    RestartWorkload,
    RolledOut,
    RolloutFailed,
    RollStep,
    WaitForPods,
)
from mailtls.rollout.view import Terms, View, may_have_started_before
from mailtls.verification.evidence import gather, targets

ROLLOUT = workload(UpdateStrategy.RESTART)
BY_ITSELF = workload(UpdateStrategy.NONE)
BROKEN = Finding(Reason.SECRET_NOT_MOUNTED, "No container mounts it.")
SUB_PATH = Finding(Reason.SUB_PATH_MOUNT, "Never updates.")
LATER = timedelta(minutes=1)


def failed_for(step: RollStep) -> Reason:
    """Return the reason of a step that must be a failure."""
    assert isinstance(step, RolloutFailed), step
    return step.finding.reason


def awaited(step: RollStep) -> Reason:
    """Return what a step that must be a wait waits for."""
    assert isinstance(step, WaitForPods), step
    assert step.until > NOW
    return step.finding.reason


def reloaded(step: RollStep) -> str:
    """Return the pod of a step that must be a reload."""
    assert isinstance(step, ReloadPod), step
    return step.pod.name


def test_all_ports_proven_is_rolled_out() -> None:
    """Pods that serve the leaf need nothing, told or not."""
    states = [state(pod("p-0"), pod("p-1", told=NEW))]
    assert next_roll(states, evidence(all_serve(NEW, "p-0", "p-1")), NEW, progress(), NOW) == RolledOut()


def test_no_workloads_is_rolled_out() -> None:
    """A resource without workloads has nothing to bring out."""
    assert next_roll([], {}, NEW, progress(), NOW) == RolledOut()


def test_stale_pods_reload_the_first_as_canary() -> None:
    """The first pod in order is told first."""
    states = [state(pod("p-0"), pod("p-1"))]
    assert reloaded(next_roll(states, evidence(all_serve(OLD, "p-0", "p-1")), NEW, progress(), NOW)) == "p-0"


def test_one_stale_port_reloads_the_pod() -> None:
    """A pod is proven only by all of its ports."""
    seen_now = evidence([seen("p-0", SMTP, NEW), seen("p-0", SMTPS, OLD)])
    assert reloaded(next_roll([state(pod("p-0"))], seen_now, NEW, progress(), NOW)) == "p-0"


def test_pod_told_of_the_last_certificate_is_reloaded() -> None:
    """An annotation that names another leaf is history."""
    states = [state(pod("p-0", told=OLD))]
    assert reloaded(next_roll(states, evidence(all_serve(OLD, "p-0")), NEW, progress(), NOW)) == "p-0"


def test_canary_proven_reloads_the_next() -> None:
    """The proof of the canary lets the second pod have its turn."""
    states = [state(pod("p-0", told=NEW), pod("p-1"))]
    seen_now = evidence(all_serve(NEW, "p-0"), all_serve(OLD, "p-1"))
    assert reloaded(next_roll(states, seen_now, NEW, progress(), NOW)) == "p-1"


@pytest.mark.parametrize(
    "reason",
    [Reason.STARTTLS_UNAVAILABLE, Reason.STARTTLS_NOT_ADVERTISED, Reason.TLS_HANDSHAKE_FAILED, Reason.SELF_SIGNED],
)
def test_other_tls_fault_reloads_the_pod(reason: Reason) -> None:
    """Faults from STARTTLS on may come from an unloadable certificate, so a reload may mend them."""
    states = [state(pod("p-0"))]
    assert reloaded(next_roll(states, evidence(all_serve(None, "p-0", reason=reason)), NEW, progress(), NOW)) == "p-0"


def test_starttls_missing_as_warning_still_reloads_the_pod() -> None:
    """The probe may tolerate a port without STARTTLS; a rollout has no proof without a certificate."""
    seen_now = evidence([seen("p-0", SMTP, None, Reason.STARTTLS_NOT_ADVERTISED, Severity.WARN)])
    states = [state(pod("p-0"), of=workload(ports=(SMTP,)))]
    assert reloaded(next_roll(states, seen_now, NEW, progress(), NOW)) == "p-0"


def test_told_canary_just_told_is_given_time_to_settle() -> None:
    """A server may take moments from its reload to serving."""
    canary = pod("p-0", told=NEW)
    step = ReloadPod(workload(), canary)
    begun = progress().after(step, None, NOW - timedelta(seconds=3))
    found = next_roll([state(canary, pod("p-1"))], evidence(all_serve(OLD, "p-0", "p-1")), NEW, begun, NOW)
    assert isinstance(found, WaitForPods)
    assert found.finding.reason is Reason.ROLLING_OUT, "no fault yet"
    assert "Its server has time until 2026-05-01 12:00:07 UTC (settleTime)." in found.finding.message
    closed = evidence(all_serve(None, "p-0", reason=Reason.CONNECTION_REFUSED))
    assert awaited(next_roll([state(canary)], closed, NEW, begun, NOW)) is Reason.CONNECTION_REFUSED


@pytest.mark.parametrize(("seconds", "pause"), [(2, 0.5), (20, 2.5), (59, 5.0), (60, None)])
def test_server_whose_reload_takes_long_is_waited_for_by_its_settle_time(seconds: int, pause: float | None) -> None:
    """It is probed ever less often, and has failed when the time is over."""
    slow, canary = replace(workload(), settle_time=timedelta(minutes=1)), pod("p-0", told=NEW)
    begun = progress().after(ReloadPod(slow, canary), None, NOW - timedelta(seconds=seconds))
    states = [state(canary, pod("p-1"), of=slow)]
    found = next_roll(states, evidence(all_serve(OLD, "p-0", "p-1")), NEW, begun, NOW)
    if pause is None:
        assert failed_for(found) is Reason.CANARY_FAILED
    else:
        assert isinstance(found, WaitForPods)
        assert found.until == NOW + timedelta(seconds=pause)


def test_told_canary_still_stale_fails_the_canary_and_names_pod_port_and_reason() -> None:
    """The message tells a person where to look."""
    canary = pod("p-0", told=NEW)
    begun = progress().after(ReloadPod(workload(), canary), None, NOW - LATER)
    seen_now = evidence([seen("p-0", SMTP, NEW), seen("p-0", SMTPS, OLD)], all_serve(OLD, "p-1"))
    found = next_roll([state(canary, pod("p-1"))], seen_now, NEW, begun, NOW)
    assert failed_for(found) is Reason.CANARY_FAILED
    assert isinstance(found, RolloutFailed)
    for part in ("p-0", "port 465", "ServingOldCertificate"):
        assert part in found.finding.message


def test_later_pod_still_stale_fails_by_the_reason_of_its_port() -> None:
    """Once a pod is proven, a failing one is no canary."""
    second = pod("p-1", told=NEW)
    begun = progress().after(ReloadPod(workload(), second), None, NOW - LATER)
    seen_now = evidence(
        all_serve(NEW, "p-0"), all_serve(None, "p-1", reason=Reason.STARTTLS_UNAVAILABLE), all_serve(OLD, "p-2")
    )
    found = next_roll([state(pod("p-0", told=NEW), second, pod("p-2"))], seen_now, NEW, begun, NOW)
    assert failed_for(found) is Reason.STARTTLS_UNAVAILABLE


def test_told_pod_refusing_connections_fails_by_that_reason() -> None:
    """A fault before TLS is named as it is, and no other pod is risked."""
    canary = pod("p-0", told=NEW)
    begun = progress().after(ReloadPod(workload(), canary), None, NOW - LATER)
    seen_now = evidence(all_serve(None, "p-0", reason=Reason.CONNECTION_REFUSED), all_serve(OLD, "p-1"))
    assert failed_for(next_roll([state(canary, pod("p-1"))], seen_now, NEW, begun, NOW)) is Reason.CONNECTION_REFUSED


def test_told_pod_losing_readiness_is_awaited_then_fails() -> None:
    """A pod that a reload knocked over holds the rollout until its time-out."""
    canary = pod("p-0", told=NEW, ready=False)
    begun = progress().after(ReloadPod(workload(), canary), None, NOW - LATER)
    states, seen_now = [state(canary, pod("p-1"))], evidence(all_serve(OLD, "p-1"))
    assert awaited(next_roll(states, seen_now, NEW, begun, NOW)) is Reason.POD_NOT_READY
    late = NOW + timedelta(minutes=10)
    assert failed_for(next_roll(states, seen_now, NEW, begun, late)) is Reason.POD_NOT_READY


def test_pod_told_by_an_earlier_attempt_without_retry_fails_the_canary() -> None:
    """Telling again and again without an end would hide the fault."""
    states = [state(pod("p-0", told=NEW))]
    assert failed_for(next_roll(states, evidence(all_serve(OLD, "p-0")), NEW, progress(), NOW)) is Reason.CANARY_FAILED


def test_pod_told_by_an_earlier_attempt_with_retry_is_told_again_before_any_other() -> None:
    """The operator may have died between annotation and reload; the pod in flight has its turn first."""
    states = [state(pod("p-0"), pod("p-1", told=NEW))]
    found = next_roll(states, evidence(all_serve(OLD, "p-0", "p-1")), NEW, progress(retry=True), NOW)
    assert reloaded(found) == "p-1"


def test_retry_tells_each_pod_only_once() -> None:
    """One attempt tells a pod once, so it comes to an end."""
    canary = pod("p-0", told=NEW)
    begun = progress(retry=True).after(ReloadPod(workload(), canary), None, NOW - LATER)
    found = next_roll([state(canary)], evidence(all_serve(OLD, "p-0")), NEW, begun, NOW)
    assert failed_for(found) is Reason.CANARY_FAILED


def test_annotation_taken_away_does_not_tell_the_pod_again() -> None:
    """A tool that removes foreign annotations must not cause reload after reload."""
    canary = pod("p-0")
    begun = progress().after(ReloadPod(workload(), canary), None, NOW - LATER)
    found = next_roll([state(canary)], evidence(all_serve(OLD, "p-0")), NEW, begun, NOW)
    assert failed_for(found) is Reason.CANARY_FAILED


def test_template_annotation_taken_away_does_not_restart_again() -> None:
    """A tool that reverts the template must not cause restart after restart: it is named once all is as before.

    That holds in the attempt that asked, in a later one of the process, and in a later process, by the annotation of
    the workload. What the pods serve has the last word.
    """
    asked = progress().after(RestartWorkload(ROLLOUT), None, NOW)
    left = replace(state(pod("p-0"), of=ROLLOUT), template_keeper="argocd-controller")
    seen_now = evidence(all_serve(OLD, "p-0"))
    for begun, found in (
        (asked, left),
        (replace(progress(), reverted=frozenset({str(ROLLOUT)})), left),
        (progress(), replace(left, restarted_sha256=NEW)),
    ):
        busy = next_roll([replace(found, rolled=False)], seen_now, NEW, begun, NOW)
        assert awaited(busy) is Reason.SERVING_OLD_CERTIFICATE
        end = next_roll([found], seen_now, NEW, begun, NOW)
        assert failed_for(end) is Reason.TEMPLATE_REVERTED
        assert isinstance(end, RolloutFailed)
        assert (end.finding.subject, "argocd-controller" in end.finding.message) == (str(ROLLOUT), True)
        assert isinstance(next_roll([found], evidence(all_serve(NEW, "p-0")), NEW, begun, NOW), RolledOut)
    for_another = replace(left, restarted_sha256=OLD)
    assert isinstance(next_roll([for_another], seen_now, NEW, progress(), NOW), RestartWorkload)


def test_retry_does_not_reload_a_pod_that_refuses_connections() -> None:
    """What is broken before TLS is not mended by a reload."""
    states = [state(pod("p-0", told=NEW))]
    seen_now = evidence(all_serve(None, "p-0", reason=Reason.CONNECTION_REFUSED))
    assert failed_for(next_roll(states, seen_now, NEW, progress(retry=True), NOW)) is Reason.CONNECTION_REFUSED


def test_failed_reload_command_stops_the_rollout_at_once() -> None:
    """The command's own fault is the most useful reason, and needs no settling."""
    fault = Finding(Reason.RELOAD_FAILED, "exit code 1")
    canary = pod("p-0", told=NEW)
    begun = progress().after(ReloadPod(workload(), canary), fault, NOW)
    found = next_roll([state(canary, pod("p-1"))], evidence(all_serve(OLD, "p-0", "p-1")), NEW, begun, NOW)
    assert found == RolloutFailed(fault)


def test_failed_reload_command_of_a_proven_pod_is_forgiven() -> None:
    """What is served counts, whatever the command said."""
    canary = pod("p-0", told=NEW)
    begun = progress().after(ReloadPod(workload(), canary), Finding(Reason.RELOAD_FAILED, "exit code 1"), NOW)
    assert next_roll([state(canary)], evidence(all_serve(NEW, "p-0")), NEW, begun, NOW) == RolledOut()


def test_fault_of_a_pod_replaced_since_is_forgotten() -> None:
    """A pod of the same name with another uid starts with a clean sheet."""
    begun = progress().after(ReloadPod(workload(), pod("p-0")), Finding(Reason.RELOAD_FAILED, "exit code 1"), NOW)
    fresh = replace(pod("p-0"), uid="another")
    assert reloaded(next_roll([state(fresh)], evidence(all_serve(OLD, "p-0")), NEW, begun, NOW)) == "p-0"


def test_successful_step_clears_an_earlier_fault() -> None:
    """Progress keeps the newest outcome of each subject."""
    step = ReloadPod(workload(), pod("p-0"))
    begun = progress().after(step, Finding(Reason.RELOAD_FAILED, "exit code 1"), NOW).after(step, None, NOW + LATER)
    assert not begun.faults
    assert begun.acted_at == {"uid-of-p-0": NOW + LATER}


def test_pod_not_ready_and_never_told_does_not_hold_up_others() -> None:
    """One dead node must not keep healthy pods on an expiring certificate."""
    states = [state(pod("p-0", ready=False), pod("p-1"))]
    assert reloaded(next_roll(states, evidence(all_serve(OLD, "p-1")), NEW, progress(), NOW)) == "p-1"


def test_pod_not_ready_with_all_others_proven_is_awaited_then_fails() -> None:
    """The rollout is not finished while a pod cannot prove it."""
    states = [state(pod("p-0", ready=False), pod("p-1", told=NEW))]
    seen_now = evidence(all_serve(NEW, "p-1"))
    assert awaited(next_roll(states, seen_now, NEW, progress(), NOW)) is Reason.POD_NOT_READY
    late = progress(started=timedelta(minutes=10))
    assert failed_for(next_roll(states, seen_now, NEW, late, NOW)) is Reason.POD_NOT_READY


def stuck(name: str, *, told: str | None = None, started: timedelta = LATER) -> PodState:
    """Make a pod that is not ready and whose server started `started` before NOW."""
    return replace(pod(name, told=told, ready=False), started_at=NOW - started)


def test_no_pod_ready_and_started_before_the_certificate_reloads_the_first() -> None:
    """A pod whose probe fails for the old certificate becomes ready only by the new one."""
    states = [state(stuck("p-0"), stuck("p-1"))]
    assert reloaded(next_roll(states, {}, NEW, progress(), NOW)) == "p-0"
    told = [state(stuck("p-0", told=NEW), stuck("p-1"))]
    assert awaited(next_roll(told, {}, NEW, progress(), NOW)) is Reason.POD_NOT_READY


def test_no_pod_ready_and_started_before_the_certificate_restarts_the_workload() -> None:
    """The workload's own strategy is of no use while everybody waits for a pod that cannot become ready."""
    states = [state(stuck("p-0"), of=ROLLOUT)]
    assert next_roll(states, {}, NEW, progress(), NOW) == RestartWorkload(ROLLOUT)


@pytest.mark.parametrize("strategy", [UpdateStrategy.RELOAD, UpdateStrategy.RESTART])
def test_no_pod_ready_but_started_after_the_certificate_is_awaited(strategy: UpdateStrategy) -> None:
    """It read the newest certificate, so it is something else that keeps it from being ready."""
    states = [state(stuck("p-0"), of=workload(strategy))]
    begun = replace(progress(), stored_at=NOW - 2 * LATER)
    assert awaited(next_roll(states, {}, NEW, begun, NOW)) is Reason.POD_NOT_READY


@pytest.mark.parametrize("strategy", [UpdateStrategy.RELOAD, UpdateStrategy.RESTART])
def test_no_pod_ready_but_just_started_is_given_time(strategy: UpdateStrategy) -> None:
    """A server that is starting may still become ready by itself."""
    states = [state(stuck("p-0", started=timedelta(seconds=2)), of=workload(strategy))]
    assert awaited(next_roll(states, {}, NEW, progress(), NOW)) is Reason.POD_NOT_READY


def test_no_pod_ready_in_spite_of_its_reload_restarts_the_workload() -> None:
    """The server may read its certificate only at its start, and no client is served meanwhile anyway."""
    told = stuck("p-0", told=NEW)
    begun = progress().after(ReloadPod(workload(), told), None, NOW)
    step = next_roll([state(told)], {}, NEW, begun, NOW + timedelta(seconds=12))
    assert isinstance(step, WaitForPods)
    late = NOW + timedelta(seconds=16)
    assert next_roll([state(told)], {}, NEW, begun, late) == RestartWorkload(workload())
    knocked_over = [state(replace(told, ready_at=NOW + timedelta(seconds=1)))]
    assert awaited(next_roll(knocked_over, {}, NEW, begun, late)) is Reason.POD_NOT_READY
    beside_another = [state(told, pod("p-1"))]
    found = next_roll(beside_another, evidence(all_serve(OLD, "p-1")), NEW, begun, late)
    assert isinstance(found, WaitForPods)


def test_second_pod_that_is_not_ready_is_reloaded_once_the_first_is_ready_with_the_certificate() -> None:
    """The certificate made the first one ready, so it may be what the second one lacks."""
    states = [state(pod("p-0", told=NEW), stuck("p-1"))]
    assert reloaded(next_roll(states, evidence(all_serve(NEW, "p-0")), NEW, progress(), NOW)) == "p-1"


def crashing(name: str) -> PodState:
    """Make a pod whose server ended again after its last start."""
    return replace(stuck(name), is_running=False)


def test_crash_looping_server_that_no_command_can_reach_is_restarted_with_its_workload() -> None:
    """Where the certificate keeps the server from running at all, there is nobody to tell."""
    states = [state(crashing("p-0"))]
    assert next_roll(states, {}, NEW, progress(), NOW) == RestartWorkload(workload())
    restarted = [state(crashing("p-0"), template=NEW, rolled=False)]
    begun = progress().after(RestartWorkload(workload()), None, NOW)
    assert awaited(next_roll(restarted, {}, NEW, begun, NOW)) is Reason.ROLLING_OUT


def on_placeholder(name: str, **more: Any) -> PodState:
    """Make a ready pod that started a minute before the Secret was there."""
    times = {"started_at": NOW - 2 * LATER, "made_at": NOW - 2 * LATER, "ready_at": NOW - 2 * LATER}
    return replace(pod(name), **(times | more))


FIRST_SECRET = replace(progress(), secret_made_at=NOW - LATER)


def test_reload_in_vain_restarts_pods_that_started_on_a_placeholder() -> None:
    """What the image serves without the Secret is often fixed at its start, and restarting it harms nobody."""
    canary = on_placeholder("p-0", reloaded_sha256=NEW)
    states, seen_now = [state(canary, on_placeholder("p-1"))], evidence(all_serve(OLD, "p-0", "p-1"))
    begun = FIRST_SECRET.after(ReloadPod(workload(), canary), None, NOW)
    assert awaited(next_roll(states, seen_now, NEW, begun, NOW + timedelta(seconds=2))) is not None
    soon = NOW + timedelta(seconds=4)
    assert next_roll(states, seen_now, NEW, begun, soon) == RestartWorkload(workload())
    restarted = [replace(states[0], template_sha256=NEW, rolled=False)]
    begun = begun.after(RestartWorkload(workload()), None, soon)
    assert awaited(next_roll(restarted, seen_now, NEW, begun, soon)) is Reason.ROLLING_OUT


def test_restart_for_a_placeholder_is_asked_for_once() -> None:
    """A pod that was made from the new template and serves its own certificate still is what a person has to see to."""
    again = on_placeholder("p-0", reloaded_sha256=NEW, template_sha256=NEW, started_at=NOW, made_at=NOW)
    begun = FIRST_SECRET.after(ReloadPod(workload(), again), None, NOW)
    states, seen_now = [state(again, template=NEW)], evidence(all_serve(OLD, "p-0"))
    assert failed_for(next_roll(states, seen_now, NEW, begun, NOW + LATER)) is Reason.CANARY_FAILED


def test_reload_in_vain_of_a_pod_that_found_the_secret_fails_the_canary() -> None:
    """A restart would take away the protection that the canary is."""
    canary = on_placeholder("p-0", reloaded_sha256=NEW)
    older = replace(progress(), secret_made_at=NOW - 3 * LATER)
    begun = older.after(ReloadPod(workload(), canary), None, NOW)
    states, seen_now = [state(canary)], evidence(all_serve(OLD, "p-0"))
    assert failed_for(next_roll(states, seen_now, NEW, begun, NOW + LATER)) is Reason.CANARY_FAILED


@pytest.mark.parametrize(
    ("made", "started", "may"),
    [(-300, -300, True), (-300, 30, True), (-300, 300, False), (10, 20, False), (0, 1, True)],
)
def test_container_restarted_in_an_older_pod_may_have_read_the_old_file(made: int, started: int, may: bool) -> None:
    """The volume follows the Secret within two minutes; that of a pod made after it held the new one at once."""
    of = replace(pod("p-0"), made_at=NOW + timedelta(seconds=made), started_at=NOW + timedelta(seconds=started))
    assert may_have_started_before(of, NOW) is may


def held_up(pods: tuple[PodState, ...], later: timedelta) -> RollStep:
    """Decide for a StatefulSet that was told to replace its pods, and did not, after so long."""
    begun = progress().after(RestartWorkload(ROLLOUT), None, NOW)
    return next_roll([state(*pods, of=ROLLOUT, template=NEW, rolled=False)], {}, NEW, begun, NOW + later)


def test_stateful_set_that_waits_for_a_stuck_pod_has_it_deleted() -> None:
    """OrderedReady replaces no pod while one is not ready; the controller has its turn first."""
    pods = (stuck("p-0"), stuck("p-1"))
    assert awaited(held_up(pods, timedelta(seconds=3))) is Reason.ROLLING_OUT
    assert held_up(pods, timedelta(seconds=6)) == ReplacePod(ROLLOUT, pods[0])


def test_stuck_pod_that_was_reloaded_before_is_deleted_too_and_only_once() -> None:
    """Its reload was in vain; what was deleted and still shows is on its way out."""
    first = stuck("p-0")
    begun = progress().after(ReloadPod(ROLLOUT, first), None, NOW - LATER).after(RestartWorkload(ROLLOUT), None, NOW)
    states, later = [state(first, of=ROLLOUT, template=NEW, rolled=False)], NOW + timedelta(seconds=6)
    assert next_roll(states, {}, NEW, begun, later) == ReplacePod(ROLLOUT, first)
    gone = begun.after(ReplacePod(ROLLOUT, first), None, later)
    assert awaited(next_roll(states, {}, NEW, gone, later)) is Reason.ROLLING_OUT


def test_pod_of_an_earlier_attempt_is_not_tried_again_before_it_is_the_turn_of_its_resource() -> None:
    """The turn ended with the attempt, and as many other resources may roll out by now as are allowed to."""
    states, old = [state(pod("p-0", told=NEW), pod("p-1"))], evidence(all_serve(OLD, "p-0", "p-1"))
    assert reloaded(next_roll(states, old, NEW, progress(retry=True), NOW)) == "p-0"
    queued = Held(Finding(Reason.ROLLOUT_QUEUED, "The certificate waits for its turn."), None)
    assert next_roll(states, old, NEW, progress(retry=True), NOW, terms=Terms(queued=queued)) == queued
    assert isinstance(
        next_roll(states, evidence(all_serve(NEW, "p-0", "p-1")), NEW, progress(), NOW, terms=Terms(queued=queued)),
        RolledOut,
    )


def test_pods_that_were_made_before_the_certificate_was_put_back_are_deleted_one_by_one() -> None:
    """A, then B, then A again: the template names A all the while, so its controller does not replace what read B."""
    put_back = replace(progress(started=LATER), stored_at=NOW - LATER)
    made = NOW - 2 * LATER
    first, second = (replace(pod(name), made_at=made, started_at=made) for name in ("p-0", "p-1"))
    states = [state(first, second, of=ROLLOUT, template=NEW)]
    mistaken = evidence(all_serve(OLD, "p-0", "p-1"))
    first, second = states[0].living_pods
    assert next_roll(states, mistaken, NEW, put_back, NOW) == ReplacePod(ROLLOUT, first)
    anew = replace(first, uid="uid-of-another", ready=False, made_at=NOW, started_at=None)
    starting = [replace(states[0], pods=(anew, second), rolled=False)]
    assert awaited(next_roll(starting, evidence(all_serve(OLD, "p-1")), NEW, put_back, NOW)) is Reason.POD_NOT_READY
    missing = [replace(states[0], pods=(second,), rolled=False)]
    assert awaited(next_roll(missing, evidence(all_serve(OLD, "p-1")), NEW, put_back, NOW)) is Reason.ROLLING_OUT
    paused = next_roll(states, mistaken, NEW, put_back, NOW, terms=Terms(is_paused=True))
    assert isinstance(paused, Held)


def test_pod_that_was_made_since_and_serves_another_certificate_is_not_deleted() -> None:
    """It read this certificate, so another pod would fare no better; nor is one where the person does it."""
    put_back = replace(progress(started=LATER), stored_at=NOW - LATER)
    made = NOW - LATER / 2
    since = state(replace(pod("p-0"), made_at=made, started_at=made), of=ROLLOUT, template=NEW)
    before = state(replace(pod("p-0"), made_at=NOW - 2 * LATER, started_at=made), of=ROLLOUT, template=NEW)
    for found in (since, replace(before, by_hand="delete the pods yourself.")):
        step = next_roll([found], evidence(all_serve(OLD, "p-0")), NEW, put_back, NOW)
        assert failed_for(step) is Reason.SERVING_OLD_CERTIFICATE


def test_pod_of_the_new_template_that_is_not_ready_is_not_deleted() -> None:
    """It has read the new certificate, and another one would fare no better."""
    assert awaited(held_up((replace(stuck("p-0"), template_sha256=NEW),), LATER)) is Reason.POD_NOT_READY


@pytest.mark.parametrize("more", [{"by_hand": "delete the pods yourself."}, {"partition": 1}])
def test_pod_that_a_strategy_keeps_is_not_deleted(more: dict[str, Any]) -> None:
    """OnDelete and a partition leave it to a person, however long that takes."""
    of = replace(state(stuck("p-0"), of=ROLLOUT, template=NEW, rolled=False), **more)
    begun = progress(started=timedelta(hours=1))
    step = next_roll([of], {}, NEW, begun, NOW)
    assert awaited(step) is Reason.ROLLING_OUT
    assert isinstance(step, WaitForPods)
    assert "yourself" in step.finding.message


@pytest.mark.parametrize("more", [{"by_hand": "delete the pods yourself."}, {"partition": 1}, {}])
def test_pods_that_serve_the_certificate_have_it_whatever_the_strategy(more: dict[str, Any]) -> None:
    """A person may have restarted the containers, or the server watches its files."""
    of = replace(state(pod("p-0"), of=ROLLOUT, template=NEW, rolled=False), **more)
    assert next_roll([of], evidence(all_serve(NEW, "p-0")), NEW, progress(), NOW) == RolledOut()


def test_long_wait_is_looked_at_ever_less_often() -> None:
    """The watches tell of pods, and only a probe of what they serve: every two seconds for an hour is for nobody."""
    serving_old = [state(pod("p-0"), of=BY_ITSELF)], evidence(all_serve(OLD, "p-0"))
    held = [replace(state(pod("p-0"), of=ROLLOUT, template=NEW, rolled=False), by_hand="it is paused.")], evidence()
    pauses = []
    for states, found in (serving_old, held):
        for waited in (0, 40, 400):
            step = next_roll(states, found, NEW, progress(started=timedelta(seconds=waited)), NOW)
            assert isinstance(step, WaitForPods)
            pauses.append((step.until - NOW) / timedelta(seconds=1))
    assert pauses == [2, 5, 10, 2, 5, 30]


def test_pod_not_ready_beside_a_ready_one_is_not_reloaded() -> None:
    """A pod that serves shows that the old certificate alone keeps nobody from being ready."""
    states = [state(stuck("p-0"), pod("p-1"))]
    assert reloaded(next_roll(states, evidence(all_serve(OLD, "p-1")), NEW, progress(), NOW)) == "p-1"


def test_untold_pod_refusing_connections_is_awaited_then_fails() -> None:
    """It may still be starting; a reload would not help."""
    states = [state(pod("p-0"))]
    seen_now = evidence(all_serve(None, "p-0", reason=Reason.CONNECTION_REFUSED))
    assert awaited(next_roll(states, seen_now, NEW, progress(), NOW)) is Reason.CONNECTION_REFUSED
    late = progress(started=timedelta(minutes=10))
    assert failed_for(next_roll(states, seen_now, NEW, late, NOW)) is Reason.CONNECTION_REFUSED


def test_pod_just_ready_with_a_tls_fault_settles_before_it_is_reloaded() -> None:
    """A server that is still starting may say 454 for a moment."""
    young = pod("p-0", ready_at=NOW - timedelta(seconds=2))
    seen_now = evidence(all_serve(None, "p-0", reason=Reason.STARTTLS_UNAVAILABLE))
    assert awaited(next_roll([state(young)], seen_now, NEW, progress(), NOW)) is Reason.STARTTLS_UNAVAILABLE
    grown = replace(young, ready_at=NOW - LATER)
    assert reloaded(next_roll([state(grown)], seen_now, NEW, progress(), NOW)) == "p-0"


def test_pod_ready_in_the_future_is_not_waited_for() -> None:
    """Clocks that disagree must not hold a rollout up."""
    odd = pod("p-0", ready_at=NOW + timedelta(hours=1))
    seen_now = evidence(all_serve(None, "p-0", reason=Reason.STARTTLS_UNAVAILABLE))
    assert reloaded(next_roll([state(odd)], seen_now, NEW, progress(), NOW)) == "p-0"


def test_port_never_probed_is_awaited_not_touched() -> None:
    """Nobody is told anything without evidence."""
    assert awaited(next_roll([state(pod("p-0"))], {}, NEW, progress(), NOW)) is Reason.PROBING


def test_terminating_pods_are_ignored() -> None:
    """A pod on its way out neither is told nor counts."""
    leaving = replace(pod("p-0"), terminating=True)
    states = [state(leaving, pod("p-1"), wanted=1)]
    assert (
        next_roll(states, evidence(all_serve(OLD, "p-0"), all_serve(NEW, "p-1")), NEW, progress(), NOW) == RolledOut()
    )


def test_unusable_workload_fails_before_any_pod_is_touched() -> None:
    """A mistake in the second workload keeps the first from being reloaded, even with no pod of it running."""
    states = [state(pod("p-0")), state(of=workload(name="relay"), finding=BROKEN, wanted=2)]
    assert next_roll(states, evidence(all_serve(OLD, "p-0")), NEW, progress(), NOW) == RolloutFailed(BROKEN)


@pytest.mark.parametrize("reason", sorted(KEPT_SINCE_START))
def test_what_pods_keep_since_their_start_fails_once_one_is_stale(reason: Reason) -> None:
    """A reload would load the same file again."""
    kept = replace(SUB_PATH, reason=reason)
    states = [state(pod("p-0"), finding=kept)]
    assert next_roll(states, evidence(all_serve(OLD, "p-0")), NEW, progress(), NOW) == RolloutFailed(kept)


@pytest.mark.parametrize(
    ("seen_now", "severity", "found"),
    [
        (Reason.STARTTLS_UNAVAILABLE, Severity.FAIL, Reason.KEY_UNREADABLE),
        (Reason.CONNECTION_REFUSED, Severity.FAIL, Reason.KEY_UNREADABLE),
        (Reason.SERVER_BUSY, Severity.FAIL, Reason.SERVER_BUSY),
    ],
)
def test_key_that_the_server_cannot_read_is_named_and_reloads_nothing(
    seen_now: Reason, severity: Severity, found: Reason
) -> None:
    """No reload ends it, so it is awaited that somebody corrects the pod; what is served has the last word."""
    fault = Finding(Reason.KEY_UNREADABLE, "Set fsGroup.", severity)
    blind = replace(pod("p-0"), key_fault=fault)
    without_tls = evidence(all_serve(None, "p-0", reason=seen_now))
    step = next_roll([state(blind)], without_tls, NEW, progress(), NOW)
    assert awaited(step) is found
    late = next_roll([state(blind)], without_tls, NEW, progress(started=LATER * 11), NOW)
    assert failed_for(late) is found
    assert next_roll([state(blind)], evidence(all_serve(NEW, "p-0")), NEW, progress(), NOW) == RolledOut()


def test_key_that_the_server_may_not_read_is_a_hint() -> None:
    """As whom it runs, the image decides: it is reloaded all the same, and the hint stands behind the cause."""
    hint = Finding(Reason.KEY_UNREADABLE, "Set fsGroup.", Severity.WARN)
    told = replace(pod("p-0", told=NEW), key_fault=hint, copier="copy")
    without_tls = evidence(all_serve(None, "p-0", reason=Reason.STARTTLS_UNAVAILABLE))
    assert reloaded(next_roll([state(replace(told, reloaded_sha256=OLD))], without_tls, NEW, progress(), NOW)) == "p-0"
    end = next_roll([state(told)], without_tls, NEW, progress(), NOW)
    assert failed_for(end) is Reason.CANARY_FAILED
    assert isinstance(end, RolloutFailed)
    assert all(part in end.finding.message for part in ("Set fsGroup.", "Init container copy", "Restart"))


@pytest.mark.parametrize(
    ("told", "software", "reason", "is_said"),
    [
        (NEW, Software.EXIM, Reason.CONNECTION_REFUSED, True),
        (None, Software.EXIM, Reason.CONNECTION_REFUSED, False),
        (NEW, Software.POSTFIX, Reason.CONNECTION_REFUSED, False),
        (NEW, Software.EXIM, Reason.CONNECT_TIMEOUT, False),
    ],
)
def test_exim_that_may_not_open_its_ports_again_is_named_as_the_cause(
    told: str | None, software: Software, reason: Reason, *, is_said: bool
) -> None:
    """Where the pod's spec keeps the rights from it that it needs, and a reload came before."""
    of = replace(workload(), daemons=(Daemon("exim", (SMTP, SMTPS), software=software),))
    closed = evidence(all_serve(None, "p-0", reason=reason))
    for rights, expected in ((frozenset({"postfix"}), is_said), (frozenset({"another"}), False)):
        exim = replace(pod("p-0", told=told), without_rights=rights)
        step = next_roll([state(exim, of=of)], closed, NEW, progress(started=LATER * 60), NOW)
        assert isinstance(step, RolloutFailed)
        assert step.finding.reason is reason
        assert ("ip_unprivileged_port_start" in step.finding.message) is expected


def test_sub_path_mount_with_proven_pods_is_noted() -> None:
    """All is well today, but the next certificate will not arrive: say so early."""
    states = [state(pod("p-0"), finding=SUB_PATH)]
    found = next_roll(states, evidence(all_serve(NEW, "p-0")), NEW, progress(), NOW)
    assert found == RolledOut((replace(SUB_PATH, severity=Severity.WARN),))


def test_workload_scaled_to_zero_is_rolled_out_with_a_note() -> None:
    """No pods wanted, none stale."""
    found = next_roll([state(wanted=0)], {}, NEW, progress(), NOW)
    assert isinstance(found, RolledOut)
    assert [note.reason for note in found.notes] == [Reason.NO_PODS]


def test_missing_pods_are_awaited_then_fail() -> None:
    """Pods that should exist and do not cannot prove anything."""
    states = [state(pod("p-0"), wanted=3)]
    seen_now = evidence(all_serve(NEW, "p-0"))
    assert awaited(next_roll(states, seen_now, NEW, progress(), NOW)) is Reason.POD_NOT_READY
    late = progress(started=timedelta(minutes=10))
    assert failed_for(next_roll(states, seen_now, NEW, late, NOW)) is Reason.POD_NOT_READY


def test_pods_of_a_lost_node_are_named_with_it() -> None:
    """A pod that cannot go is no pod of the workload, and keeps a StatefulSet from making another."""
    lost = replace(pod("p-1"), node="n-2", terminating=True)
    step = next_roll([state(pod("p-0"), lost, wanted=2)], evidence(all_serve(NEW, "p-0")), NEW, progress(), NOW)
    assert isinstance(step, WaitForPods)
    assert all(part in step.finding.message for part in ("has 1 of 2 pods", "Pod p-1", "node n-2"))
    unready = replace(pod("p-1", ready=False), node="n-2")
    step = next_roll([state(pod("p-0"), unready)], evidence(all_serve(NEW, "p-0")), NEW, progress(), NOW)
    assert isinstance(step, WaitForPods)
    assert "Pod p-1 on node n-2 is not ready" in step.finding.message


def test_canary_refused_by_clients_spares_the_other_pods() -> None:
    """The new certificate is served, but no client would take it: the old one is better."""
    seen_now = evidence(all_serve(NEW, "p-0", reason=Reason.HOSTNAME_MISMATCH), all_serve(OLD, "p-1"))
    found = next_roll([state(pod("p-0", told=NEW), pod("p-1"))], seen_now, NEW, progress(), NOW)
    assert failed_for(found) is Reason.CANARY_FAILED
    assert isinstance(found, RolloutFailed)
    assert "HostnameMismatch" in found.finding.message


def test_certificate_refused_with_no_pod_left_to_spare_is_rolled_out() -> None:
    """It has arrived everywhere; that clients refuse it is the verification's verdict."""
    seen_now = evidence(all_serve(NEW, "p-0", reason=Reason.UNTRUSTED_ROOT))
    assert next_roll([state(pod("p-0"))], seen_now, NEW, progress(), NOW) == RolledOut()


def test_workloads_are_told_in_the_order_of_the_spec() -> None:
    """The second workload waits for the first to be proven."""
    states = [state(pod("b-0"), of=workload(name="b")), state(pod("a-0"), of=workload(name="a"))]
    assert reloaded(next_roll(states, evidence(all_serve(OLD, "a-0", "b-0")), NEW, progress(), NOW)) == "b-0"


def test_stale_rollout_workload_is_restarted_once() -> None:
    """A stale pod and another leaf in the template call for a restart."""
    states = [state(pod("p-0"), pod("p-1"), of=ROLLOUT, template=OLD)]
    found = next_roll(states, evidence(all_serve(NEW, "p-0"), all_serve(OLD, "p-1")), NEW, progress(), NOW)
    assert found == RestartWorkload(ROLLOUT)


def test_restarted_workload_not_complete_is_awaited_then_times_out() -> None:
    """The controller has as long as the time-out says, counted from the restart."""
    states = [state(pod("p-0"), of=ROLLOUT, template=NEW, rolled=False)]
    seen_now = evidence(all_serve(OLD, "p-0"))
    begun = progress(started=timedelta(hours=1)).after(RestartWorkload(ROLLOUT), None, NOW)
    assert awaited(next_roll(states, seen_now, NEW, begun, NOW)) is Reason.ROLLING_OUT
    late = NOW + timedelta(minutes=10)
    assert failed_for(next_roll(states, seen_now, NEW, begun, late)) is Reason.ROLLOUT_TIMEOUT


def test_restart_that_a_person_has_to_finish_is_awaited_without_end() -> None:
    """A time-out would blame the workload for what its strategy leaves to a person."""
    states = [replace(state(pod("p-0"), of=ROLLOUT, template=NEW, rolled=False), by_hand="delete the pods yourself.")]
    step = next_roll(states, {}, NEW, progress(started=timedelta(hours=1)), NOW)
    assert awaited(step) is Reason.ROLLING_OUT
    assert isinstance(step, WaitForPods)
    assert "delete the pods yourself" in step.finding.message


def test_restart_under_way_after_a_crash_is_awaited_from_the_start_of_the_attempt() -> None:
    """A new operator knows the restart only by the template."""
    states = [state(pod("p-0"), of=ROLLOUT, template=NEW, rolled=False)]
    assert awaited(next_roll(states, {}, NEW, progress(), NOW)) is Reason.ROLLING_OUT


def test_restart_complete_but_stale_fails_by_the_reason_of_the_port() -> None:
    """Restarting again would change nothing."""
    states = [state(pod("p-0"), of=ROLLOUT, template=NEW)]
    found = next_roll(states, evidence(all_serve(OLD, "p-0")), NEW, progress(retry=True), NOW)
    assert failed_for(found) is Reason.SERVING_OLD_CERTIFICATE


def test_restart_complete_with_a_young_pod_settles() -> None:
    """Without a readiness probe a pod is ready before its server listens."""
    young = pod("p-0", ready_at=NOW - timedelta(seconds=1))
    seen_now = evidence(all_serve(None, "p-0", reason=Reason.CONNECTION_REFUSED))
    found = next_roll([state(young, of=ROLLOUT, template=NEW)], seen_now, NEW, progress(), NOW)
    assert awaited(found) is Reason.CONNECTION_REFUSED


def test_restarted_server_with_a_long_settle_time_is_probed_ever_less_often() -> None:
    """Its pod is ready, and each probe is a reconcile."""
    slow = replace(ROLLOUT, settle_time=timedelta(minutes=2))
    for seconds, pause in ((1, 0.5), (30, 3.75), (119, 5.0)):
        young = pod("p-0", ready_at=NOW - timedelta(seconds=seconds))
        seen_now = evidence(all_serve(None, "p-0", reason=Reason.CONNECTION_REFUSED))
        found = next_roll([state(young, of=slow, template=NEW)], seen_now, NEW, progress(), NOW)
        assert isinstance(found, WaitForPods)
        assert found.until == NOW + timedelta(seconds=pause)


def test_restart_complete_with_a_pod_not_ready_is_awaited() -> None:
    """A pod that fell over again has the rest of the time-out."""
    states = [state(pod("p-0", ready=False), of=ROLLOUT, template=NEW)]
    assert awaited(next_roll(states, {}, NEW, progress(), NOW)) is Reason.POD_NOT_READY


def test_rollout_workload_that_serves_already_is_left_alone() -> None:
    """Pods started after the Secret was stored need no restart."""
    states = [state(pod("p-0"), of=ROLLOUT)]
    assert next_roll(states, evidence(all_serve(NEW, "p-0")), NEW, progress(), NOW) == RolledOut()


def test_restart_forbidden_fails_the_rollout() -> None:
    """The fault of the restart itself is told."""
    fault = Finding(Reason.FORBIDDEN, "may not patch statefulsets")
    begun = progress().after(RestartWorkload(ROLLOUT), fault, NOW)
    found = next_roll([state(pod("p-0"), of=ROLLOUT)], evidence(all_serve(OLD, "p-0")), NEW, begun, NOW)
    assert found == RolloutFailed(fault)


def test_restart_in_flight_comes_before_a_reload() -> None:
    """One change at a time, across workloads."""
    states = [state(pod("a-0"), of=workload(name="a")), state(pod("p-0"), of=ROLLOUT, template=NEW, rolled=False)]
    found = next_roll(states, evidence(all_serve(OLD, "a-0", "p-0")), NEW, progress(), NOW)
    assert awaited(found) is Reason.ROLLING_OUT


def test_strategy_none_waits_for_the_pods_then_fails() -> None:
    """The server is to find the file by itself; the operator only looks."""
    states = [state(pod("p-0"), of=BY_ITSELF)]
    seen_now = evidence(all_serve(OLD, "p-0"))
    assert awaited(next_roll(states, seen_now, NEW, progress(), NOW)) is Reason.SERVING_OLD_CERTIFICATE
    late = progress(started=timedelta(minutes=10))
    assert failed_for(next_roll(states, seen_now, NEW, late, NOW)) is Reason.SERVING_OLD_CERTIFICATE


def test_workload_without_ports_is_rolled_out_once_told() -> None:
    """Without a port to ask, the annotation is all the proof there is."""
    blind = workload(ports=())
    assert reloaded(next_roll([state(pod("p-0"), of=blind)], {}, NEW, progress(), NOW)) == "p-0"
    assert next_roll([state(pod("p-0", told=NEW), of=blind)], {}, NEW, progress(), NOW) == RolledOut()


def test_failed_reload_without_ports_fails() -> None:
    """With no other evidence the command's fault decides."""
    blind, fault = workload(ports=()), Finding(Reason.RELOAD_FAILED, "exit code 1")
    told = pod("p-0", told=NEW)
    begun = progress().after(ReloadPod(blind, told), fault, NOW)
    assert next_roll([state(told, of=blind)], {}, NEW, begun, NOW) == RolloutFailed(fault)


def test_targets_are_each_port_at_each_address_of_ready_pods() -> None:
    """Terminating and unready pods are not knocked at."""
    dual = replace(pod("p-0"), addresses=("198.18.1.7", "fd00::7"))
    leaving = replace(pod("p-1"), terminating=True)
    found = targets([state(dual, leaving, pod("p-2", ready=False))], "mx.example.com")
    assert [(target.pod, target.port.port, target.address) for target in found] == [
        ("p-0", 25, "198.18.1.7"),
        ("p-0", 25, "fd00::7"),
        ("p-0", 465, "198.18.1.7"),
        ("p-0", 465, "fd00::7"),
    ]
    assert {target.server_name for target in found} == {"mx.example.com"}


@pytest.mark.parametrize("worst_first", [True, False])
def test_gathered_evidence_keeps_the_worst_address(worst_first: bool) -> None:
    """A pod is as good as its worst address, in whatever order they answered."""
    both = [seen("p-0", SMTP, OLD), seen("p-0", SMTP, NEW)]
    found = gather(both if worst_first else reversed(both), NEW)
    assert found["p-0", 25].served_sha256 == OLD


def test_checks_run_in_their_documented_order() -> None:
    """What is in flight comes before what may be begun, and refusals before both."""
    assert [check.__name__ for check in roll.CHECKS] == [
        "workload_is_unusable",
        "action_failed",
        "commands_cannot_run",
        "reloaded_pod_is_unverified",
        "restart_was_reverted",
        "restart_is_under_way",
        "evicted_pods_are_unproven",
        "next_is_held_back",
        "workload_is_stale",
        "pod_is_unproven",
        "pods_are_missing",
    ]


@pytest.mark.parametrize("check", roll.CHECKS, ids=lambda check: check.__name__)
def test_each_check_is_silent_when_all_is_proven(check: object) -> None:
    """No check names a step for pods that serve the certificate."""
    assert callable(check)
    told = pod("p-0", told=NEW)
    view = View((state(told),), evidence(all_serve(NEW, "p-0")), NEW, progress(), NOW)
    assert check(view) is None
