"""Pods that are unready for a moment: what was learned of the same run is kept, and counts only while they serve."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest

from builders.contexts import wanting
from builders.reconciles import FIRST, PORT, POSTFIX, SECOND, WANTED
from builders.reconciles import Operator as AnyOperator
from builders.stories import DAY
from fakes.clock import WallClock
from mailtls.api.spec import Desired
from mailtls.api.status import ServedCount, Truth
from mailtls.api.workload import UpdateStrategy
from mailtls.probe.target import Depth, Endpoint, Expected, Target
from mailtls.reasons.reason import Finding, Reason, Severity
from mailtls.verification.conditions import served, verified
from mailtls.verification.evidence import evidence
from mailtls.verification.schedule import confirmed

REFUSED = Finding(Reason.AUTH_FAILED, "The login was refused.")
OLD_TLS = Finding(Reason.LEGACY_TLS_ENABLED, "TLS 1.0 is accepted.", Severity.WARN)
DOWN = Finding(Reason.CONNECTION_REFUSED, "Nothing listens.")

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


class Operator(AnyOperator):
    """Tells of each pass who was asked, and how deep."""

    def __init__(self, wanted: Desired = WANTED) -> None:
        clock = WallClock()
        self.servers = Servers(clock)
        super().__init__(clock, self.servers, wanted)

    def asks(self, *, unready: str = "", run: str = "1", pods: tuple[str, ...] = (FIRST, SECOND)) -> Asked:
        """Make one pass over these pods; return who was asked in it."""
        before = len(self.servers.asked)
        self.look(unready=unready, run=run, pods=pods)
        return self.servers.asked[before:]

    def says(self, pod: str) -> tuple[Finding, ...]:
        """What is said of a pod now."""
        known = self.knows(pod)
        return known.findings if known else ()


def test_pod_that_was_unready_for_a_moment_is_only_glanced_at() -> None:
    """What a full look found of the same run stands, with the login that failed; the other pod is left alone."""
    operator = Operator()
    assert operator.asks()[-2:] == [(FIRST, Depth.FULL), (SECOND, Depth.FULL)]
    for _ in range(3):
        assert operator.asks(unready=SECOND) == []
        assert operator.says(SECOND) == ()
        assert served(wanting(WANTED, operator.seen)) == ServedCount(
            0, 2
        )  # the login of the first one is refused as well
        assert operator.asks() == [(SECOND, Depth.QUICK)]
        assert operator.says(SECOND) == (REFUSED, OLD_TLS)
        assert operator.seen.verification.probed_depth is Depth.FULL


def test_login_that_failed_is_known_from_pass_to_pass_without_another_look() -> None:
    """Neither the next pass nor a glance, which tries no login, may take the failure for mended."""
    operator = Operator()
    operator.asks()
    for _ in range(2):
        assert operator.asks() == []
        assert operator.says(FIRST) == (REFUSED, OLD_TLS)
    operator.clock.advance(WANTED.probe.interval)
    assert operator.asks() == [(FIRST, Depth.FULL), (SECOND, Depth.FULL)]


def test_only_pod_that_was_unready_is_no_sweep_of_all_when_it_is_back() -> None:
    """A glance at all there is must not move the time of the next sweep, nor be too shallow for one."""
    operator = Operator()
    operator.asks(pods=(FIRST,))
    swept_at = operator.seen.verification.probed_at
    assert operator.asks(pods=(FIRST,), unready=FIRST) == []
    assert operator.asks(pods=(FIRST,)) == [(FIRST, Depth.QUICK)]
    assert operator.seen.verification.probed_at == swept_at


def test_container_that_restarted_while_unready_is_looked_into() -> None:
    """Another run is another server: nothing that was learned of the one before stands."""
    operator = Operator()
    operator.asks()
    operator.asks(unready=SECOND)
    operator.asks(unready=SECOND, run="2")
    assert operator.seen.verification.set_aside == ()
    assert operator.asks(run="2") == [(SECOND, Depth.FULL)]


def test_what_a_pod_proved_counts_while_it_is_unready() -> None:
    """A rollout that finds it unready knows that it lacks no certificate, until its processes are others."""
    operator = Operator()
    operator.asks()
    assert SECOND in {name for name, _ in evidence(operator.seen)}
    operator.asks(unready=SECOND)
    assert SECOND in {name for name, _ in evidence(operator.seen)}
    operator.asks(unready=SECOND, run="2")
    assert SECOND not in {name for name, _ in evidence(operator.seen)}


def test_port_that_closes_after_its_proof_costs_no_pod() -> None:
    """Not even one that is evicted for each certificate: not while it is closed, nor once its pod is unready for it."""
    operator = Operator(replace(WANTED, workloads=(replace(POSTFIX, update_strategy=UpdateStrategy.EVICT),)))
    operator.asks()
    operator.servers.down = SECOND
    for _ in range(2):
        operator.clock.advance(WANTED.probe.interval)
        assert (SECOND, Depth.FULL) in operator.asks()
        assert operator.says(SECOND) == (DOWN,)
        assert verified(operator.seen, operator.clock.now()).status is Truth.FALSE
    operator.asks(unready=SECOND)
    operator.servers.down = ""
    operator.asks()
    assert operator.says(SECOND) == (REFUSED, OLD_TLS)
    operator.servers.down = SECOND
    with pytest.raises(KeyError, match="Coordinating"):  # to evict takes a turn, which nobody here gives
        operator.asks(run="2")


def test_pod_that_is_gone_is_forgotten() -> None:
    """One that was unready and then went leaves nothing behind."""
    operator = Operator()
    operator.asks()
    operator.asks(unready=SECOND)
    assert [each.target.pod for each in operator.seen.verification.set_aside] == [SECOND]
    operator.asks(pods=(FIRST,))
    assert operator.seen.verification.set_aside == ()
    assert [target.pod for target in operator.seen.verification.shown] == [FIRST]


def test_server_that_changed_while_unready_is_looked_into() -> None:
    """A glance that finds something else confirms nothing, and a full look follows at once."""
    operator = Operator()
    operator.asks()
    operator.asks(unready=SECOND)
    operator.servers.down = SECOND
    assert operator.asks() == [(SECOND, Depth.QUICK), (SECOND, Depth.FULL)]
    assert operator.says(SECOND) == (DOWN,)


def test_server_that_was_down_is_asked_in_full_after_it_was_unready() -> None:
    """Only what stands until the interval is over is kept aside."""
    operator = Operator()
    operator.asks()
    operator.servers.down = SECOND
    operator.asks(run="2")
    operator.asks(unready=SECOND, run="2")
    assert operator.seen.verification.set_aside == ()
    operator.servers.down = ""
    assert operator.asks(run="2") == [(SECOND, Depth.FULL)]


def test_glance_at_one_pod_leaves_the_pace_at_which_another_is_asked_again() -> None:
    """A pod that flaps must not have one that is down asked every few seconds for ever."""
    operator = Operator()
    operator.asks()
    operator.servers.down = FIRST
    operator.clock.advance(WANTED.probe.interval)
    operator.asks()
    since = operator.seen.verification.still_failing
    assert len(since) == 1
    for _ in range(3):
        operator.asks(unready=SECOND)
        operator.asks()
        assert operator.seen.verification.still_failing == since


def test_pod_that_missed_a_sweep_is_looked_into() -> None:
    """What was learned before the sweep is older than the interval allows."""
    operator = Operator()
    operator.asks()
    operator.asks(unready=SECOND)
    operator.clock.advance(WANTED.probe.interval)
    assert operator.asks(unready=SECOND) == [(FIRST, Depth.FULL)]
    assert operator.asks() == [(SECOND, Depth.FULL)]


def test_what_was_learned_with_another_certificate_is_forgotten() -> None:
    """Evidence on a pod is about one certificate."""
    operator = Operator()
    operator.asks()
    operator.asks(unready=FIRST)
    assert operator.seen.verification.set_aside != ()
    assert operator.seen.about_another_certificate().verification.set_aside == ()


def test_glance_confirms_only_what_it_finds_unchanged() -> None:
    """The same leaf and no new finding: all stands, seen now; anything else: nothing does."""
    now = WallClock().now()
    target = Target("198.51.100.1", PORT, "mx.example.test", pod=FIRST, workload="StatefulSet/postfix", run="run")
    learned = Endpoint(target, now - DAY, (OLD_TLS,), "aa" * 32)
    assert confirmed(learned, Endpoint(target, now, (), "aa" * 32)) == replace(learned, checked_at=now)
    assert confirmed(learned, Endpoint(target, now, (OLD_TLS,), "aa" * 32)) is not None
    assert confirmed(learned, Endpoint(target, now, (), "00" * 32)) is None
    assert confirmed(learned, Endpoint(target, now, (REFUSED,), "aa" * 32)) is None
