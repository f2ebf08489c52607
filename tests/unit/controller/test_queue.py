"""The work queue: never twice at once, nothing lost, no hint more than one extra pass, silence costs nothing."""

import logging
import random
import resource
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from mailtls.controller.queue import Delays, WorkQueue
from mailtls.controller.waiting import FairQueue, Timers
from mailtls.kube.interface import Conflict
from mailtls.logs import configure_logs
from mailtls.net.backoff import Backoff
from mailtls.settings import LogFormat

SOON = 2.0
DICE = random.Random(1)


@pytest.fixture(autouse=True)
def plain_logs() -> Iterator[None]:
    """Log as the operator does; structlog's own default draws boxes around tracebacks, which takes its time."""
    configure_logs(LogFormat.JSON, "error")
    yield
    structlog.reset_defaults()
    logging.getLogger().handlers.clear()


@contextmanager
def running(queue: WorkQueue[str]) -> Iterator[WorkQueue[str]]:
    """Start the queue, and stop it whatever happens."""
    queue.start()
    try:
        yield queue
    finally:
        queue.stop(1)


def eventually(condition: Callable[[], bool], within: float = SOON) -> bool:
    """Wait until the condition holds."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


class Gate:
    """A reconcile function that stops in the middle until it is let through."""

    def __init__(self) -> None:
        self.runs: list[str] = []
        self.entered = threading.Semaphore(0)
        self.let_through = threading.Semaphore(0)

    def __call__(self, key: str) -> float | None:
        """Note the run and wait."""
        self.runs.append(key)
        self.entered.release()
        self.let_through.acquire()
        return None


def test_many_adds_during_a_run_cause_exactly_one_more() -> None:
    """However often a key is added while it is worked on, it is worked on once more."""
    gate = Gate()
    with running(WorkQueue(gate, workers=4)) as queue:
        queue.add("a")
        gate.entered.acquire()
        for _ in range(50):
            queue.add("a")
        assert queue.depth() == 0
        for _ in range(5):
            gate.let_through.release()
        assert eventually(lambda: len(gate.runs) == 2)
        time.sleep(0.1)
        assert gate.runs == ["a", "a"]


def test_age_of_the_oldest_is_known_while_it_waits() -> None:
    """It grows while all workers are busy, and what is worked on does not count."""
    gate = Gate()
    with running(WorkQueue(gate, workers=1)) as queue:
        assert queue.oldest() == 0.0
        queue.add("a")
        gate.entered.acquire()
        assert queue.oldest() == 0.0
        queue.add("b")
        assert eventually(lambda: queue.oldest() > 0.05)
        before = queue.oldest()
        queue.add("c")
        assert queue.oldest() >= before
        gate.let_through.release()
        gate.entered.acquire()
        assert queue.oldest() > 0.0
        gate.let_through.release(2)
        assert eventually(lambda: queue.oldest() == 0.0)


def test_adds_while_waiting_cause_one_run() -> None:
    """A key that waits already is not put in line again."""
    runs: list[str] = []

    def note(key: str) -> None:
        runs.append(key)

    queue = WorkQueue[str](note, workers=1)
    for _ in range(10):
        queue.add("a")
    assert queue.depth() == 1
    with running(queue):
        assert eventually(lambda: bool(runs))
        time.sleep(0.05)
    assert runs == ["a"]


def test_parties_take_turns_whoever_has_more_keys_in_line() -> None:
    """A namespace with many resources, each of which takes its time, is not before one that came later with two."""
    runs: list[str] = []

    def note(key: str) -> None:
        runs.append(key)

    queue = WorkQueue[str](note, workers=1, group=lambda key: key[0])
    for key in ("a1", "a2", "a3", "a4", "b1", "b2", "c1"):
        queue.add(key)
    assert queue.depth() == 7
    with running(queue):
        assert eventually(lambda: len(runs) == 7)
    assert runs == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]
    assert queue.depth() == 0


def test_party_with_the_fewest_at_work_is_next() -> None:
    """One namespace holds the workers with passes that take long: whoever comes then has those that get free."""
    line = FairQueue[str](lambda key: key[0])
    for key in ("a1", "a2", "a3", "a4", "a5"):
        line.append(key)
    assert [line.pop() for _ in range(3)] == ["a1", "a2", "a3"]
    for key in ("b1", "b2", "b3", "c1"):
        line.append(key)
    line.finished("a1")
    assert [line.pop() for _ in range(4)] == ["b1", "c1", "b2", "a4"]
    for key in ("b1", "b2", "c1"):
        line.finished(key)
    assert [line.pop() for _ in range(2)] == ["b3", "a5"]
    for key in ("a2", "a3", "a4", "a5", "b3"):
        line.finished(key)
    assert (len(line), line._at_work) == (0, {})


def test_a_returned_delay_brings_the_key_back() -> None:
    """The seconds that a pass returns are the time until the next."""
    times: list[float] = []

    def thrice(_key: str) -> float | None:
        times.append(time.monotonic())
        return 0.1 if len(times) < 3 else None

    with running(WorkQueue(thrice, workers=2)) as queue:
        queue.add("a")
        assert eventually(lambda: len(times) == 3)
        time.sleep(0.2)
    assert len(times) == 3
    assert all(0.1 <= later - earlier < 0.3 for earlier, later in pairwise(times))


def test_a_pass_decides_anew_when_the_next_is_due() -> None:
    """A timer from an earlier pass does not fire after a later pass has asked for none."""
    runs: list[str] = []
    answers = iter([0.2, None])

    def reconcile(key: str) -> float | None:
        runs.append(key)
        return next(answers, None)

    with running(WorkQueue(reconcile, workers=1)) as queue:
        queue.add("a")
        assert eventually(lambda: len(runs) == 1)
        queue.add("a")
        assert eventually(lambda: len(runs) == 2)
        time.sleep(0.4)
    assert len(runs) == 2


def test_an_earlier_timer_wins() -> None:
    """Of two times asked for, the earlier counts, and it wakes a timekeeper that waits for the later."""
    runs: list[str] = []

    def note(key: str) -> None:
        runs.append(key)

    with running(WorkQueue[str](note, workers=1)) as queue:
        queue.add_after("a", 30)
        queue.add_after("a", 0.05)
        queue.add_after("a", 60)
        assert eventually(lambda: runs == ["a"])


def test_a_failing_key_comes_back_with_growing_delays_until_it_succeeds() -> None:
    """Delays double and are forgotten after a success; other keys are not held up."""
    times: list[float] = []

    def fail_thrice(key: str) -> float | None:
        if key == "good":
            return None
        times.append(time.monotonic())
        if len(times) <= 3:
            raise RuntimeError("not yet")
        return None

    delays = Delays(failed=_every(0.1, 10), rest=0)
    with running(WorkQueue(fail_thrice, workers=1, delays=delays)) as queue:
        queue.add("bad")
        queue.add("good")
        assert eventually(lambda: len(times) == 4)
        gaps = [later - earlier for earlier, later in pairwise(times)]
        assert gaps[1] >= 0.1
        assert gaps[2] >= 0.2
        assert sum(gaps) < 5  # far from the 10 seconds of the longest, however busy the machine is
        assert eventually(lambda: not queue._failures)


def test_events_of_a_failing_pass_make_no_hot_loop() -> None:
    """A key that is added during and after each failing pass rests between them all the same."""
    runs: list[float] = []
    queue: WorkQueue[str]

    def fail(key: str) -> float | None:
        runs.append(time.monotonic())
        queue.add(key)
        raise RuntimeError("always")

    queue = WorkQueue(fail, workers=4, delays=Delays(failed=_every(0.4, 0.4), rest=0.2))
    with running(queue):
        begun = time.monotonic()
        while time.monotonic() < begun + 1:
            queue.add("a")
            time.sleep(0.002)
    assert 2 <= len(runs) <= 6


def _every(first: float, cap: float) -> Backoff:
    return Backoff("test", timedelta(seconds=first), timedelta(seconds=cap), jitter=-0.5)


def test_a_conflict_is_looked_at_again_soon() -> None:
    """After a 409 the next pass follows within moments, because it only has to observe again."""
    conflict, failed = Delays().of(Conflict(409, "Conflict", "x")), Delays().of(RuntimeError())
    assert conflict.after(1, 0.0).total_seconds() <= 0.1
    assert [failed.after(1, draw).total_seconds() for draw in (0.0, 1.0)] == [1.0, 0.5]
    assert [failed.after(99, draw).total_seconds() for draw in (0.0, 1.0)] == [300, 150]


@pytest.mark.parametrize("form", list(LogFormat))
def test_a_failure_says_nothing_of_local_values(form: LogFormat, capsys: pytest.CaptureFixture[str]) -> None:
    """The traceback of a failed pass names the resource and lines, never the values of variables."""
    configure_logs(form, "info")

    def fail(_key: str) -> None:
        pem = "-----BEGIN PRIVATE " + "KEY-----"
        raise RuntimeError(f"of {len(pem)} characters")

    with running(WorkQueue(fail, workers=1)) as queue:
        queue.add("mail/a")
        assert eventually(lambda: bool(queue._failures))
    said = capsys.readouterr().err
    assert "the reconcile failed" in said
    assert "mail/a" in said
    assert "of 27 characters" in said
    assert "BEGIN PRIVATE KEY" not in said


def test_stop_returns_in_time_when_a_worker_hangs() -> None:
    """A worker stuck in the network does not keep the process from ending."""
    gate = Gate()
    queue = WorkQueue(gate, workers=2)
    queue.start()
    queue.add("stuck")
    gate.entered.acquire()
    begun = time.monotonic()
    assert queue.stop(0.3) is False
    assert time.monotonic() - begun < 0.6
    queue.add("late")
    gate.let_through.release()
    assert eventually(lambda: not queue._threads[0].is_alive() and not queue._threads[1].is_alive())
    assert gate.runs == ["stuck"]


def test_stop_waits_for_a_pass_that_ends() -> None:
    """A pass under way is let finish within the grace."""
    done: list[str] = []

    def slow(key: str) -> None:
        time.sleep(0.2)
        done.append(key)

    queue = WorkQueue[str](slow, workers=1)
    queue.start()
    queue.add("a")
    queue.add("b")
    time.sleep(0.05)
    assert queue.stop(2) is True
    assert done == ["a"]


def test_silence_costs_no_processor_time() -> None:
    """Sixteen idle workers and 5,000 timers in the future use next to no CPU."""
    queue = WorkQueue[str](lambda _key: None)
    for number in range(5000):
        queue.add_after(str(number), 3600 + number)
    with running(queue):
        time.sleep(0.1)
        before = resource.getrusage(resource.RUSAGE_SELF)
        time.sleep(0.5)
        after = resource.getrusage(resource.RUSAGE_SELF)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert used < 0.05


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(0, 1000), st.booleans()), max_size=300))
@settings(deadline=None)
def test_timers_pop_each_key_once_at_its_earliest_time(calls: list[tuple[str, float, bool]]) -> None:
    """Whatever is set and dropped, the heap answers as a table of minima would."""
    timers: Timers[str] = Timers()
    table: dict[str, float] = {}
    for key, at, drop in calls:
        if drop:
            timers.drop(key)
            table.pop(key, None)
        else:
            timers.set(key, at)
            table[key] = min(at, table.get(key, at))
    assert timers.head() == min(table.values(), default=None)
    assert list(timers.pop_due(500)) == sorted(
        (key for key, at in table.items() if at <= 500), key=lambda key: table[key]
    ) or len(set(table.values())) < len(table)
    assert timers.due == {key: at for key, at in table.items() if at > 500}


def test_the_heap_stays_small_when_one_key_is_scheduled_for_ever() -> None:
    """Stale entries do not pile up."""
    timers: Timers[str] = Timers()
    for number in range(100_000, 0, -1):
        timers.set("a", float(number))
        timers.drop("a")
    timers.set("b", 1.0)
    assert len(timers.heap) < 200


def test_under_stress_no_key_runs_twice_at_once_and_none_is_lost() -> None:
    """Eight threads add at random while passes fail, return delays and add keys themselves."""
    keys = [str(number) for number in range(40)]
    wanted: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    at_work: set[str] = set()
    overlaps: list[str] = []
    lock = threading.Lock()
    queue: WorkQueue[str]

    def reconcile(key: str) -> float | None:
        with lock:
            if key in at_work:
                overlaps.append(key)
            at_work.add(key)
            version = wanted[key]
        time.sleep(DICE.random() * 0.002)
        with lock:
            at_work.discard(key)
            seen[key] = max(seen[key], version)
        dice = DICE.random()
        if dice < 0.1:
            raise RuntimeError("now and then")
        return 0.01 if dice < 0.2 else None

    def hint() -> None:
        for _ in range(1000):
            key = DICE.choice(keys)
            with lock:
                wanted[key] += 1
            if DICE.random() < 0.8:
                queue.add(key)
            else:
                queue.add_after(key, DICE.random() * 0.01)

    queue = WorkQueue(reconcile, workers=16, delays=Delays(failed=_every(0.01, 0.02), rest=0.01))
    with running(queue):
        threads = [threading.Thread(target=hint) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert eventually(lambda: all(seen[key] == wanted[key] for key in keys), within=10)
    assert overlaps == []


def test_pass_that_is_away_lets_another_key_be_worked_on() -> None:
    """It only waits; one that is at work does not make room, however many threads there are."""
    inside, release, begun = threading.Barrier(4), threading.Event(), Counter[str]()

    def reconcile(key: str) -> float | None:
        begun[key] += 1
        if key.startswith("away"):
            with queue.away():
                inside.wait(SOON)
                release.wait(SOON)
        elif key == "at-work":
            inside.wait(SOON)
            release.wait(SOON)
        return None

    queue = WorkQueue[str](reconcile, workers=1, spare=3)
    with running(queue):
        for key in ("away-1", "away-2", "at-work", "last"):
            queue.add(key)
        inside.wait(SOON)  # two are away, and one is at work
        assert queue.depth() == 1
        assert begun["last"] == 0
        release.set()
        assert eventually(lambda: begun["last"] == 1)
