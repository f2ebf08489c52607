"""How many resources roll out at once: never more than the limit, nobody waits for ever, and no turn is lost."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.rolling import NOW
from builders.whole_reconcile import WholeReconcile
from mailtls.api.spec import Key
from mailtls.kube.interface import Conflict, Unreachable
from mailtls.net.effects import ReconcileEnded
from mailtls.rollout.coordinator import Coordinator
from mailtls.rollout.turns import LONG_WAIT, STANDSTILL, Need, Turn, Turns

HOUR = timedelta(hours=1)
A, B, C, D = Key("a", "1"), Key("a", "2"), Key("b", "1"), Key("b", "2")


def test_no_limit_lets_all_roll_out() -> None:
    """As before there was one."""
    turns = Turns()
    assert all(turns.request(key, Need(), NOW) == (Turn(is_granted=True), []) for key in (A, B, C, D))


def test_who_waits_is_told_how_many_are_before_it() -> None:
    """And keeps its place in the line however often it asks."""
    turns = Turns(1)
    assert turns.request(A, Need(), NOW)[0].is_granted
    assert turns.request(C, Need(), NOW)[0] == Turn(is_granted=False, at_work=1, before=0, again_at=NOW + STANDSTILL)
    assert turns.request(D, Need(), NOW)[0] == Turn(is_granted=False, at_work=1, before=1, again_at=NOW + STANDSTILL)
    assert turns.request(C, Need(), NOW)[0].before == 0
    assert turns.request(A, Need(), NOW)[0].is_granted
    assert turns.give_back(A, NOW) == [C]
    assert turns.request(C, Need(), NOW)[0].is_granted


def test_namespaces_take_turns() -> None:
    """One with many resources has no more than one with few."""
    turns = Turns(1)
    turns.request(A, Need(), NOW)
    for key in (B, Key("a", "3"), C, D):
        turns.request(key, Need(), NOW)
    order = [A]
    while len(order) < 5:
        order += turns.give_back(order[-1], NOW)
    assert order == [A, C, B, D, Key("a", "3")]


def test_what_has_begun_goes_first_and_then_what_is_urgent() -> None:
    """Urgent is what has become it meanwhile, too."""
    turns = Turns(1)
    turns.request(A, Need(), NOW)
    for key, need in ((B, Need()), (C, Need(urgent_at=NOW + HOUR)), (D, Need(has_begun=True))):
        turns.request(key, need, NOW)
    assert turns.give_back(A, NOW + HOUR) == [D]
    assert turns.give_back(D, NOW + HOUR) == [C]
    assert turns.give_back(C, NOW + HOUR) == [B]


def test_rollouts_that_were_under_way_have_their_turn_after_a_restart() -> None:
    """Others wait until there are fewer than the limit, also where it was lowered."""
    turns = Turns(1)
    turns.restore(A, NOW)
    turns.restore(C, NOW)
    assert not turns.request(B, Need(), NOW)[0].is_granted
    assert turns.request(A, Need(), NOW)[0].is_granted
    assert turns.give_back(C, NOW) == []
    assert turns.give_back(A, NOW) == [B]


def test_rollout_that_stands_still_keeps_nobody_waiting_for_ever() -> None:
    """Its pods may wait for a person, or for a budget that allows nothing; it goes on beside the other one."""
    turns = Turns(1)
    turns.request(A, Need(left=6), NOW)
    assert turns.request(C, Need(), NOW)[0].again_at == NOW + STANDSTILL
    turns.request(A, Need(left=6), NOW + STANDSTILL / 2)
    assert turns.request(C, Need(), NOW + STANDSTILL)[0].is_granted
    assert turns.request(A, Need(left=6), NOW + STANDSTILL)[0].is_granted
    assert not turns.request(D, Need(), NOW + STANDSTILL)[0].is_granted


def test_rollout_that_gets_on_keeps_its_turn_however_long_it_takes() -> None:
    """But one whose ports turn to and fro does not get on."""
    turns = Turns(1)
    turns.restore(A, NOW)
    for number, left in enumerate((6, 5, 4, 3)):
        turns.request(A, Need(left=left), NOW + number * STANDSTILL / 2)
    since = NOW + 3 * STANDSTILL / 2
    turns.request(A, Need(left=4), since + STANDSTILL / 2)
    assert turns.request(C, Need(), since + STANDSTILL / 2)[0].again_at == since + STANDSTILL
    turns.request(A, Need(left=3), since + STANDSTILL)
    assert turns.request(C, Need(), since + STANDSTILL)[0].is_granted


def test_who_has_waited_for_long_goes_before_those_who_are_always_in_a_hurry() -> None:
    """What is urgent, and what has begun, is by the word of a spec and of pods."""
    turns, hurry = Turns(1), Need(has_begun=True, urgent_at=NOW)
    turns.request(A, hurry, NOW)
    turns.request(C, Need(), NOW)
    turns.request(B, hurry, NOW)
    assert turns.give_back(A, NOW) == [B]
    turns.request(A, hurry, NOW)
    assert turns.give_back(B, NOW + LONG_WAIT) == [C]


def coordinating(most: int) -> tuple[Coordinator, list[Key]]:
    """A coordinator, and whom it wakes."""
    woken: list[Key] = []
    return Coordinator(most, lambda: NOW, woken.append), woken


def reconcile(coordinator: Coordinator, key: Key, body: Callable[[], None] = lambda: None) -> Turn:
    """A reconcile that asks and goes on."""
    with coordinator.reconciling(key):
        turn = coordinator.request(key, Need())
        body()
    return turn


def test_reconcile_that_asks_for_no_turn_gives_it_back() -> None:
    """The resource was deleted, suspended, or has nothing left to do; the next one is woken."""
    coordinator, woken = coordinating(1)
    assert reconcile(coordinator, A).is_granted
    assert not reconcile(coordinator, C).is_granted
    with coordinator.reconciling(A):
        pass
    assert woken == [C]
    assert reconcile(coordinator, C).is_granted


@pytest.mark.parametrize(("delay", "keeps"), [(0.0, True), (1.0, False), (None, False)])
def test_reconcile_that_comes_again_at_once_keeps_its_turn(delay: float | None, *, keeps: bool) -> None:
    """Whoever annotates a resource whose pods wait for their budget does not let another one roll out."""
    coordinator, woken = coordinating(1)
    assert reconcile(coordinator, A).is_granted
    assert not reconcile(coordinator, C).is_granted
    assert coordinator.in_turn(lambda _key: delay)(A) == delay
    assert woken == ([] if keeps else [C])


@pytest.mark.parametrize(
    ("failure", "keeps"), [(Conflict(409, "Conflict", ""), True), (ReconcileEnded(), True), (Unreachable(), False)]
)
def test_reconcile_that_fails_gives_its_turn_back_unless_it_comes_again_at_once(
    failure: Exception, keeps: bool
) -> None:
    """A namespace that answers no request must not keep the others for ever."""
    coordinator, woken = coordinating(1)

    def fail() -> None:
        raise failure

    with pytest.raises(type(failure)):
        reconcile(coordinator, A, fail)
    reconcile(coordinator, C)
    assert reconcile(coordinator, C).is_granted is not keeps
    assert woken == []


@dataclass
class World:
    """Resources that roll out, each so many reconciles long, and the coordinator of a process that may crash."""

    most: int
    left: dict[Key, int]
    rolling: set[Key] = field(default_factory=set)
    queue: list[Key] = field(default_factory=list)
    most_at_once: int = 0
    coordinator: Coordinator = field(init=False)

    def __post_init__(self) -> None:
        """Start the process."""
        self.start()

    def start(self) -> None:
        """Start a process, which knows of the others' rollouts by their status and reconciles all."""
        self.coordinator = Coordinator(self.most, lambda: NOW, self.queue.append)
        for key in self.rolling:
            self.coordinator.restore(key)
        self.queue[:] = [*self.left]

    def reconcile(self, key: Key, accident: str) -> None:
        """Do what a reconcile does; it is woken again while it rolls."""
        try:
            with self.coordinator.reconciling(key):
                self._work(key, accident)
        except Unreachable:
            self.queue.append(key)

    def _work(self, key: Key, accident: str) -> None:
        if accident == "deleted":
            self.left.pop(key, None)
        if accident == "suspended" or not self.left.get(key):
            self.rolling.discard(key)
            if self.left.get(key):
                self.queue.append(key)  # it is resumed
            return
        if accident == "unreachable":
            self.rolling.discard(key)
            raise Unreachable
        if not self.coordinator.request(key, Need(has_begun=key in self.rolling)).is_granted:
            return
        self.rolling.add(key)
        self.most_at_once = max(self.most_at_once, len(self.rolling))
        self.left[key] -= 1
        if self.left[key]:
            self.queue.append(key)
        else:
            self.rolling.discard(key)
            self.coordinator.give_back(key)


