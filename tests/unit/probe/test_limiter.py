"""The prober's limits hold for the process: resources that are probed at the same time share them, and fairly."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mailtls.probe.conversation import Limits
from mailtls.probe.prober import FairSemaphore, Limiter, Prober
from mailtls.probe.target import Endpoint, Expected, Port, Target, TlsMode, TlsPolicy

QUESTIONS = 3  # connections to a port that closes each: what else it may want is asked by two more


class Counting:
    """A server that keeps each client for a moment, so that others could come beside it, and counts who is there."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._lock = threading.Lock()
        self.here = self.most = self.all = 0
        self._never = threading.Event()

    def serve(self) -> None:
        """Accept until the listener is closed."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._hold, args=(connection,), daemon=True).start()

    def _hold(self, connection: socket.socket) -> None:
        with self._lock:
            self.here, self.all = self.here + 1, self.all + 1
            self.most = max(self.most, self.here)
        self._never.wait(0.05)
        with self._lock:
            self.here -= 1  # before the client sees the end, and the next one comes
        connection.close()


@contextmanager
def counting() -> Iterator[tuple[Counting, Target]]:
    """Run the server."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        server = Counting(listener)
        accepting = threading.Thread(target=server.serve, daemon=True)
        accepting.start()
        port = Port(listener.getsockname()[1], TlsMode.IMPLICIT, TlsPolicy.ENFORCED)
        try:
            yield server, Target("127.0.0.1", port, "mx1.example.com", pod="postfix-0", workload="StatefulSet/postfix")
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()


def swept(prober: Prober, target: Target, threads: int, each: int) -> list[Endpoint]:
    """Have as many threads probe at once as there are workers, each a resource with several pods."""
    found: list[Endpoint] = []
    begin = threading.Barrier(threads)

    def work() -> None:
        begin.wait()
        found.extend(prober.probe([target] * each, Expected()))

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return found


@pytest.mark.parametrize("limits", [Limits(concurrency=2, busy=60), Limits(connections=2, concurrency=9)])
def test_limits_hold_for_all_threads_together(limits: Limits) -> None:
    """Eight resources of four pods each are eight event loops; two connections at a time are what was asked for."""
    with counting() as (server, target):
        found = swept(Prober(limits), target, threads=8, each=4)
    assert len(found) == 32
    assert server.all == 32 * QUESTIONS
    assert server.most <= 2


def test_slow_servers_make_room_across_threads() -> None:
    """A probe that waits for a server in one thread keeps none in another from beginning."""
    limits = Limits(concurrency=1, busy=0.01, dialog=20, handshake=20)
    prober = Prober(limits)
    with socket.create_server(("127.0.0.1", 0)) as silent, counting() as (server, target):
        port = Port(silent.getsockname()[1], TlsMode.IMPLICIT, TlsPolicy.ENFORCED)
        slow = Target("127.0.0.1", port, "mx1.example.com", pod="postfix-1", workload="StatefulSet/postfix")
        waiting = threading.Thread(target=prober.probe, args=([slow], Expected()))
        waiting.start()
        held, _ = silent.accept()
        with held:
            assert len(prober.probe([target], Expected())) == 1
            assert waiting.is_alive()
        waiting.join()
    assert server.all == QUESTIONS


def test_each_party_has_its_turn() -> None:
    """One place, a resource with five pods that came first, and one with one pod: it is the second to be served."""

    async def story() -> list[str]:
        places, order = FairSemaphore(1), []

        async def one(party: str) -> None:
            await places.acquire(party)
            order.append(party)
            places.release(party)

        await places.acquire("somebody")
        tasks = [asyncio.create_task(one(party)) for party in ["large"] * 5 + ["small"]]
        await asyncio.sleep(0)  # all have asked
        places.release("somebody")
        await asyncio.gather(*tasks)
        return order

    assert asyncio.run(story()) == ["large", "small", "large", "large", "large", "large"]


def test_party_that_holds_many_places_leaves_some_for_the_others() -> None:
    """Hundreds of dead servers take what is not reserved; who comes then begins at once, up to its share."""

    async def story() -> tuple[int, int, list[bool]]:
        places = FairSemaphore(8, reserve=4, share=2)
        many = [asyncio.create_task(places.acquire("many")) for _ in range(20)]
        await asyncio.sleep(0)
        before = sum(each.done() for each in many)
        few = [asyncio.create_task(places.acquire("few")) for _ in range(3)]
        await asyncio.sleep(0)
        begun = [each.done() for each in few]
        places.release("few")
        for _ in range(3):
            await asyncio.sleep(0)
        begun.append(few[2].done())
        for _ in range(3):  # whoever had many has them again when the others are done, and not before
            places.release("many")
        for _ in range(3):
            await asyncio.sleep(0)
        after = sum(each.done() for each in many)
        for each in many:
            each.cancel()
        await asyncio.gather(*many, return_exceptions=True)
        return before, after, begun

    assert asyncio.run(story()) == (4, 5, [True, True, False, True])


def test_cancelled_waiter_takes_no_place_with_it() -> None:
    """Whether it is cancelled in the line, or in the moment in which the place comes."""

    async def story() -> None:
        places = FairSemaphore(1)
        await places.acquire("holder")
        in_line, chosen = (asyncio.create_task(places.acquire(party)) for party in ("a", "b"))
        await asyncio.sleep(0)
        in_line.cancel()
        await asyncio.gather(in_line, return_exceptions=True)
        places.release("holder")  # to b, who is cancelled before it hears of it
        chosen.cancel()
        await asyncio.gather(chosen, return_exceptions=True)
        await asyncio.wait_for(places.acquire("c"), 5)

    asyncio.run(story())


def test_place_of_a_loop_that_ended_goes_to_the_next() -> None:
    """A thread whose loop is gone cannot take what it waited for."""
    places = FairSemaphore(1)

    async def hold() -> None:
        await places.acquire("holder")

    asyncio.run(hold())
    loop = asyncio.new_event_loop()
    waiting = loop.create_task(places.acquire("gone"))
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop._ready.clear()  # type: ignore[attr-defined]
    setattr(waiting, "_log_destroy_pending", False)  # noqa: B010 - which is what is tested
    loop.close()
    places.release("holder")
    asyncio.run(asyncio.wait_for(hold(), 5))
    assert not waiting.done()


def test_door_that_fails_to_be_passed_keeps_no_place() -> None:
    """Cancelled between the two places, the first is given back."""

    async def story() -> None:
        limiter = Limiter(Limits(concurrency=1, connections=1, busy=60))
        async with limiter.admitted("first"):
            second = asyncio.create_task(_pass(limiter, "second"))
            await asyncio.sleep(0)
            second.cancel()
            await asyncio.gather(second, return_exceptions=True)
        await asyncio.wait_for(_pass(limiter, "third"), 5)

    asyncio.run(story())


async def _pass(limiter: Limiter, party: str) -> None:
    async with limiter.admitted(party):
        pass
