"""Collecting the evidence: what a sweep of the pods leaves behind."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from threading import Event

from fakes.clock import WallClock
from fakes.cluster import FakeCluster
from mailtls.lifecycle.plan import next_step
from mailtls.lifecycle.proof import targets
from mailtls.lifecycle.step import ProbePods, Rest
from mailtls.model.endpoint import Depth, Endpoint, Expected, Target
from mailtls.model.observed import Observed
from mailtls.model.reason import Finding, Reason
from mailtls.model.roll import RollProgress
from mailtls.model.spec import Apply, Port, TlsMode, TlsPolicy, Workload, WorkloadKind
from mailtls.model.workload import PodState, WorkloadState
from mailtls.passes.rolling import Rolling
from mailtls.world.metrics import Metrics
from unit.stories import DAY, certificate, desired, schedule, secret, seen

POSTFIX = Workload(
    WorkloadKind.STATEFUL_SET, "postfix", Apply.RELOAD, (Port(25, TlsMode.START_TLS, TlsPolicy.OPPORTUNISTIC),)
)
PODS = tuple(PodState(f"postfix-{n}", f"uid-{n}", (f"198.51.100.{n}",), ready=True) for n in range(2))
WANTED = desired(workloads=(POSTFIX,))


class AllIsWell:
    """A prober that finds the wanted certificate everywhere."""

    def __init__(self, clock: WallClock) -> None:
        self.clock = clock

    def probe(self, targets: Iterable[Target], expected: Expected, depth: Depth = Depth.QUICK) -> Sequence[Endpoint]:
        """Answer for each target at once."""
        return [Endpoint(each, self.clock.now(), served_sha256=expected.leaf_sha256) for each in targets]


def test_pod_that_vanished_between_two_sweeps_does_not_keep_the_pass_busy() -> None:
    """What is known of a pod that is gone must not make a sweep look incomplete for ever."""
    clock = WallClock()
    rolling = Rolling(FakeCluster(), AllIsWell(clock), clock, Metrics(), Event(), lambda _ref: b"")
    have = with_memory_of_a_pod_that_is_gone(clock)
    step = next_step(WANTED, have, clock.now())
    assert isinstance(step, ProbePods)
    assert isinstance(next_step(WANTED, rolling.probe(WANTED, have, step), clock.now()), Rest)


def with_memory_of_a_pod_that_is_gone(clock: WallClock) -> Observed:
    """A pass that saw two pods fail a while ago, of which one lives."""
    both, one = ((WorkloadState(POSTFIX, pods=pods, replicas_wanted=1),) for pods in (PODS, PODS[:1]))
    old = Finding(Reason.SERVING_OLD_CERTIFICATE, "The old certificate is served.")
    long_ago, now = clock.now() - DAY, clock.now()
    failing = tuple(Endpoint(each, long_ago, (old,), "00" * 32) for each in targets(both, "mx.example.test"))
    stored = secret(certificate=certificate(not_before=now - DAY, not_after=now + 80 * DAY))
    have = seen(secret=stored, schedule=schedule(renewal_at=now + 50 * DAY), workloads=one, endpoints=failing)
    return replace(have, probed_at=long_ago, progress=RollProgress(now, WANTED.rollout.timeout))
