"""Collecting the evidence: what a sweep of the pods leaves behind."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from threading import Event

import pytest

from builders.contexts import a_context, next_step, wanting
from builders.kube import basic_auth
from builders.kube import workload as kube_workload
from builders.stories import DAY, NOW, certificate, desired, schedule, secret
from fakes.clock import WallClock
from fakes.cluster import FakeCluster
from mailtls.api.reading.document import Json
from mailtls.api.spec import Probe
from mailtls.api.status import Status, Stored
from mailtls.api.status_json import write
from mailtls.api.workload import Daemon, UpdateStrategy, Workload, WorkloadKind
from mailtls.context import Context
from mailtls.controller.status_writer import report_of
from mailtls.kube.interface import Executed
from mailtls.kube.references import References, TrialLogin, trial_login
from mailtls.kube.workload import PodState, Reader, WorkloadState
from mailtls.metrics import Metrics
from mailtls.net.backoff import PROBE, REFUSED_PORT
from mailtls.net.effects import within
from mailtls.probe.target import Credentials, Depth, Endpoint, Expected, Port, Protocol, Target, TlsMode, TlsPolicy
from mailtls.reasons.reason import Finding, Reason, Severity
from mailtls.rollout.decide import ReadWorkloads, Roll
from mailtls.rollout.execute import Rolling
from mailtls.rollout.steps import ReloadPod, RolloutFailed, RollProgress
from mailtls.step import Rest
from mailtls.verification.decide import ProbePods
from mailtls.verification.evidence import targets
from mailtls.verification.execute import Probing
from mailtls.verification.schedule import depth_to_probe, next_probe_at, swept_again_at, targets_to_probe
from mailtls.verification.state import stands

IMAPS = Port(993, TlsMode.IMPLICIT, TlsPolicy.ENFORCED, Protocol.IMAP)
SMTP = Port(25, TlsMode.START_TLS, TlsPolicy.OPPORTUNISTIC)
POSTFIX = Workload(WorkloadKind.STATEFUL_SET, "postfix", UpdateStrategy.RELOAD, (Daemon("postfix", (SMTP,)),))
SLOW = {seconds: replace(SMTP, timeout=timedelta(seconds=seconds)) for seconds in (20, 60)}
PODS = tuple(PodState(f"postfix-{n}", f"uid-{n}", (f"198.51.100.{n}",), ready=True) for n in range(2))
WANTED = desired(workloads=(POSTFIX,))


class AllIsWell:
    """A prober that finds the wanted certificate everywhere."""

    def __init__(self, clock: WallClock) -> None:
        self.clock = clock
        self.depths: list[Depth] = []

    def probe(self, targets: Iterable[Target], expected: Expected, depth: Depth = Depth.QUICK) -> Sequence[Endpoint]:
        """Answer for each target at once."""
        self.depths.append(depth)
        return [Endpoint(each, self.clock.now(), served_sha256=expected.leaf_sha256) for each in targets]


def rolling(cluster: FakeCluster, clock: WallClock) -> Rolling:
    """Make the executor over pods that are all well."""
    probing = Probing(cluster, AllIsWell(clock), clock, Metrics(), lambda _ref: b"", References(cluster, clock))
    return Rolling(cluster, probing, clock, Metrics(), Event())


def test_restart_that_was_taken_back_is_remembered_by_the_next_attempt() -> None:
    """It is forgotten with the certificate, and not with the attempt."""
    clock = WallClock()
    found = Finding(Reason.TEMPLATE_REVERTED, "Put back.", subject=str(POSTFIX))
    failed = rolling(FakeCluster(), clock).roll(a_context(WANTED), Roll(RolloutFailed(found)))
    assert failed.rollout.failure is not None
    again = replace(failed, rollout=failed.rollout.tried_anew())
    begun = rolling(FakeCluster(), clock).read(again, ReadWorkloads()).rollout.progress
    assert begun is not None
    assert begun.reverted == {str(POSTFIX)}
    assert again.about_another_certificate().rollout.reverted == frozenset()


def test_pods_are_older_than_the_secret_until_all_have_proven_a_certificate_of_it() -> None:
    """A renewal grants their servers the whole settle time, and restarts none that a reload suffices for."""
    for stored, made_at in (
        (None, NOW),
        (Stored("mx-tls", "u", "aa"), NOW),
        (Stored("mx-tls", "u", "aa", proven_in=(str(POSTFIX),)), None),
        (Stored("mx-tls", "u", "aa", proven_in=("StatefulSet/dovecot",)), NOW),
        (Stored("mx-tls", "another", "aa", proven_in=(str(POSTFIX),)), NOW),
    ):
        context = a_context(WANTED, secret=replace(secret(), made_at=NOW, uid="u"), status=Status(stored=stored))
        begun = rolling(FakeCluster(), WallClock()).read(context, ReadWorkloads()).rollout.progress
        assert begun is not None
        assert begun.secret_made_at == made_at


def test_secret_that_is_immutable_makes_a_reload_impossible() -> None:
    """Whoever writes it may have to: that it is so is read with the Secret."""
    path = f"/apis/apps/v1/namespaces/{WANTED.key.namespace}/statefulsets/postfix"
    cluster = FakeCluster({path: kube_workload()})
    for is_immutable, reason in ((True, Reason.SECRET_IMMUTABLE), (False, None)):
        context = a_context(WANTED, secret=replace(secret(), is_immutable=is_immutable))
        (state,) = rolling(cluster, WallClock()).read(context, ReadWorkloads()).snapshot.workloads or ()
        assert (state.finding.reason if state.finding else None) is reason


def test_pod_is_probed_after_a_failed_reload_where_another_daemon_may_serve_the_certificate_already() -> None:
    """Postfix was reloaded before Dovecot failed: the status shows it, and the next attempt leaves Postfix alone."""
    postfix, dovecot = (Daemon(name, (port,), (name,), name) for name, port in (("postfix", SMTP), ("dovecot", IMAPS)))
    clock, of = WallClock(), replace(POSTFIX, daemons=(postfix, dovecot))
    pod = replace(PODS[0], readers=(Reader("postfix"), Reader("dovecot")))
    cluster = FakeCluster(
        {f"/api/v1/namespaces/{WANTED.key.namespace}/pods/{pod.name}": {"metadata": {"uid": pod.uid}}},
        answer=lambda command: Executed(75 if command[-1] == "dovecot" else 0, "", ""),
    )
    for failing, probed in ((of, [25, 993]), (replace(of, daemons=(dovecot,)), [])):
        its = replace(pod, readers=pod.readers[: len(failing.daemons)])
        have = a_context(
            WANTED, workloads=(WorkloadState(failing, pods=(its,)),), secret=secret(certificate=certificate())
        )
        have = have.with_rollout(progress=RollProgress(clock.now(), WANTED.rollout.timeout))
        after = replace(rolling(cluster, clock), file_patience=timedelta(0)).roll(have, Roll(ReloadPod(failing, its)))
        assert after.rollout.progress is not None
        assert after.rollout.progress.faults[pod.uid].reason is Reason.RELOAD_FAILED
        assert [each.target.port.port for each in after.verification.endpoints] == probed


class LateToServe(AllIsWell):
    """A prober of a server that serves what it has for some probes more."""

    def __init__(self, clock: WallClock, late: int) -> None:
        super().__init__(clock)
        self._late = late

    def probe(self, targets: Iterable[Target], expected: Expected, depth: Depth = Depth.QUICK) -> Sequence[Endpoint]:
        """Answer for each target with the old certificate first."""
        self._late -= 1
        every = super().probe(targets, expected, depth)
        return [replace(each, served_sha256="0ld") for each in every] if self._late >= 0 else every


@pytest.mark.parametrize(("timeout", "seconds", "is_probed"), [(20, 30, True), (60, 90, True), (60, 60, False)])
def test_port_is_probed_within_the_step_only_where_its_time_is_left(
    timeout: int, seconds: float, is_probed: bool
) -> None:
    """A probe that is cut short finds a dead port where one is slow, and the rollout would fail for it."""
    clock, of = WallClock(), replace(POSTFIX, daemons=(Daemon("postfix", (SLOW[timeout],)),))
    have = a_context(WANTED, workloads=(WorkloadState(of, pods=PODS),), secret=secret(certificate=certificate()))
    old = [Endpoint(each, clock.now(), served_sha256="0ld") for each in targets(have.snapshot.workloads or (), "mx")]
    progress = RollProgress(clock.now(), WANTED.rollout.timeout, acted_at={PODS[0].uid: clock.now()})
    have = have.with_rollout(progress=progress).with_verification(endpoints=tuple(old))
    with within(seconds):
        after = rolling(FakeCluster(), clock)._settle(have, ReloadPod(of, PODS[0]))
    known = {each.target.pod: each.served_sha256 for each in after.verification.endpoints}
    assert known == {**({PODS[0].name: certificate().sha256} if is_probed else {}), PODS[1].name: "0ld"}
    assert {each.pod for each in targets_to_probe(after, clock.now())} >= (set() if is_probed else {PODS[0].name})


class Waits(Event):
    """Lets the clock run on instead of waiting, and keeps what was waited for."""

    def __init__(self, clock: WallClock) -> None:
        super().__init__()
        self.clock = clock
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        """Note the time."""
        self.waits.append(timeout or 0.0)
        self.clock.advance(timedelta(seconds=timeout or 0.0))
        return self.is_set()


@pytest.mark.parametrize(("late", "waited"), [(0, []), (3, [0.05, 0.075, 0.1125])])
def test_reloaded_server_is_probed_at_once_and_then_ever_less_often(late: int, waited: list[float]) -> None:
    """Most serve the new certificate at their first connection; who takes longer is not kept busy."""
    clock = WallClock()
    stopping, pod = Waits(clock), replace(PODS[0], readers=(Reader("postfix"),))
    state = WorkloadState(POSTFIX, pods=(pod,))
    have = a_context(WANTED, workloads=(state,), secret=secret(certificate=certificate()))
    progress = RollProgress(clock.now(), WANTED.rollout.timeout, acted_at={pod.uid: clock.now()})
    have, step = have.with_rollout(progress=progress), ReloadPod(POSTFIX, pod)
    made = rolling(FakeCluster(), clock)
    made = replace(made, stopping=stopping, probing=replace(made.probing, prober=LateToServe(clock, late)))
    context = made._settle(have, step)
    assert stopping.waits == pytest.approx(waited)
    assert {each.served_sha256 for each in context.verification.endpoints} == {certificate().sha256}


def test_pod_that_vanished_between_two_sweeps_does_not_keep_the_pass_busy() -> None:
    """What is known of a pod that is gone must not make a sweep look incomplete for ever."""
    clock = WallClock()
    probing = Probing(
        FakeCluster(), AllIsWell(clock), clock, Metrics(), lambda _ref: b"", References(FakeCluster(), clock)
    )
    have = with_memory_of_a_pod_that_is_gone(clock)
    step = next_step(wanting(WANTED, have), clock.now())
    assert isinstance(step, ProbePods)
    assert isinstance(next_step(wanting(WANTED, probing.probe(wanting(WANTED, have), step)), clock.now()), Rest)


def test_container_that_restarted_is_asked_again_and_the_others_are_not() -> None:
    """What a server said before it restarted proves nothing about what it serves since."""
    clock = WallClock()
    before = (WorkloadState(POSTFIX, pods=PODS, replicas_wanted=2),)
    now, of_both = clock.now(), targets(before, "mx.example.test")
    proven = tuple(Endpoint(each, clock.now(), served_sha256="aa" * 32) for each in of_both)
    have = a_context(
        secret=secret(certificate=certificate(not_before=now - DAY, not_after=now + 80 * DAY)),
        schedule=schedule(renewal_at=now + 50 * DAY),
        workloads=before,
        endpoints=proven,
        probed_at=now,
        progress=RollProgress(now, WANTED.rollout.timeout),
    )
    assert isinstance(next_step(wanting(WANTED, have), now), Rest)
    restarted = (WorkloadState(POSTFIX, pods=(PODS[0], replace(PODS[1], run="again")), replicas_wanted=2),)
    step = next_step(wanting(WANTED, have.with_snapshot(workloads=restarted)), now)
    assert isinstance(step, ProbePods)
    assert [(target.pod, target.run) for target in step.targets] == [("postfix-1", "again")]


def with_memory_of_a_pod_that_is_gone(clock: WallClock) -> Context:
    """A pass that saw two pods fail a while ago, of which one lives."""
    both, one = ((WorkloadState(POSTFIX, pods=pods, replicas_wanted=1),) for pods in (PODS, PODS[:1]))
    old = Finding(Reason.SERVING_OLD_CERTIFICATE, "The old certificate is served.")
    long_ago, now = clock.now() - DAY, clock.now()
    failing = tuple(Endpoint(each, long_ago, (old,), "00" * 32) for each in targets(both, "mx.example.test"))
    stored = secret(certificate=certificate(not_before=now - DAY, not_after=now + 80 * DAY))
    have = a_context(secret=stored, schedule=schedule(renewal_at=now + 50 * DAY), workloads=one, endpoints=failing)
    return have.with_verification(probed_at=long_ago).with_rollout(progress=RollProgress(now, WANTED.rollout.timeout))


def test_sweep_looks_deep_once_the_rollout_has_ended() -> None:
    """Before every pod has the certificate a glance is enough; then all are looked into, at the depth of the spec."""
    clock = WallClock()
    prober = AllIsWell(clock)
    probing = Probing(FakeCluster(), prober, clock, Metrics(), lambda _ref: b"", References(FakeCluster(), clock))
    have = with_memory_of_a_pod_that_is_gone(clock).with_verification(
        endpoints=(), probed_at=None, probed_depth=Depth.QUICK
    )
    for depth in (Depth.QUICK, Depth.FULL):
        step = next_step(wanting(WANTED, have), clock.now())
        assert isinstance(step, ProbePods)
        assert step.depth is depth
        have = probing.probe(wanting(WANTED, have), step)
    assert prober.depths == [Depth.QUICK, Depth.FULL]
    assert isinstance(next_step(wanting(WANTED, have), clock.now()), Rest)


def test_next_certificate_is_looked_deep_at_once_it_has_rolled_out() -> None:
    """How deep the pods were probed with the certificate before says nothing about the one that was stored since."""
    clock = WallClock()
    have = with_memory_of_a_pod_that_is_gone(clock)
    stored = have.with_verification(probed_depth=Depth.FULL).about_another_certificate()
    step = next_step(
        wanting(
            WANTED, stored.with_snapshot(workloads=have.snapshot.workloads).with_rollout(progress=have.rollout.progress)
        ),
        clock.now(),
    )
    assert isinstance(step, ProbePods)
    assert step.depth is Depth.QUICK


def test_login_that_failed_is_not_tried_again_before_the_interval() -> None:
    """Servers lock out who fails too often; any other failure is looked at again within seconds."""
    clock = WallClock()
    have, now, due = with_memory_of_a_pod_that_is_gone(clock), clock.now(), {}
    for reason in (Reason.AUTH_FAILED, Reason.SELF_SIGNED):
        found = tuple(replace(each, findings=(Finding(reason, "No."),)) for each in have.verification.endpoints)
        found = tuple(replace(each, checked_at=now) for each in found)
        due[reason] = next_probe_at(wanting(WANTED, have.with_verification(endpoints=found, probed_at=now)), now)
    assert due[Reason.AUTH_FAILED] == swept_again_at(WANTED, now)
    assert due[Reason.SELF_SIGNED] == now + PROBE.first


def test_endpoint_that_fails_is_asked_again_alone_and_ever_less_often() -> None:
    """A pod that is down must cost the others no look, and all are swept when the interval is over."""
    clock = WallClock()
    probing = Probing(
        FakeCluster(), AllIsWell(clock), clock, Metrics(), lambda _ref: b"", References(FakeCluster(), clock)
    )
    states, now = (WorkloadState(POSTFIX, pods=PODS, replicas_wanted=2),), clock.now()
    good, bad = (Endpoint(each, now, served_sha256="aa" * 32) for each in targets(states, "mx.example.test"))
    expired = Finding(Reason.CERTIFICATE_EXPIRED, "It has expired.")
    have = a_context(
        secret=secret(certificate=certificate(not_before=now - DAY, not_after=now + 80 * DAY)),
        workloads=states,
        endpoints=(good,),  # what failed is not carried from pass to pass
        probed_at=now,
        probed_depth=Depth.FULL,
        failing_since={bad.target: now - timedelta(seconds=40)},
        progress=RollProgress(now, WANTED.rollout.timeout),
    )
    assert targets_to_probe(wanting(WANTED, have), now + DAY / 48) == (bad.target,)
    assert targets_to_probe(wanting(WANTED, have), now + WANTED.probe.interval) == (good.target, bad.target)

    still = have.with_verification(endpoints=(good, replace(bad, findings=(expired,))))
    assert next_probe_at(wanting(WANTED, still), now) == now + timedelta(seconds=80)
    assert still.verification.still_failing == have.verification.failing_since
    mended = probing.probe(wanting(WANTED, have), ProbePods((bad.target,), Depth.FULL))
    assert (mended.verification.probed_at, mended.verification.still_failing) == (now, {})
    assert next_probe_at(wanting(WANTED, mended), now) == swept_again_at(WANTED, now)


@pytest.mark.parametrize(("failing_for", "seconds"), [(0, 1), (6, 3), (60, 30), (7200, 300)])
def test_port_that_nobody_listens_on_is_probed_again_within_half_the_time_it_is_down(
    failing_for: int, seconds: int
) -> None:
    """A server that is starting is found within moments, one that is gone for good costs next to nothing."""
    clock = WallClock()
    have, now = with_memory_of_a_pod_that_is_gone(clock), clock.now()
    refused = (Finding(Reason.CONNECTION_REFUSED, "Nothing listens."),)
    found = tuple(replace(each, findings=refused, checked_at=now) for each in have.verification.endpoints)
    since = {each.target: now - timedelta(seconds=failing_for) for each in found}
    have = have.with_verification(endpoints=found, probed_at=now, failing_since=since)
    assert next_probe_at(wanting(WANTED, have), now) == now + timedelta(seconds=seconds)
    assert REFUSED_PORT.first <= timedelta(seconds=seconds) <= PROBE.cap


def test_pod_that_was_replaced_inherits_no_patience() -> None:
    """A new run of a pod that failed for an hour is probed again within a second."""
    clock = WallClock()
    have, now = with_memory_of_a_pod_that_is_gone(clock), clock.now()
    refused = (Finding(Reason.CONNECTION_REFUSED, "Nothing listens."),)
    old = tuple(replace(each, findings=refused, checked_at=now) for each in have.verification.endpoints)
    have = have.with_verification(endpoints=old, probed_at=now, failing_since={old[0].target: now - timedelta(hours=1)})
    again = replace(old[0], target=replace(old[0].target, run="another"))
    assert next_probe_at(wanting(WANTED, have.with_verification(endpoints=(again,))), now) == now + REFUSED_PORT.first


def test_spec_that_wants_a_glance_gets_no_more() -> None:
    """With `depth: Quick` one sweep is enough."""
    clock = WallClock()
    probing = Probing(
        FakeCluster(), AllIsWell(clock), clock, Metrics(), lambda _ref: b"", References(FakeCluster(), clock)
    )
    have = with_memory_of_a_pod_that_is_gone(clock).with_verification(
        endpoints=(), probed_at=None, probed_depth=Depth.QUICK
    )
    modest = replace(WANTED, probe=Probe(depth=Depth.QUICK))
    step = next_step(wanting(modest, have), clock.now())
    assert isinstance(step, ProbePods)
    assert isinstance(next_step(wanting(modest, probing.probe(wanting(modest, have), step)), clock.now()), Rest)


WEEKLY = replace(WANTED, probe=Probe(deep_interval=timedelta(days=7)))
INJECTED = Finding(Reason.STARTTLS_COMMAND_INJECTION, "A command behind STARTTLS was carried out.")


def proven(clock: WallClock) -> Context:
    """A pass that has just seen both pods serve the stored certificate, by a full probe."""
    states, now = (WorkloadState(POSTFIX, pods=PODS, replicas_wanted=2),), clock.now()
    return a_context(
        secret=secret(certificate=certificate(not_before=now - DAY, not_after=now + 80 * DAY)),
        schedule=schedule(renewal_at=now + 50 * DAY),
        workloads=states,
        endpoints=tuple(Endpoint(each, now, served_sha256="aa" * 32) for each in targets(states, "mx.example.test")),
        probed_at=now,
        probed_depth=Depth.FULL,
        progress=RollProgress(now, WANTED.rollout.timeout),
    )


def test_deep_probe_has_a_schedule_of_its_own() -> None:
    """The interval of deep probes is kept besides the usual one, and reckoned from the last that was deep."""
    clock = WallClock()
    probing = Probing(
        FakeCluster(), AllIsWell(clock), clock, Metrics(), lambda _ref: b"", References(FakeCluster(), clock)
    )
    have, now = proven(clock), clock.now()
    assert isinstance(next_step(wanting(WANTED, have), now), Rest)
    step = next_step(wanting(WEEKLY, have), now)
    assert isinstance(step, ProbePods)
    assert step.depth is Depth.DEEP
    have = probing.probe(wanting(WEEKLY, have), step)
    assert isinstance(next_step(wanting(WEEKLY, have), clock.now()), Rest)
    assert have.verification.deep_probed_at is not None
    assert depth_to_probe(wanting(WEEKLY, have), have.verification.deep_probed_at + 6 * DAY) is Depth.FULL
    assert depth_to_probe(wanting(WEEKLY, have), have.verification.deep_probed_at + 7 * DAY) is Depth.DEEP
    due_at = have.verification.deep_probed_at + 7 * DAY
    late = have.with_verification(probed_at=due_at - timedelta(minutes=1))
    assert next_step(wanting(WEEKLY, late), due_at - timedelta(seconds=1)) == Rest(due_at)


def test_deep_probe_waits_for_the_end_of_a_rollout() -> None:
    """What a server may resent is not done to it while its certificate is on its way."""
    clock = WallClock()
    have = with_memory_of_a_pod_that_is_gone(clock)
    assert depth_to_probe(wanting(WEEKLY, have.with_verification(probed_depth=Depth.QUICK)), clock.now()) is Depth.QUICK


@pytest.mark.parametrize(("value", "depth"), [("deep-2", Depth.DEEP), ("2", Depth.FULL)])
def test_annotation_that_begins_with_deep_asks_for_a_deep_probe_once(value: str, depth: Depth) -> None:
    """A person may ask for it by hand, at any time."""
    clock = WallClock()
    probing = Probing(
        FakeCluster(), AllIsWell(clock), clock, Metrics(), lambda _ref: b"", References(FakeCluster(), clock)
    )
    asking, have = replace(WANTED, probe_requested=value), proven(clock).with_verification(handled_probe="1")
    step = next_step(wanting(asking, have), clock.now())
    assert isinstance(step, ProbePods)
    assert step.depth is depth
    assert isinstance(next_step(wanting(asking, probing.probe(wanting(asking, have), step)), clock.now()), Rest)


def test_finding_of_a_deep_probe_stands_until_the_next_deep_one() -> None:
    """A shallower probe does not ask, so it must not make the fault vanish from the status an hour later."""
    clock = WallClock()
    probing = Probing(
        FakeCluster(), AllIsWell(clock), clock, Metrics(), lambda _ref: b"", References(FakeCluster(), clock)
    )
    have = proven(clock)
    bad = replace(have.verification.endpoints[0], findings=(INJECTED,))
    have = have.with_verification(endpoints=(bad, have.verification.endpoints[1]), deep_probed_at=clock.now())
    every = tuple(each.target for each in have.verification.endpoints)
    have = probing.probe(wanting(WEEKLY, have), ProbePods(every, Depth.FULL))
    assert [each.findings for each in have.verification.endpoints] == [(INJECTED,), ()]
    assert stands(have.verification.endpoints[0])
    assert "deepProbeTime" not in {name for name, value in write(report_of(have, (), clock.now())).items() if value}
    have = probing.probe(wanting(WEEKLY, have), ProbePods(every, Depth.DEEP))
    assert [each.findings for each in have.verification.endpoints] == [(), ()]
    assert write(report_of(have, (), clock.now()))["deepProbeTime"]


WITH_LOGIN = replace(WANTED, probe=Probe(auth_secret="probe-user"))


def test_login_of_the_spec_is_read_from_its_secret() -> None:
    """A resource that names a Secret gets its user, one that names none gets nobody and no warning."""
    cluster = FakeCluster()
    cluster.create("/api/v1/namespaces/mail/secrets", basic_auth(username="u", password="p"))
    trial = trial_login(cluster, WITH_LOGIN)
    assert (trial.whom, trial.missing) == (Credentials("u", "p"), None)
    assert trial_login(cluster, WANTED) == TrialLogin()


@pytest.mark.parametrize(
    "secret",
    [
        None,
        basic_auth("Opaque", username="u", password="p"),
        basic_auth(username="u"),
        basic_auth(username="u", password="a\nb"),
    ],
)
def test_secret_that_holds_no_login_is_a_warning(secret: Json | None) -> None:
    """A missing Secret, one of another type, or one without the entries is said in a sentence, and nobody logs in."""
    cluster = FakeCluster()
    if secret is not None:
        cluster.create("/api/v1/namespaces/mail/secrets", secret)
    trial = trial_login(cluster, WITH_LOGIN)
    warning = trial.missing
    assert trial.whom is None
    assert warning is not None
    assert (warning.reason, warning.severity) == (Reason.CREDENTIALS_MISSING, Severity.WARN)
    assert "probe-user" in warning.message
