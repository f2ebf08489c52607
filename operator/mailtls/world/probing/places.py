"""Places for work that goes on in many event loops at once: so many in the whole process, and fairly shared."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from threading import Lock
from typing import Final, TypeAlias

from mailtls.world.probing.talk import Limits

FEW: Final = 8  # connections that a resource may have whatever the others do: as many as two pods have ports

_Waiter: TypeAlias = tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]


class Places:
    """A semaphore for tasks of any thread's event loop.

    Whoever frees a place gives it to the next in turn: each party has its turn, however many of its own wait, so that
    a resource with hundreds of pods keeps none with two waiting. The last `reserve` places are for parties that hold
    fewer than `share`: whoever holds many, of servers that are dead, leaves some for the others.
    """

    def __init__(self, number: int, *, reserve: int = 0, share: int = 1) -> None:
        self._free: int = number
        self._reserve: Final = reserve
        self._share: Final = share
        self._lock: Final = Lock()
        self._held: dict[Hashable, int] = {}
        self._waiting: dict[Hashable, deque[_Waiter]] = {}  # by party; the first is next

    async def take(self, party: Hashable) -> None:
        """Wait for a place; who is cancelled while waiting holds none."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if party not in self._waiting and self._may(party):  # who waits may not: else it would have been given one
                self._hold(party)
                return
            given = loop.create_future()
            self._waiting.setdefault(party, deque()).append((loop, given))
        try:
            await given
        except asyncio.CancelledError:
            self._forget(party, (loop, given))
            if given.done() and not given.cancelled():
                self.give_back(party)
            raise

    def give_back(self, party: Hashable) -> None:
        """Free a place that the party holds, from any thread."""
        with self._lock:
            self._free += 1
            self._held[party] -= 1
            if not self._held[party]:
                del self._held[party]
            while (following := next(filter(self._may, self._waiting), None)) is not None:
                loop, given = self._next(following)
                try:
                    loop.call_soon_threadsafe(self._give, following, given)
                except RuntimeError:  # its loop is closed: nobody waits there any more
                    continue
                self._hold(following)

    def _may(self, party: Hashable) -> bool:
        return self._free > self._reserve or (self._free > 0 and self._held.get(party, 0) < self._share)

    def _hold(self, party: Hashable) -> None:
        self._free -= 1
        self._held[party] = self._held.get(party, 0) + 1

    def _give(self, party: Hashable, given: asyncio.Future[None]) -> None:
        if given.done():  # cancelled meanwhile
            self.give_back(party)
        else:
            given.set_result(None)

    def _next(self, party: Hashable) -> _Waiter:
        """Take the party's next waiter out; it goes to the end of the line."""
        line = self._waiting.pop(party)
        waiter = line.popleft()
        if line:
            self._waiting[party] = line
        return waiter

    def _forget(self, party: Hashable, waiter: _Waiter) -> None:
        with self._lock:
            line = self._waiting.get(party)
            if line is not None and waiter in line:
                line.remove(waiter)
                if not line:
                    del self._waiting[party]


class Door:
    """Lets probes begin: a few at a time, as each costs a handshake, but never kept waiting by servers that are dead.

    Whoever is not done after `Limits.busy` seconds waits for a server rather than for us, and makes room for the next.
    One door is for the whole process: the bounds hold however many resources are probed at the same time.
    A quarter of all connections is for those who have few: hundreds of dead servers keep nobody else out.
    """

    def __init__(self, limits: Limits) -> None:
        self._busy = Places(limits.concurrency)
        self._open = Places(limits.connections, reserve=limits.connections // 4, share=FEW)
        self._seconds = limits.busy

    @asynccontextmanager
    async def passed(self, party: Hashable) -> AsyncIterator[None]:
        """Wait for a place, and hold it for as long as it is needed."""
        await self._open.take(party)
        try:
            await self._busy.take(party)
            places = [self._busy]  # emptied by whoever comes first: the timer, or the end

            def leave() -> None:
                while places:
                    places.pop().give_back(party)

            timer = asyncio.get_running_loop().call_later(self._seconds, leave)
            try:
                yield
            finally:
                timer.cancel()
                leave()
        finally:
            self._open.give_back(party)
