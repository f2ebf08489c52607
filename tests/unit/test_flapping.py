"""Pods that are unready for a moment: what was learned of the same run is kept, and counts only while they serve."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from threading import Event

from fakes.clock import WallClock
from fakes.cluster import FakeCluster
from mailtls.lifecycle.evidence import confirmed
from mailtls.lifecycle.plan import next_step
from mailtls.lifecycle.report import served
from mailtls.lifecycle.step import ConfirmPods, LookAtWorkloads, ProbePods, Rest, Roll
from mailtls.lifecycle.store import about_another_certificate
from mailtls.model.endpoint import Depth, Endpoint, Expected, Target
from mailtls.model.observed import ServingSecret
from mailtls.model.reason import Finding, Reason, Severity
from mailtls.model.spec import Apply, Port, PrivateKeyPolicy, TlsMode, TlsPolicy, Workload, WorkloadKind
from mailtls.model.status import Schedule
from mailtls.passes.observe import Observer
from mailtls.passes.rolling import Rolling
from mailtls.world import keys
from mailtls.world.claims import Claims
from mailtls.world.metrics import Metrics
from mailtls.world.ports import Json
from mailtls.world.secrets import Secrets
from mailtls.world.spec import Defaults
from unit import kube
from unit.stories import DAY, desired
from unit.test_secrets import self_signed

PORT = Port(25, TlsMode.START_TLS, TlsPolicy.OPPORTUNISTIC)
WANTED = desired(workloads=(Workload(WorkloadKind.STATEFUL_SET, "postfix", Apply.NONE, (PORT,)),))
REFUSED = Finding(Reason.AUTH_FAILED, "The login was refused.")
OLD_TLS = Finding(Reason.LEGACY_TLS_ENABLED, "TLS 1.0 is accepted.", Severity.WARN)
DOWN = Finding(Reason.CONNECTION_REFUSED, "Nothing listens.")
PODS = "/api/v1/namespaces/mail/pods"
FIRST, SECOND = "postfix-0", "postfix-1"

Asked = list[tuple[str, Depth]]


class Servers:
    """A prober whose full looks find what a glance cannot see; `down` is a server that nobody can reach."""

    def __init__(self, clock: WallClock) -> None:
        self.clock, self.down = clock, ""
        self.asked: Asked = []

    def probe(self, targets: Iterable[Target], expected: Expected, depth: Depth = Depth.QUICK) -> Sequence[Endpoint]:
        """Answer for each target at once."""
        asked = list(targets)
        self.asked += [(each.pod, depth) for each in asked]
        return [self._answer(each, expected, depth) for each in asked]

    def _answer(self, target: Target, expected: Expected, depth: Depth) -> Endpoint:
        if target.pod == self.down:
            return Endpoint(target, self.clock.now(), (DOWN,))
        found = () if depth is Depth.QUICK else (REFUSED, OLD_TLS)
        return Endpoint(target, self.clock.now(), found, served_sha256=expected.leaf_sha256)


class Operator:
    """Goes from pass to pass as the reconciler does, over the pods that a test names."""

    def __init__(self) -> None:
        self.cluster, self.clock, key = FakeCluster(), WallClock(), keys.generate(PrivateKeyPolicy())
        self.servers, secrets = Servers(self.clock), Secrets(self.cluster)
        self.certificate = self_signed(key)
        secrets.store(WANTED, self.certificate, key, ServingSecret(exists=False))
        self.cluster.create("/apis/apps/v1/namespaces/mail/statefulsets", kube.workload())
        self.rolling = Rolling(self.cluster, self.servers, self.clock, Metrics(), Event(), lambda _ref: b"")
        self.observer = Observer(self.cluster, secrets, Claims(), self.clock, Defaults())

    def look(self, *, unready: str = "", run: str = "1", pods: tuple[str, ...] = (FIRST, SECOND)) -> Asked:
        """Make one pass over these pods; return who was asked, and how deep. `run` is the second one's."""
        for name in (FIRST, SECOND):
            self.cluster.delete(f"{PODS}/{name}")
        for name in pods:
            self.cluster.create(PODS, _pod(name, is_ready=name != unready, run=run if name == SECOND else "1"))
        before = len(self.servers.asked)
        self._pass()
        return self.servers.asked[before:]

    def _pass(self) -> None:
        seen = self.observer.observe(WANTED, {"metadata": {"generation": 1}})
        drawn = Schedule(self.certificate.sha256, self.clock.now() + 50 * DAY)
        seen = replace(seen, schedule=drawn, ask_ca_again_at=self.clock.now() + DAY)
        hands = {
            LookAtWorkloads: self.rolling.look,
            ProbePods: self.rolling.probe,
            ConfirmPods: self.rolling.confirm,
            Roll: self.rolling.roll,
        }
        while not isinstance(step := next_step(WANTED, seen, self.clock.now()), Rest):
            seen = hands[type(step)](WANTED, seen, step)  # type: ignore[operator]
        self.observer.remember(WANTED, seen)
        self.seen = seen

    def knows(self, pod: str) -> tuple[Finding, ...]:
        """What is said of a pod now."""
        return next((each.findings for each in self.seen.endpoints if each.target.pod == pod), ())


