"""What several threads want at the same moment is done by one of them, and no lock is held meanwhile."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from mailtls.net.effects import ReconcileEnded
from mailtls.net.shared_work import Busy, SharedWork


def _wait_for_others(work: SharedWork, count: int) -> None:
    """Wait until so many threads wait for the one that is at work."""
    while not (at_work := work._under_way.get("x")) or len(at_work._condition._waiters) < count:  # type: ignore[attr-defined]
        time.sleep(0.001)


def test_result_is_shared_by_all_who_came_meanwhile() -> None:
    """The work is done once, and again for who comes later."""
    work, go = SharedWork(), threading.Event()
    done: list[int] = []

    def slow() -> str:
        go.wait()
        done.append(1)
        return "result"

    with ThreadPoolExecutor(16) as pool:
        waiting = [pool.submit(work.do, "x", slow, 30.0) for _ in range(16)]
        _wait_for_others(work, 15)
        assert work.do("y", lambda: "another", 30.0) == "another"
        go.set()
        assert {each.result() for each in waiting} == {"result"}
    assert len(done) == 1
    assert work.do("x", slow, 30.0) == "result"


def test_exception_is_shared_too() -> None:
    """Nobody asks a dead server again that was found dead while they waited."""
    work, go = SharedWork(), threading.Event()
    done: list[int] = []

    def fail() -> None:
        go.wait()
        done.append(1)
        raise KeyError("dead")

    with ThreadPoolExecutor(16) as pool:
        waiting = [pool.submit(work.do, "x", fail, 30.0) for _ in range(16)]
        _wait_for_others(work, 15)
        go.set()
        assert {type(each.exception()) for each in waiting} == {KeyError}
    assert len(done) == 1


def test_nobody_waits_for_longer_than_his_patience() -> None:
    """The queue takes the resource back."""
    work, entered, go = SharedWork(), threading.Event(), threading.Event()

    def slow() -> None:
        entered.set()
        go.wait()

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(work.do, "x", slow, 0.0)
        entered.wait()
        with pytest.raises(Busy):
            work.do("x", lambda: None, 0.0)
        go.set()
        first.result()


def test_pass_that_had_to_end_takes_nobody_with_it() -> None:
    """Its resource was changed, or its lease lost in the middle: the next one does the work itself."""
    work, entered, go = SharedWork(), threading.Event(), threading.Event()

    def ended() -> str:
        entered.set()
        go.wait()
        raise ReconcileEnded

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(work.do, "x", ended, 30.0)
        entered.wait()
        second = pool.submit(work.do, "x", lambda: "mine", 30.0)
        go.set()
        assert second.result() == "mine"
        with pytest.raises(ReconcileEnded):
            first.result()
