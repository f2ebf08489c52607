"""Roots to trust that a person puts right: noticed within a minute, and all pods are asked with them."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from builders.contexts import a_context, wanting
from builders.reconciles import FIRST, PORT, SECOND, WANTED
from builders.reconciles import Operator as AnyOperator
from builders.stories import NOW
from fakes.clock import WallClock
from mailtls.api.spec import DataRef, Probe
from mailtls.api.state import Failure
from mailtls.kube.references import RECHECK_SECONDS
from mailtls.kube.snapshot import ObjectVersion
from mailtls.probe.target import Depth, Endpoint, Expected, Target
from mailtls.reasons.reason import Finding, Reason
from mailtls.rollout.steps import RollProgress
from mailtls.verification.decide import roots_are_in_doubt, roots_changed, verified_anew

BUNDLE = DataRef("ConfigMap", "mail", "company-root", "ca.crt")
PATH = "/api/v1/namespaces/mail/configmaps/company-root"
TRUSTING = replace(WANTED, probe=Probe(trust=BUNDLE))
UNTRUSTED = Finding(Reason.UNTRUSTED_ROOT, "Nobody trusts it.")


class Servers:
    """Serve the certificate that is wanted; whoever is not `modern` needs the old root, the other one the new."""

    def __init__(self, clock: WallClock) -> None:
        self.clock, self.asked, self.modern = clock, 0, {FIRST, SECOND}

    def probe(self, targets: Iterable[Target], expected: Expected, depth: Depth = Depth.QUICK) -> Sequence[Endpoint]:
        """Judge by the roots that the operator names now."""
        found = []
        for each in targets:
            self.asked += depth is not Depth.QUICK
            root = "new" if each.pod in self.modern else "old"
            findings = () if root in expected.extra_roots_pem else (UNTRUSTED,)
            found.append(Endpoint(each, self.clock.now(), findings, expected.leaf_sha256))
        return found


class Operator(AnyOperator):
    """One whose resource names a bundle."""

    def __init__(self, roots: str) -> None:
        clock = WallClock()
        self.servers = Servers(clock)
        super().__init__(clock, self.servers, TRUSTING)
        self.put(roots, "2026-01-01T00:00:00Z")

    def put(self, roots: str, at: str) -> None:
        """Write the bundle as a user does, at that time."""
        metadata = {"managedFields": [{"time": at}]}
        if PATH in self.cluster.objects:
            self.cluster.merge(PATH, {"metadata": metadata, "data": {"ca.crt": roots}})
        else:
            body = {"metadata": {**metadata, "name": "company-root"}, "data": {"ca.crt": roots}}
            self.cluster.create(PATH.rsplit("/", 1)[0], body)

    def reads(self) -> int:
        """How often the bundle was read so far, by looks and by probes."""
        return self.cluster.reads.count(PATH)


def test_corrected_roots_are_noticed_within_a_minute_and_all_pods_are_asked() -> None:
    """The pod that was trusted is asked as well, for its root may be gone from the bundle."""
    operator = Operator("old")
    operator.servers.modern = {SECOND}
    rests = [operator.look() for _ in range(2)]
    assert all(each.until is not None for each in rests)
    assert operator.seen.verification.roots is not None
    operator.put("new", operator.clock.now().isoformat())
    asked = operator.servers.asked
    operator.clock.advance(timedelta(seconds=RECHECK_SECONDS[1]))
    operator.look()
    assert [(each.target.pod, each.failure) for each in operator.seen.verification.endpoints] == [
        (FIRST, UNTRUSTED),
        (SECOND, None),
    ]
    assert operator.servers.asked - asked == 2


def test_operator_comes_back_for_the_next_look_while_roots_are_in_doubt() -> None:
    """However long the pause is until what fails is probed again."""
    operator = Operator("old")
    for _ in range(5):
        rest = operator.look()
    assert rest.until is not None
    assert rest.until - operator.clock.now() <= timedelta(seconds=RECHECK_SECONDS[1])


def test_roots_that_stay_as_they_are_cause_no_sweep() -> None:
    """A look that finds nothing new leaves the pods that are trusted alone."""
    operator = Operator("old")
    operator.servers.modern = {SECOND}
    operator.look()
    swept_at = operator.seen.verification.probed_at
    operator.clock.advance(timedelta(seconds=RECHECK_SECONDS[1]))
    operator.look()
    assert operator.seen.verification.probed_at == swept_at


def test_roots_that_nobody_doubts_are_not_looked_at() -> None:
    """Where all is trusted the bundle is read by probes only, and the look of an earlier doubt is forgotten."""
    operator = Operator("new")
    operator.look()
    read, asked = operator.reads(), operator.servers.asked
    operator.clock.advance(timedelta(seconds=RECHECK_SECONDS[1]))
    operator.look()
    assert (operator.reads(), operator.servers.asked) == (read, asked)
    assert operator.seen.verification.roots is None


def test_doubt_ends_with_its_cause() -> None:
    """A server that is trusted again by its own merit ends the looks."""
    operator = Operator("old")
    operator.look()
    assert roots_are_in_doubt(wanting(TRUSTING, operator.seen))
    operator.servers.modern = set()
    operator.look()
    operator.look()
    assert operator.seen.verification.roots is None
    assert not roots_are_in_doubt(wanting(TRUSTING, operator.seen))


@pytest.mark.parametrize(("seconds", "changed"), [(-1, False), (0, True), (5, True)])
def test_first_look_compares_with_the_time_of_the_probe(seconds: int, changed: bool) -> None:
    """The API server tells whole seconds, so that a change within the very second counts as one after it."""
    target = Target("198.51.100.1", PORT, "mx.example.test", pod=FIRST, workload="StatefulSet/postfix")
    untrusted = Endpoint(target, NOW.replace(microsecond=400_000), (UNTRUSTED,))
    sight = ObjectVersion(PATH, "2", NOW + timedelta(seconds=seconds))
    assert roots_changed(a_context(endpoints=(untrusted,)), sight) is changed


def test_rollout_that_failed_for_want_of_roots_goes_on_with_others() -> None:
    """It begins with a clean sheet instead of waiting for half an hour."""
    failed = Failure(UNTRUSTED, NOW + timedelta(minutes=30))
    progress = RollProgress(NOW, TRUSTING.rollout.timeout)
    freed = verified_anew(a_context(rollout_failure=failed, failures=3, progress=progress, probed_at=NOW))
    assert (freed.rollout.failure, freed.rollout.progress, freed.verification.probed_at, freed.rollout.failures) == (
        None,
        None,
        None,
        3,
    )
    assert verified_anew(a_context(progress=progress)).rollout.progress == progress