def _pod(name: str, *, is_ready: bool, run: str) -> Json:
    made = kube.pod(name, ready=str(is_ready), labels={"app": "postfix"})
    made["status"]["podIPs"] = [{"ip": "198.51.100.7"}]
    made["status"]["containerStatuses"] = [{"name": "postfix", "containerID": f"containerd://{name}-{run}"}]
    return made


def test_pod_that_was_unready_for_a_moment_is_only_glanced_at() -> None:
    """What a full look found of the same run stands, with the login that failed; the other pod is left alone."""
    operator = Operator()
    assert operator.look()[-2:] == [(FIRST, Depth.FULL), (SECOND, Depth.FULL)]
    for _ in range(3):
        assert operator.look(unready=SECOND) == []
        assert operator.knows(SECOND) == ()
        assert served(WANTED, operator.seen) == "0/1"  # the login of the first one is refused as well
        assert operator.look() == [(SECOND, Depth.QUICK)]
        assert operator.knows(SECOND) == (REFUSED, OLD_TLS)
        assert operator.seen.probed_depth is Depth.FULL


def test_only_pod_that_was_unready_is_no_sweep_of_all_when_it_is_back() -> None:
    """A glance at all there is must not move the time of the next sweep, nor be too shallow for one."""
    operator = Operator()
    operator.look(pods=(FIRST,))
    swept_at = operator.seen.probed_at
    assert operator.look(pods=(FIRST,), unready=FIRST) == []
    assert operator.look(pods=(FIRST,)) == [(FIRST, Depth.QUICK)]
    assert operator.seen.probed_at == swept_at


def test_container_that_restarted_while_unready_is_looked_into() -> None:
    """Another run is another server: nothing that was learned of the one before stands."""
    operator = Operator()
    operator.look()
    operator.look(unready=SECOND)
    operator.look(unready=SECOND, run="2")
    assert operator.seen.set_aside == ()
    assert operator.look(run="2") == [(SECOND, Depth.FULL)]


def test_pod_that_is_gone_is_forgotten() -> None:
    """One that was unready and then went leaves nothing behind."""
    operator = Operator()
    operator.look()
    operator.look(unready=SECOND)
    assert [each.target.pod for each in operator.seen.set_aside] == [SECOND]
    operator.look(pods=(FIRST,))
    assert operator.seen.set_aside == ()


def test_server_that_changed_while_unready_is_looked_into() -> None:
    """A glance that finds something else confirms nothing, and a full look follows at once."""
    operator = Operator()
    operator.look()
    operator.look(unready=SECOND)
    operator.servers.down = SECOND
    assert operator.look() == [(SECOND, Depth.QUICK), (SECOND, Depth.FULL)]
    assert operator.knows(SECOND) == (DOWN,)


def test_server_that_was_down_is_asked_in_full_after_it_was_unready() -> None:
    """Only what stands until the interval is over is kept aside."""
    operator = Operator()
    operator.look()
    operator.servers.down = SECOND
    operator.look(run="2")
    operator.look(unready=SECOND, run="2")
    assert operator.seen.set_aside == ()
    operator.servers.down = ""
    assert operator.look(run="2") == [(SECOND, Depth.FULL)]


def test_glance_at_one_pod_leaves_the_pace_at_which_another_is_asked_again() -> None:
    """A pod that flaps must not have one that is down asked every few seconds for ever."""
    operator = Operator()
    operator.look()
    operator.servers.down = FIRST
    operator.clock.advance(WANTED.probe.interval)
    operator.look()
    for failed in (2, 3, 4):
        operator.look(unready=SECOND)
        operator.look()
        assert operator.seen.probes_failed >= failed


def test_pod_that_missed_a_sweep_is_looked_into() -> None:
    """What was learned before the sweep is older than the interval allows."""
    operator = Operator()
    operator.look()
    operator.look(unready=SECOND)
    operator.clock.advance(WANTED.probe.interval)
    assert operator.look(unready=SECOND) == [(FIRST, Depth.FULL)]
    assert operator.look() == [(SECOND, Depth.FULL)]


def test_what_was_learned_with_another_certificate_is_forgotten() -> None:
    """Evidence on a pod is about one certificate."""
    operator = Operator()
    operator.look()
    operator.look(unready=FIRST)
    assert operator.seen.set_aside != ()
    assert about_another_certificate(operator.seen).set_aside == ()


def test_glance_confirms_only_what_it_finds_unchanged() -> None:
    """The same leaf and no new finding: all stands, seen now; anything else: nothing does."""
    now = WallClock().now()
    target = Target(FIRST, "StatefulSet/postfix", "198.51.100.1", PORT, "mx.example.test", "run")
    learned = Endpoint(target, now - DAY, (OLD_TLS,), "aa" * 32)
    assert confirmed(learned, Endpoint(target, now, (), "aa" * 32)) == replace(learned, checked_at=now)
    assert confirmed(learned, Endpoint(target, now, (OLD_TLS,), "aa" * 32)) is not None
    assert confirmed(learned, Endpoint(target, now, (), "00" * 32)) is None
    assert confirmed(learned, Endpoint(target, now, (REFUSED,), "aa" * 32)) is None
