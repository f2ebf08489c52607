"""When the next pod may be begun: windows, pauses and approvals, held against what clients are served."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from builders.rolling import NEW, NOW, OLD, SMTP, SMTPS, pod, progress, seen, state, workload
from mailtls.api.spec import Amount, Approval, Rollout
from mailtls.api.windows import Window
from mailtls.api.workload import UpdateStrategy
from mailtls.probe.target import Endpoint
from mailtls.reasons.reason import Reason
from mailtls.rollout.policy import next_roll
from mailtls.rollout.steps import (
    EvictPod,
    Held,
    ReloadPod,
    RestartWorkload,
    RolledOut,
    RolloutFailed,
    RollStep,
    WaitForPods,
)
from mailtls.rollout.view import Terms
from mailtls.verification.evidence import gather

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
NIGHTLY = Rollout(windows=(Window("0 2 * * *", 3 * HOUR, "Europe/Berlin"),))  # NOW is 14:00 there
ALWAYS = Rollout(windows=(Window("0 * * * *", HOUR),))
WATCHED = Rollout(approval=Approval.REQUIRED)
TOMORROW = datetime(2026, 5, 2, tzinfo=NOW.tzinfo)
PODS = ("p-0", "p-1", "p-2")
PAUSED = Terms(is_paused=True)
RESTARTED = workload(UpdateStrategy.RESTART)


def serve(served: str | None, *pods: str, left: timedelta = 30 * DAY, reason: Reason | None = None) -> list[Endpoint]:
    """Make verdicts on both ports of pods, whose certificate has so much time left."""
    each = [seen(name, port, served, reason) for name in pods for port in (SMTP, SMTPS)]
    return [replace(one, served_not_after=NOW + left if served else None) for one in each]


def step(terms: Terms, endpoints: Iterable[Endpoint], *told: str, now: datetime = NOW) -> RollStep:
    """Decide for three pods, of which some were reloaded, as long ago as it takes to prove it."""
    states = [state(*(pod(name, told=NEW if name in told else None) for name in PODS))]
    return next_roll(states, gather(endpoints, NEW), NEW, progress(), now, terms=terms)


def held(found: RollStep) -> Held:
    """Return a step that must be a hold."""
    assert isinstance(found, Held), found
    return found


def test_nothing_is_begun_before_the_window_opens() -> None:
    """The message says when that is, by the clocks of its zone, and until when what is served is good."""
    found = held(step(Terms(NIGHTLY), serve(OLD, *PODS)))
    assert (found.finding.reason, found.until) == (Reason.WAITING_FOR_WINDOW, TOMORROW)
    assert "2026-05-02 02:00 CEST (Europe/Berlin)" in found.finding.message
    assert "good until 2026-05-31 12:00 UTC" in found.finding.message
    assert "3 of 3 pods do not have the certificate yet" in found.finding.message
    assert isinstance(step(Terms(NIGHTLY), serve(OLD, *PODS), now=TOMORROW), ReloadPod)
    assert isinstance(step(Terms(ALWAYS), serve(OLD, *PODS)), ReloadPod)


def test_window_that_closes_stops_the_rollout_before_the_next_pod() -> None:
    """Of three pods one has the certificate, and the two others wait for the next night."""
    half = [*serve(NEW, "p-0"), *serve(OLD, "p-1", "p-2")]
    assert isinstance(step(Terms(NIGHTLY), half, "p-0", now=TOMORROW + 2 * HOUR), ReloadPod)
    found = held(step(Terms(NIGHTLY), half, "p-0", now=TOMORROW + 3 * HOUR))
    assert found.until == TOMORROW + DAY
    assert "2 of 3 pods" in found.finding.message


@pytest.mark.parametrize("terms", [Terms(NIGHTLY), PAUSED, Terms(WATCHED)], ids=["window", "pause", "approval"])
def test_pod_that_was_reloaded_is_seen_through(terms: Terms) -> None:
    """What is in flight is verified whatever was decided since: it settles, and fails where it must."""
    in_flight = [*serve(OLD, "p-0"), *serve(OLD, "p-1", "p-2")]
    assert not isinstance(step(terms, in_flight, "p-0"), Held)
    silent = [*serve(None, "p-0", reason=Reason.PROBING), *serve(OLD, "p-1", "p-2")]
    assert isinstance(step(terms, silent, "p-0"), WaitForPods)


@pytest.mark.parametrize(
    ("terms", "left"), [(PAUSED, -DAY), (PAUSED, 30 * DAY), (Terms(NIGHTLY), 30 * DAY), (Terms(WATCHED), 30 * DAY)]
)
def test_pod_that_takes_no_reload_has_the_others_restarted_only_when_they_may_be_begun(
    terms: Terms, left: timedelta
) -> None:
    """It started before the Secret was there, so that a restart may help it; the pods beside it were not touched."""
    started = NOW - timedelta(hours=3)
    pods = (replace(pod("p-0", told=NEW), started_at=started, made_at=started), pod("p-1"), pod("p-2"))
    begun = replace(progress(), secret_made_at=NOW - HOUR)
    seen_now = gather(serve(OLD, *PODS, left=left), NEW)
    assert isinstance(next_roll([state(*pods)], seen_now, NEW, begun, NOW), RestartWorkload)
    for retry in (False, True):  # or it would be reloaded as often as this is decided
        held(next_roll([state(*pods)], seen_now, NEW, replace(begun, retry=retry), NOW, terms=terms))


@pytest.mark.parametrize("terms", [Terms(NIGHTLY), PAUSED], ids=["window", "pause"])
def test_wave_that_is_held_takes_no_further_pod_and_is_awaited(terms: Terms) -> None:
    """Where two pods may be in flight at once, one is, and its turn to be judged comes before any wait."""
    states = [state(pod("p-0", told=NEW), pod("p-1"), pod("p-2"))]
    silent = gather([*serve(None, "p-0", reason=Reason.PROBING), *serve(OLD, "p-1", "p-2")], NEW)
    begun = replace(progress(), canary=Amount(2), max_unavailable=Amount(2))
    free = next_roll(states, silent, NEW, begun, NOW)
    assert isinstance(free, ReloadPod)
    assert free.pod.name == "p-1"
    assert isinstance(next_roll(states, silent, NEW, begun, NOW, terms=terms), WaitForPods)
    held(next_roll(states, gather([*serve(NEW, "p-0"), *serve(OLD, "p-1", "p-2")], NEW), NEW, begun, NOW, terms=terms))


@pytest.mark.parametrize("terms", [Terms(NIGHTLY), PAUSED, Terms(WATCHED)], ids=["window", "pause", "approval"])
def test_workload_that_its_controller_replaces_goes_on(terms: Terms) -> None:
    """A restart that was requested is awaited and judged; a half replaced workload is no place to stop."""
    half = state(pod("p-0"), pod("p-1"), of=RESTARTED, template=NEW, rolled=False)
    found = next_roll([half], {}, NEW, progress(), NOW, terms=terms)
    assert isinstance(found, WaitForPods)
    assert found.finding.reason is Reason.ROLLING_OUT


@pytest.mark.parametrize("terms", [Terms(NIGHTLY), PAUSED, Terms(WATCHED)], ids=["window", "pause", "approval"])
def test_restart_is_not_begun(terms: Terms) -> None:
    """A controller replaces all pods of a workload, so that all has to be decided before."""
    states = [state(*map(pod, PODS), of=RESTARTED)]
    old = gather(serve(OLD, *PODS), NEW)
    held(next_roll(states, old, NEW, progress(), NOW, terms=terms))
    free = Terms(ALWAYS, approved=NEW) if terms.rollout is WATCHED else Terms()
    assert isinstance(next_roll(states, old, NEW, progress(), NOW, terms=free), RestartWorkload)


@pytest.mark.parametrize("terms", [Terms(NIGHTLY), PAUSED], ids=["window", "pause"])
def test_no_pod_is_evicted_and_one_that_is_made_anew_is_awaited(terms: Terms) -> None:
    """Evictions go pod by pod: the one that is missing is seen through, then the next one waits."""
    evicted = workload(UpdateStrategy.EVICT)
    old = [replace(pod(name), made_at=NOW - DAY) for name in PODS]
    begun = replace(progress(), acted_at={str(evicted): NOW})
    for pods, first in ((old, Held), (old[1:], WaitForPods)):
        states = [state(*pods, of=evicted, wanted=3)]
        evidence = gather(serve(OLD, *(each.name for each in pods)), NEW)
        assert isinstance(next_roll(states, evidence, NEW, begun, NOW, terms=terms), first)
        free = next_roll(states, evidence, NEW, begun, NOW)
        assert isinstance(free, EvictPod if pods is old else WaitForPods)


@pytest.mark.parametrize("terms", [Terms(NIGHTLY), PAUSED, Terms(WATCHED)], ids=["window", "pause", "approval"])
def test_pods_that_read_their_files_by_themselves_cannot_be_held(terms: Terms) -> None:
    """With `updateStrategy: None` nothing is begun, so that nothing waits."""
    by_itself = [state(*map(pod, PODS), of=workload(UpdateStrategy.NONE))]
    assert isinstance(
        next_roll(by_itself, gather(serve(OLD, *PODS), NEW), NEW, progress(), NOW, terms=terms), WaitForPods
    )
    assert next_roll(by_itself, gather(serve(NEW, *PODS), NEW), NEW, progress(), NOW, terms=terms) == RolledOut()


@pytest.mark.parametrize("terms", [Terms(NIGHTLY), PAUSED, Terms(WATCHED)], ids=["window", "pause", "approval"])
def test_all_pods_that_have_the_certificate_wait_for_nothing(terms: Terms) -> None:
    """Where nothing is left to begin, nothing is held."""
    assert step(terms, serve(NEW, *PODS)) == RolledOut()


def test_expiry_of_what_is_served_overrides_the_windows() -> None:
    """The first of the served certificates decides, and the resource is woken when its time comes."""
    soon = [*serve(OLD, "p-0", "p-1"), *serve(OLD, "p-2", left=72 * HOUR)]
    assert isinstance(step(Terms(NIGHTLY), soon), ReloadPod)
    later = [*serve(OLD, "p-0", "p-1"), *serve(OLD, "p-2", left=75 * HOUR)]
    assert held(step(Terms(NIGHTLY), later)).until == NOW + 3 * HOUR
    patient = replace(NIGHTLY, urgent_before=timedelta())
    assert isinstance(step(Terms(patient), soon), Held)


def test_expiry_of_the_new_certificate_makes_nothing_urgent() -> None:
    """A pod that has a short-lived certificate already is no reason to hurry with the others."""
    half = [*serve(NEW, "p-0", left=HOUR), *serve(OLD, "p-1", "p-2")]
    assert held(step(Terms(NIGHTLY), half, "p-0")).until == TOMORROW


@pytest.mark.parametrize(
    "bad",
    [
        serve(OLD, "p-0", reason=Reason.CERTIFICATE_EXPIRED),
        serve(OLD, "p-0", reason=Reason.SELF_SIGNED),
        serve(OLD, "p-0", reason=Reason.HOSTNAME_MISMATCH),
        serve(OLD, "p-0", left=timedelta()),
        serve(None, "p-0", reason=Reason.STARTTLS_UNAVAILABLE),
    ],
    ids=["expired", "placeholder", "another name", "expired since its probe", "no TLS"],
)
@pytest.mark.parametrize("terms", [Terms(replace(NIGHTLY, urgent_before=timedelta())), Terms(WATCHED)])
def test_pod_that_turns_clients_away_does_not_wait(terms: Terms, bad: list[Endpoint]) -> None:
    """The first certificate, and one that comes too late, are brought at once; a pause holds them all the same."""
    found = step(terms, [*bad, *serve(OLD, "p-1"), *serve(NEW, "p-2")])
    assert isinstance(found, ReloadPod)
    assert found.pod.name == "p-0"
    assert held(step(PAUSED, [*bad, *serve(OLD, "p-1"), *serve(NEW, "p-2")])).until is None


@pytest.mark.parametrize("strategy", [UpdateStrategy.RELOAD, UpdateStrategy.EVICT])
@pytest.mark.parametrize("terms", [Terms(NIGHTLY), Terms(WATCHED)], ids=["window", "approval"])
def test_pod_that_turns_clients_away_does_not_wait_behind_others_and_lets_none_of_them_begin(
    terms: Terms, strategy: UpdateStrategy
) -> None:
    """Whatever it shows is by its own word: a forged certificate that expires soon makes nothing urgent elsewhere."""
    forged = serve(OLD, "p-2", reason=Reason.SELF_SIGNED, left=HOUR)
    pods = [replace(pod(name), made_at=NOW - DAY) for name in PODS]
    states = [state(*pods, of=workload(strategy))]
    begun = gather([*serve(NEW, "p-0"), *serve(OLD, "p-1"), *forged], NEW)
    found = next_roll(states, begun, NEW, progress(), NOW, terms=terms)
    assert isinstance(found, ReloadPod | EvictPod)
    assert found.pod.name == "p-2"
    done = gather([*serve(NEW, "p-0", "p-2"), *serve(OLD, "p-1")], NEW)
    held(next_roll(states, done, NEW, progress(), NOW, terms=terms))
    held(next_roll(states, begun, NEW, progress(), NOW, terms=replace(terms, is_paused=True)))


def test_port_that_nobody_reaches_is_no_reason_to_begin() -> None:
    """Another certificate opens no closed port."""
    found = [*serve(OLD, "p-0"), seen("p-0", SMTPS, None, Reason.CONNECTION_REFUSED), *serve(OLD, "p-1", "p-2")]
    assert held(step(Terms(NIGHTLY), found)).finding.reason is Reason.WAITING_FOR_WINDOW


@pytest.mark.parametrize("rollout", [NIGHTLY, WATCHED], ids=["window", "approval"])
def test_certificate_that_was_put_back_waits_for_nobody(rollout: Rollout) -> None:
    """Whoever goes back has a reason to do so now; a pause still holds."""
    half = [*serve(NEW, "p-0"), *serve(OLD, "p-1", "p-2")]
    assert isinstance(step(Terms(rollout, is_put_back=True), half, "p-0"), ReloadPod)
    held(step(Terms(rollout, is_put_back=True, is_paused=True), half, "p-0"))


def test_canary_goes_ahead_of_the_approval() -> None:
    """The first pod shows what is to be approved; the others wait until the first expiry at most."""
    found = step(Terms(WATCHED), serve(OLD, *PODS))
    assert isinstance(found, ReloadPod)
    assert found.pod.name == "p-0"
    waiting = held(step(Terms(WATCHED), [*serve(NEW, "p-0"), *serve(OLD, "p-1", "p-2")], "p-0"))
    assert (waiting.finding.reason, waiting.until) == (Reason.WAITING_FOR_APPROVAL, NOW + 30 * DAY)
    assert f"kubectl annotate mst NAME mailtls.dev/approve={NEW[:16]} --overwrite" in waiting.finding.message


def test_whole_canary_of_the_first_workload_goes_ahead() -> None:
    """Two pods of it, and none of the other workload, whose canary comes when the certificate is approved."""
    first, second = (workload(name=name) for name in ("a", "b"))
    begun, terms = replace(progress(), canary=Amount(2)), Terms(WATCHED)

    def after(*proven: str, terms: Terms = terms) -> RollStep:
        states = [state(pod("a-0"), pod("a-1"), pod("a-2"), of=first), state(pod("b-0"), pod("b-1"), of=second)]
        old = {"a-0", "a-1", "a-2", "b-0", "b-1"} - set(proven)
        found = gather([*serve(NEW, *proven), *serve(OLD, *sorted(old))], NEW)
        return next_roll(states, found, NEW, begun, NOW, terms=terms)

    assert isinstance(after("a-0"), ReloadPod)
    assert held(after("a-0", "a-1")).finding.reason is Reason.WAITING_FOR_APPROVAL
    assert held(after("b-0")).finding.reason is Reason.WAITING_FOR_APPROVAL
    assert isinstance(after("a-0", "a-1", "a-2", terms=Terms(WATCHED, approved=NEW)), ReloadPod)


@pytest.mark.parametrize(
    ("approved", "is_enough"),
    [(NEW, True), (NEW[:8], True), (NEW[:7], False), ("", False), ("true", False), (OLD, False), (NEW + "1", False)],
)
def test_approval_is_of_one_certificate(approved: str, is_enough: bool) -> None:
    """By how its fingerprint begins; what was written for the one before approves nothing."""
    half = [*serve(NEW, "p-0"), *serve(OLD, "p-1", "p-2")]
    found = step(Terms(WATCHED, approved=approved), half, "p-0")
    assert isinstance(found, ReloadPod) is is_enough
    if not is_enough and approved:
        assert "(mailtls.dev/approve names another one, or fewer than 8 digits" in held(found).finding.message


def test_approval_is_asked_for_before_the_window_opens() -> None:
    """A person has until then; and what is approved still waits for its window."""
    rollout, half = replace(NIGHTLY, approval=Approval.REQUIRED), [*serve(NEW, "p-0"), *serve(OLD, "p-1", "p-2")]
    assert held(step(Terms(rollout), half, "p-0")).finding.reason is Reason.WAITING_FOR_APPROVAL
    assert held(step(Terms(rollout, approved=NEW), half, "p-0")).finding.reason is Reason.WAITING_FOR_WINDOW


def test_canary_that_fails_is_no_wait() -> None:
    """A refused certificate is a failure at any hour."""
    refused = [*serve(NEW, "p-0", reason=Reason.UNTRUSTED_ROOT), *serve(OLD, "p-1", "p-2")]
    assert isinstance(step(Terms(ALWAYS), refused, "p-0"), RolloutFailed)


def test_pod_that_waits_for_its_first_certificate_does_not_wait_for_a_window() -> None:
    """None is ready without it: mail is down."""
    stuck = replace(pod("p-0", ready=False), started_at=NOW - HOUR)
    assert isinstance(next_roll([state(stuck)], {}, NEW, progress(), NOW, terms=Terms(NIGHTLY)), ReloadPod)
    held(next_roll([state(stuck)], {}, NEW, progress(), NOW, terms=PAUSED))
