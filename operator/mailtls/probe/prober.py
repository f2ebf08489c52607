"""Probes mail servers over the network, many at once, and hands the facts to a judge."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Hashable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from threading import Lock
from typing import Final, Protocol, TypeAlias

from mailtls.net import tracing
from mailtls.net.effects import seconds_left
from mailtls.probe.checks.verdict import judge
from mailtls.probe.conversation import Conversation, Limits
from mailtls.probe.extra_connection import Diagnosis
from mailtls.probe.facts import Facts, Judge
from mailtls.probe.inspector import FirstSession, Inspector
from mailtls.probe.target import Depth, Endpoint, Expected, Target
from mailtls.probe.tls.handshake import Offer, TrustStore, client_context
from mailtls.reasons.quoting import shorten
from mailtls.reasons.reason import Finding, Reason

FEW: Final = 8  # connections that a resource may have whatever the others do: as many as two pods have ports
_Waiter: TypeAlias = tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]


class FairSemaphore:
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

    async def acquire(self, party: Hashable) -> None:
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
                self.release(party)
            raise

    def release(self, party: Hashable) -> None:
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
            self.release(party)
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


class Limiter:
    """Lets probes begin: a few at a time, as each costs a handshake, but never kept waiting by servers that are dead.

    Whoever is not done after `Limits.busy` seconds waits for a server rather than for us, and makes room for the next.
    One limiter is for the whole process: the bounds hold however many resources are probed at the same time.
    A quarter of all connections is for those who have few: hundreds of dead servers keep nobody else out.
    """

    def __init__(self, limits: Limits) -> None:
        self._busy = FairSemaphore(limits.concurrency)
        self._open = FairSemaphore(limits.connections, reserve=limits.connections // 4, share=FEW)
        self._seconds = limits.busy

    @asynccontextmanager
    async def admitted(self, party: Hashable) -> AsyncIterator[None]:
        """Wait for a place, and hold it for as long as it is needed."""
        await self._open.acquire(party)
        try:
            await self._busy.acquire(party)
            places = [self._busy]  # emptied by whoever comes first: the timer, or the end

            def leave() -> None:
                while places:
                    places.pop().release(party)

            timer = asyncio.get_running_loop().call_later(self._seconds, leave)
            try:
                yield
            finally:
                timer.cancel()
                leave()
        finally:
            self._open.release(party)


_TOO_LATE: Final = Finding(
    Reason.CONNECT_TIMEOUT,
    "The time for all probes of the resource ended before this one did; see probe.concurrency in the Helm values.",
)


class SupportsProbe(Protocol):
    """Connects to mail servers as a client would."""

    def probe(self, targets: Iterable[Target], expected: Expected, depth: Depth = Depth.QUICK) -> Sequence[Endpoint]:
        """Probe all targets concurrently; never raises for what a server does."""


class SupportsExamine(Protocol):
    """Connects to mail servers, and hands out what it saw beside its verdict."""

    def examine(self, targets: Iterable[Target], expected: Expected) -> Sequence[tuple[Endpoint, Facts]]:
        """Probe all targets concurrently, answer in their order; never raises for what a server does."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Prober:
    """Probes targets; thread-safe, each call runs an event loop of its own.

    The limits hold for all calls together, however many threads make them. `now` returns the time in UTC, with time
    zone; `judge` gives the verdict on each target as soon as its facts are complete.
    """

    def __init__(
        self, limits: Limits | None = None, *, judge: Judge = judge, now: Callable[[], datetime] = _utc_now
    ) -> None:
        self._now = now
        self._judge = judge
        self._limits = limits or Limits()
        self._context = client_context(Offer())  # the very one that questions resume its sessions with
        self._limiter = Limiter(self._limits)

    def probe(self, targets: Iterable[Target], expected: Expected, depth: Depth = Depth.QUICK) -> list[Endpoint]:
        """Probe all targets concurrently, answer in their order; never raises for what a server does."""
        return [endpoint for endpoint, _ in self._probed(targets, expected, depth, lambda _facts: Facts())]

    def examine(
        self, targets: Iterable[Target], expected: Expected, depth: Depth = Depth.QUICK
    ) -> list[tuple[Endpoint, Facts]]:
        """Do the same and hand out the facts beside each verdict, for those who judge on more than one port."""
        return self._probed(targets, expected, depth, lambda facts: facts)

    def _probed(
        self, targets: Iterable[Target], expected: Expected, depth: Depth, kept: Callable[[Facts], Facts]
    ) -> list[tuple[Endpoint, Facts]]:
        wanted = list(targets)
        if not wanted:
            return []
        with tracing.span("probe", endpoints=len(wanted), depth=str(depth)) as span:
            found = asyncio.run(self._sweep(wanted, expected, depth, kept))
            reasons = sorted({str(finding.reason) for endpoint, _facts in found for finding in endpoint.findings})
            span.note(reasons=reasons)
            return found

    async def _sweep(
        self, targets: list[Target], expected: Expected, depth: Depth, kept: Callable[[Facts], Facts]
    ) -> list[tuple[Endpoint, Facts]]:
        """Probe all targets; of the facts what is `kept` outlives the verdict alone: servers show a lot."""
        party, left = object(), _left()
        ends_at = None if left is None else asyncio.get_running_loop().time() + left
        trust = TrustStore(expected.extra_roots_pem, self._now(), trusts_staging=expected.trusts_staging)

        async def one(target: Target) -> tuple[Endpoint, Facts]:
            try:
                async with asyncio.timeout(left), self._limiter.admitted(party):
                    endpoint, facts = await self._endpoint(target, expected, depth, trust, ends_at)
                    return endpoint, kept(facts)
            except TimeoutError:
                return Endpoint(target, self._now(), (_TOO_LATE,)), Facts()

        return await asyncio.gather(*(one(target) for target in targets))

    async def _endpoint(
        self, target: Target, expected: Expected, depth: Depth, trust: TrustStore, ends_at: float | None
    ) -> tuple[Endpoint, Facts]:
        try:
            limits, name = self._limits.at(target.port), expected.client_name
            conversation = Conversation(target, self._context, trust, limits, client_name=name)
            facts = await conversation.hold()
            if facts.stop is not None and facts.session is None:
                diagnosis = Diagnosis(target, trust, limits, conversation.ends_at, client_name=name)
                facts = await diagnosis.explain(facts)
            if depth is not Depth.QUICK and facts.session:  # without TLS there is nothing to inspect
                first = FirstSession(facts.session, conversation.ticket)
                inspector = Inspector(target, expected, trust, limits.until(ends_at))
                facts = replace(facts, inspection=await inspector.inspect(depth, first))
            return self._judge(target, expected, facts, self._now()), facts
        except Exception as error:  # noqa: BLE001 - one odd target must not cost the verdict on the others
            words = shorten(f"The probe itself failed with {type(error).__name__}: {error}; please report this.")
            return Endpoint(target, self._now(), (Finding(Reason.INTERNAL_ERROR, words),)), Facts()


def _left() -> float | None:
    """How long all probes may take together, None without an end."""
    try:
        return seconds_left()
    except TimeoutError:
        return 0.0
