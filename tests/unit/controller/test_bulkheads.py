"""Bulkheads: what waits on something dead takes a part of the workers, what is well takes all, and nobody starves."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.contexts import a_context
from builders.stories import NOW, desired
from mailtls.api.spec import Acme, DataRef, Desired, Key, Place, PlaceKind, SolverSpec
from mailtls.api.state import Failure
from mailtls.controller.bulkheads import Bulkheads
from mailtls.controller.compartments import SLOW, UNSEEN, Compartments, outcomes
from mailtls.controller.queue import WorkQueue
from mailtls.domains.policy import CheckDomains
from mailtls.issuance.decide import AdvanceOrder, CloseOrder, OpenOrder, SaveOrder, StageKey
from mailtls.issuance.order import PendingChallenge, Present
from mailtls.issuance.order_state import AuthorizationState, ChallengeState
from mailtls.issuance.solvers.dns01 import Dns01
from mailtls.issuance.solvers.dns_update import Rfc2136
from mailtls.issuance.solvers.http01 import Http01
from mailtls.probe.target import Endpoint, Port, Target, TlsMode, TlsPolicy
from mailtls.reasons.reason import Finding, Reason
from mailtls.rollout.decide import ReadWorkloads
from mailtls.step import NoPlace, Step, ca_of
from mailtls.verification.decide import ProbePods

WORKERS = 16
SHARE = 4
CA = Place(PlaceKind.CA, "ca.example")
OTHER_CA = Place(PlaceKind.CA, "other.example")
DNS = Place(PlaceKind.DNS, "192.0.2.53")
SOON = 5.0


def pods(namespace: str) -> Place:
    """The pods of a namespace."""
    return Place(PlaceKind.PODS, namespace)


def key(number: int, namespace: str | None = None) -> Key:
    """A resource, by default in a namespace of its own."""
    return Key(namespace or f"ns-{number}", f"mx-{number}")


def at(*places: Place) -> frozenset[Place]:
    """Places to wait on."""
    return frozenset(places)


def ships(*well: Place) -> Compartments:
    """Compartments that know of places that answered."""
    made = Compartments(WORKERS)
    for number, place in enumerate(well):
        assert made.enter(key(9000 + number), at(place), 0.0)[0]
        made.leave(key(9000 + number), {place: True}, 0.0)
    return made


def test_a_place_that_answers_takes_all_workers() -> None:
    """One big namespace on a healthy cluster is not slowed down."""
    made = ships(CA)
    assert all(made.enter(key(each, "mail"), at(CA), 0.0)[0] for each in range(WORKERS))


def test_a_place_never_tried_takes_a_quarter_until_it_answers() -> None:
    """The first answer lets all others go on."""
    made = ships()
    entered = [made.enter(key(each), at(CA), 0.0)[0] for each in range(10)]
    assert entered == [True] * SHARE + [False] * 6
    assert made.leave(key(0), {CA: True}, 0.1) == [key(each) for each in range(4, 10)]


def test_a_place_that_does_not_answer_takes_a_quarter() -> None:
    """Each that leaves makes room for one more, in the order in which they came."""
    made = ships()
    for each in range(10):
        made.enter(key(each), at(CA), 0.0)
    assert made.leave(key(0), {CA: False}, 10.0) == [key(4)]
    assert made.leave(key(1), {CA: False}, 10.0) == [key(5)]
    assert made.waiting() == 4


def test_a_place_that_stops_answering_is_noticed_while_it_is_waited_on() -> None:
    """Not only once somebody gives up."""
    made = ships(CA)
    assert all(made.enter(key(each), at(CA), 0.0)[0] for each in range(SHARE))
    assert made.enter(key(4), at(CA), SLOW / 2)[0]
    assert not made.enter(key(5), at(CA), SLOW)[0]


def test_a_dead_place_does_not_block_another() -> None:
    """Who waits for a place keeps nobody else from theirs."""
    made = ships(OTHER_CA)
    for each in range(10):
        made.enter(key(each), at(CA), 0.0)
    assert all(made.enter(key(each), at(OTHER_CA), 0.0)[0] for each in range(20, 32))


def test_one_namespace_with_many_dead_places_takes_a_quarter() -> None:
    """A tenant who names a dead CA in each resource gains nothing by it."""
    made = ships()
    dead = [at(Place(PlaceKind.CA, f"dead-{each}.example")) for each in range(10)]
    assert [made.enter(key(each, "evil"), place, 0.0)[0] for each, place in enumerate(dead)].count(True) == SHARE
    assert made.enter(key(50, "good"), at(OTHER_CA), 0.0)[0]


def test_many_namespaces_with_dead_places_leave_a_part_of_the_workers() -> None:
    """Never tried: three quarters; once they are known to be dead: half."""
    made = ships(OTHER_CA)
    dead = [at(Place(PlaceKind.CA, f"dead-{each}.example")) for each in range(40)]
    entered = [each for each, place in enumerate(dead) if made.enter(key(each), place, 0.0)[0]]
    assert len(entered) == WORKERS - SHARE
    for each in entered:
        made.leave(key(each), dict.fromkeys(dead[each], False), 10.0)
        made.enter(key(each), dead[each], 10.0)
    assert made.enter(key(99), at(OTHER_CA), 10.0)[0]


def test_pods_are_judged_for_each_resource() -> None:
    """Neighbours whose pods answer go on beside those whose pods are dead."""
    made = ships()
    place, well = pods("mail"), key(0, "mail")
    made.enter(well, at(place), 0.0)
    made.leave(well, {place: True}, 0.1)
    dead = [key(each, "mail") for each in range(1, 1 + SHARE)]
    for each in dead:
        assert made.enter(each, at(place), 1.0)[0]
        made.leave(each, {place: False}, 6.0)
        assert made.enter(each, at(place), 6.0)[0]
    assert not made.enter(key(50, "mail"), at(place), 7.0)[0]
    assert made.enter(well, at(place), 7.0)[0]


def test_closing_at_a_dead_dns_server_casts_no_doubt_on_its_ca() -> None:
    """Who waits on two things blames the one that is known to be dead."""
    made = ships(CA)
    made.enter(key(0), at(DNS), 0.0)
    made.leave(key(0), {DNS: False}, 5.0)
    assert made.enter(key(0), at(CA, DNS), 6.0)[0]
    assert all(made.enter(key(each), at(CA), 6.0 + SLOW)[0] for each in range(1, WORKERS))


def test_whoever_waits_for_two_places_is_not_passed_by_for_ever() -> None:
    """Those who want only one of them come and go all the time."""
    made = ships()
    for each in range(SHARE):
        assert made.enter(key(each), at(CA), 0.0)[0]
        assert made.enter(key(10 + each), at(DNS), 0.0)[0]
    patient = key(99)
    assert not made.enter(patient, at(CA, DNS), 0.0)[0]
    runs, inside = 0, [*map(key, range(SHARE)), *(key(10 + each) for each in range(SHARE))]
    want = {each: at(CA) if number < SHARE else at(DNS) for number, each in enumerate(inside)}
    while made.is_waiting(patient):
        runs += 1
        assert runs < 50
        leaving = inside.pop(0)
        served = made.leave(leaving, dict.fromkeys(want[leaving], False), float(runs))
        came, others = made.enter(leaving, want[leaving], float(runs))
        inside += [each for each in (*served, *others, *([leaving] if came else [])) if each != patient]


@settings(max_examples=300, deadline=None)
@given(
    workers=st.integers(1, 20),
    moves=st.lists(
        st.tuples(st.integers(0, 25), st.integers(0, 5), st.sampled_from([True, False, None])), max_size=120
    ),
)
def test_whatever_happens_the_limits_hold_and_nobody_is_forgotten(
    workers: int, moves: list[tuple[int, int, bool | None]]
) -> None:
    """Any coming and going: dead places hold no more than theirs, and once all leave everybody in line is served."""
    made = Compartments(workers)
    all_places = [CA, OTHER_CA, DNS, pods("ns-0"), Place(PlaceKind.RESOLVER), Place(PlaceKind.HTTP01, "ns-1")]
    inside: dict[Key, frozenset[Place]] = {}
    line: dict[Key, frozenset[Place]] = {}
    now = 0.0

    def take(woken: list[Key]) -> None:
        for each in woken:  # a pass begins, and comes to the same step
            places = line.pop(each)
            came, others = made.enter(each, places, now)
            assert came
            assert not others
            inside[each] = places

    for number, which, outcome in moves:
        now += 0.5
        one = Key(f"ns-{number % 3}", f"mx-{number}")
        if one in inside:
            places = inside.pop(one)
            take(made.leave(one, {} if outcome is None else dict.fromkeys(places, outcome), now))
        elif one not in line:
            places = at(all_places[which], *([DNS] if which == 0 else []))
            came, others = made.enter(one, places, now)
            (inside if came else line)[one] = places
            take(others)
        _limits_hold(made, inside, now)
        assert set(line) == {each for each in line if made.is_waiting(each)}
    for _ in range(len(inside) + len(line)):
        if not inside:
            break
        one = next(iter(inside))
        places = inside.pop(one)
        take(made.leave(one, dict.fromkeys(places, False), now))
    assert not line
    assert made.waiting() == 0


def _limits_hold(made: Compartments, inside: dict[Key, frozenset[Place]], now: float) -> None:
    """Places that have failed are never over their share, unless those inside came while they answered."""
    failed = {place for place, answered in made._answered.items() if not answered}
    for place in failed:
        there = [each for each, places in inside.items() if place in places]
        came_in_doubt = [each for each in there if made._doubts(each, place, now)]
        if len(came_in_doubt) > made.share:
            assert not made.enter(Key("new", "comer"), at(place), now)[0]
            made.turn_away(Key("new", "comer"), now)


# in the queue


class Sea:
    """A work queue with bulkheads; resources named `dead-*` wait until `release`, all others are done at once."""

    def __init__(self, workers: int) -> None:
        self.release, self.done, self.most = threading.Event(), Counter[Key](), 0
        self._at_once, self._lock, self.news = 0, threading.Lock(), threading.Condition()
        self.bulkheads = Bulkheads(workers, wake=self._wake)
        self.queue = WorkQueue[Key](self._pass, workers=workers)

    def _wake(self, woken: Key) -> None:
        self.queue.add(woken)

    def _pass(self, one: Key) -> float | None:
        is_dead = one.name.startswith("dead")
        place = CA if is_dead else OTHER_CA
        with self.bulkheads.reconciling(one) as permits:
            try:
                with permits.permit(at(place)) as permit:
                    if is_dead:
                        self._wait()
                    permit.outcomes = {place: not is_dead}
            except NoPlace:
                return None
        with self.news:
            self.done[one] += 1
            self.news.notify_all()
        return None

    def _wait(self) -> None:
        with self._lock:
            self._at_once += 1
            self.most = max(self.most, self._at_once)
        self.release.wait(SOON)
        with self._lock:
            self._at_once -= 1

    def await_done(self, keys: list[Key]) -> None:
        """Wait until a pass over each of them has come to its end."""
        with self.news:
            assert self.news.wait_for(lambda: all(self.done[each] for each in keys), SOON), self.done


@contextmanager
def sailing(workers: int) -> Iterator[Sea]:
    """Start the queue, and stop it whatever happens."""
    sea = Sea(workers)
    sea.queue.start()
    try:
        yield sea
    finally:
        sea.release.set()
        sea.queue.stop(1)


@pytest.mark.parametrize("workers", [4, 8, 16])
def test_healthy_resources_are_done_while_a_dead_ca_holds_its_share(workers: int) -> None:
    """The dead ones came first, and are more than there are workers."""
    with sailing(workers) as sea:
        dead = [Key(f"dead-{each}", "dead") for each in range(30)]
        well = [Key(f"well-{each}", "mx") for each in range(40)]
        for each in (*dead, *well):
            sea.queue.add(each)
        sea.await_done(well)
        assert not any(sea.done[each] for each in dead)
        sea.release.set()
        sea.await_done(dead)
        assert sea.most == max(1, workers // 4)
        assert sea.bulkheads.waiting() == 0


def test_a_resource_that_is_gone_leaves_its_place_to_others() -> None:
    """Its turn comes, and its pass wants nothing any more."""
    woken: list[Key] = []
    bulkheads = Bulkheads(4, wake=woken.append)
    with bulkheads.reconciling(key(0)) as permits, permits.permit(at(CA)) as permit:
        for each in (1, 2):
            with pytest.raises(NoPlace), bulkheads.reconciling(key(each)) as other, other.permit(at(CA)):
                pass
        permit.outcomes = {CA: False}
    assert woken == [key(1)]
    with bulkheads.reconciling(key(1)):
        pass
    assert woken == [key(1), key(2)]


def test_what_was_given_stays_given_on_the_way_there() -> None:
    """A reconcile that is at the CA again before it comes to its turn keeps it; else two would take turns for ever."""
    woken: list[Key] = []
    bulkheads = Bulkheads(4, wake=woken.append)
    with bulkheads.reconciling(key(0)) as permits:
        with permits.permit(at(CA)) as permit:
            permit.outcomes = {CA: True}
        with permits.permit(at(DNS)) as permit:
            for each in (1, 2):
                with pytest.raises(NoPlace), bulkheads.reconciling(key(each)) as other, other.permit(at(DNS)):
                    pass
            permit.outcomes = {DNS: False}
    assert woken == [key(1)]
    with bulkheads.reconciling(key(1)) as permits:
        with permits.permit(at(CA)) as permit:
            permit.outcomes = {CA: True}
        assert woken == [key(1)]
        with permits.permit(at(DNS)):
            pass
    assert woken == [key(1), key(2)]


def test_a_turn_that_a_reconcile_did_not_come_to_is_the_next_ones() -> None:
    """It went another way this time, and ended."""
    woken: list[Key] = []
    bulkheads = Bulkheads(4, wake=woken.append)
    with bulkheads.reconciling(key(0)) as permits, permits.permit(at(DNS)) as permit:
        for each in (1, 2):
            with pytest.raises(NoPlace), bulkheads.reconciling(key(each)) as other, other.permit(at(DNS)):
                pass
        permit.outcomes = {DNS: False, CA: True}
    with bulkheads.reconciling(key(1)) as permits, permits.permit(at(CA)):
        pass
    assert woken == [key(1), key(2)]


# what a step waits on

RFC2136 = Rfc2136("192.0.2.53", "key.", DataRef("Secret", "mail", "tsig", "key"))
BY_DNS = Acme("https://CA.example/directory", None, (SolverSpec(Dns01(RFC2136)),))


def _present(name: str) -> AdvanceOrder:
    challenge = ChallengeState("dns-01", "https://ca.example/c/1", "token", "pending")
    authorization = AuthorizationState("https://ca.example/a/1", name, "pending", challenges=(challenge,))
    return AdvanceOrder(Present((PendingChallenge(authorization, challenge),)))


@pytest.mark.parametrize(
    ("step", "places"),
    [
        (OpenOrder(), {CA}),
        (_present("mx.example.com"), {DNS}),
        (CloseOrder(), {CA, DNS}),
        (SaveOrder(), set()),
        (ReadWorkloads(), set()),
        (StageKey(Finding(Reason.RENEWAL_DUE, "")), {Place(PlaceKind.OBJECTS, "mail")}),
        (ProbePods(()), {pods("mail")}),
        (CheckDomains(), {Place(PlaceKind.RESOLVER)}),
    ],
)
def test_steps_wait_on_what_they_talk_to(step: Step, places: set[Place]) -> None:
    """A CA by its host, a DNS server by its name, pods by their namespace; saving an order's URL must always be had."""
    assert frozenset(step.places(replace(desired(), acme=BY_DNS))) == places
    assert ca_of(BY_DNS.server) == CA


