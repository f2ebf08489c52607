"""Places for work that goes on in many event loops at once: so many in the whole process, and fairly shared."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from threading import Lock
from typing import Final, TypeAlias

from mailtls.world.probing.talk import Limits

_Waiter: TypeAlias = tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]


class Places:
    """A semaphore for tasks of any thread's event loop.

    Whoever frees a place gives it to the next in turn: each party has its turn, however many of its own wait, so that
    a resource with hundreds of pods keeps none with two waiting.
    """

    def __init__(self, number: int) -> None:
        self._free: int = number
        self._lock: Final = Lock()
        self._waiting: dict[Hashable, deque[_Waiter]] = {}  # by party; the first is next

    async def take(self, party: Hashable) -> None:
        """Wait for a place; who is cancelled while waiting holds none."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._free and not self._waiting:
                self._free -= 1
                return
            given = loop.create_future()
            self._waiting.setdefault(party, deque()).append((loop, given))
        try:
            await given
        except asyncio.CancelledError:
            self._forget(party, (loop, given))
            if given.done() and not given.cancelled():
                self.give_back()
            raise

    def give_back(self) -> None:
        """Free a place, from any thread."""
        with self._lock:
            while self._waiting:
                loop, given = self._next()
                try:
                    loop.call_soon_threadsafe(self._give, given)
                except RuntimeError:  # its loop is closed: nobody waits there any more
                    continue
                return
            self._free += 1

    def _give(self, given: asyncio.Future[None]) -> None:
        if given.done():  # cancelled meanwhile
            self.give_back()
        else:
            given.set_result(None)

    def _next(self) -> _Waiter:
        """Take the next waiter out; its party goes to the end of the line."""
        party = next(iter(self._waiting))
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
    """

    def __init__(self, limits: Limits) -> None:
        self._busy, self._open = Places(limits.concurrency), Places(limits.connections)
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
                    places.pop().give_back()

            timer = asyncio.get_running_loop().call_later(self._seconds, leave)
            try:
                yield
            finally:
                timer.cancel()
                leave()
        finally:
            self._open.give_back()