KEYS = st.builds(Key, st.sampled_from("abc"), st.sampled_from("123456"))


@settings(max_examples=300, deadline=None)
@given(
    st.integers(1, 4),
    st.dictionaries(KEYS, st.integers(1, 5), min_size=1, max_size=14),
    st.lists(st.sampled_from(["", "", "suspended", "deleted", "unreachable", "crash"]), max_size=30),
    st.randoms(use_true_random=False),
)
def test_never_more_than_the_limit_and_all_come_to_their_end(
    most: int, wanted: dict[Key, int], accidents: list[str], random: object
) -> None:
    """Whoever is deleted, suspended or fails, and whenever the process crashes: all have had their turn in the end."""
    world, coming = World(most, dict(wanted)), iter(accidents)
    for _ in range(2000):
        if not world.queue:
            break
        key = world.queue.pop(random.randrange(len(world.queue)))  # type: ignore[attr-defined]
        accident = next(coming, "")
        if accident == "crash":
            world.start()
        else:
            world.reconcile(key, accident)
    assert not any(world.left.values()), "somebody waits for ever"
    assert world.most_at_once <= most
    assert world.coordinator.waiting() == 0


def test_whole_reconcile_waits_for_its_turn_and_says_so() -> None:
    """No pod is reloaded before; then all are, and the turn is given back."""
    whole = WholeReconcile()
    whole.coordinator = coordinator = Coordinator(1, whole.clock.now)
    whole.restart()
    assert coordinator.request(A, Need()).is_granted
    whole.run()
    told = whole.condition("RolledOut")
    assert (told["status"], told["reason"]) == ("False", "RolloutQueued")
    assert "as many resources roll out now as rollout.maxConcurrent of the installation allows (1)" in told["message"]
    assert whole.cluster.reloaded == []
    coordinator.give_back(A)
    whole.run()
    assert whole.condition("RolledOut")["status"] == "True"
    assert len(whole.cluster.reloaded) == 3
    assert coordinator.request(A, Need()).is_granted


def test_whole_reconcile_comes_again_by_itself_when_the_rollout_at_work_stands_still() -> None:
    """Nobody wakes it: the other resource waits for a person, and nothing happens there."""
    whole = WholeReconcile()
    whole.coordinator = coordinator = Coordinator(1, whole.clock.now)
    whole.restart()
    assert coordinator.request(A, Need(left=1)).is_granted
    pause = whole.run()
    assert whole.condition("RolledOut")["reason"] == "RolloutQueued"
    assert pause is not None
    assert 0 < pause <= STANDSTILL.total_seconds()
    whole.clock.advance(STANDSTILL)
    whole.run()
    assert whole.condition("RolledOut")["status"] == "True"
    assert len(whole.cluster.reloaded) == 3