def test_http01_waits_on_self_checks_only_where_there_are_some() -> None:
    """Without them the proof is at hand."""
    step = _present("mx.example.com")
    for check in (True, False):
        acme = replace(BY_DNS, solvers=(SolverSpec(Http01(self_check=check)),))
        expected = {Place(PlaceKind.HTTP01, "mail")} if check else set()
        assert frozenset(step.places(replace(desired(), acme=acme))) == expected


def _wanted() -> Desired:
    return replace(desired(), acme=BY_DNS)


def test_who_was_not_reached_is_blamed_alone() -> None:
    """Closing an order that fails at the DNS server tells nothing about the CA."""
    places = frozenset(CloseOrder().places(_wanted()))
    failed = a_context(close_failure=Failure(Finding(Reason.DNS_UNREACHABLE, ""), NOW))
    assert outcomes(CloseOrder(), places, failed, 1.0) == {DNS: False}
    assert outcomes(OpenOrder(), at(CA), failed, 1.0) == {CA: True}
    assert outcomes(OpenOrder(), at(CA), a_context(), SLOW / 2) == {CA: True}  # busy, and answers all the same
    assert outcomes(OpenOrder(), at(CA), a_context(), SLOW) == {CA: False}


def test_slow_pods_are_dead_only_where_no_certificate_was_seen() -> None:
    """Servers hold their greeting back against spam."""
    target = Target(
        "192.0.2.1", Port(25, TlsMode.START_TLS, TlsPolicy.OPPORTUNISTIC), "mx", pod="mx-0", workload="StatefulSet/mx"
    )
    step = ProbePods((target,))
    for served, answered in (("00" * 32, True), (None, False)):
        asked = a_context(endpoints=(Endpoint(target, NOW, served_sha256=served),))
        assert outcomes(step, at(pods("mail")), asked, UNSEEN) == {pods("mail"): answered}
