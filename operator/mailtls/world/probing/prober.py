"""Probes mail servers over the network, many at once, and hands the facts to a judge."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from mailtls.model.probe.endpoint import Depth, Endpoint, Expected, Target
from mailtls.model.probe.facts import Facts, Judge
from mailtls.model.quoting import shorten
from mailtls.model.reason import Finding, Reason
from mailtls.world.deadline import seconds_left
from mailtls.world.ports import Clock
from mailtls.world.probing.handshake import Offer, TrustStore, client_context
from mailtls.world.probing.inspection import Inspector, Met
from mailtls.world.probing.places import Door
from mailtls.world.probing.talk import Conversation, Limits

__all__ = ["Limits", "MailProber"]

_TOO_LATE: Final = Finding(
    Reason.CONNECT_TIMEOUT,
    "The time for all probes of the resource ended before this one did; see probe.concurrency in the Helm values.",
)


class MailProber:
    """Implements `ports.Prober`; thread-safe, each call runs an event loop of its own.

    The limits hold for all calls together, however many threads make them.

    `judge` is `lifecycle.probe.checks.verdict`, passed in because world and lifecycle do not know each other.
    """

    def __init__(self, clock: Clock, judge: Judge, limits: Limits | None = None) -> None:
        self._clock = clock
        self._judge = judge
        self._limits = limits or Limits()
        self._context = client_context(Offer())  # the very one that questions resume its sessions with
        self._door = Door(self._limits)

    def probe(self, targets: Iterable[Target], expected: Expected, depth: Depth = Depth.QUICK) -> list[Endpoint]:
        """Probe all targets concurrently, answer in their order; never raises for what a server does."""
        return [endpoint for endpoint, _ in self._asked(targets, expected, depth, lambda _facts: Facts())]

    def examine(
        self, targets: Iterable[Target], expected: Expected, depth: Depth = Depth.QUICK
    ) -> list[tuple[Endpoint, Facts]]:
        """Do the same and hand out the facts beside each verdict, for those who judge on more than one port."""
        return self._asked(targets, expected, depth, lambda facts: facts)

    def _asked(
        self, targets: Iterable[Target], expected: Expected, depth: Depth, kept: Callable[[Facts], Facts]
    ) -> list[tuple[Endpoint, Facts]]:
        asked = list(targets)
        return asyncio.run(self._sweep(asked, expected, depth, kept)) if asked else []

    async def _sweep(
        self, targets: list[Target], expected: Expected, depth: Depth, kept: Callable[[Facts], Facts]
    ) -> list[tuple[Endpoint, Facts]]:
        """Probe all targets; of the facts what is `kept` outlives the verdict alone: servers show a lot."""
        party, left = object(), _left()
        trust = TrustStore(expected.extra_roots_pem, self._clock.now(), trusts_staging=expected.trusts_staging)

        async def one(target: Target) -> tuple[Endpoint, Facts]:
            try:
                async with asyncio.timeout(left), self._door.passed(party):
                    endpoint, facts = await self._endpoint(target, expected, depth, trust)
                    return endpoint, kept(facts)
            except TimeoutError:
                return Endpoint(target, self._clock.now(), (_TOO_LATE,)), Facts()

        return await asyncio.gather(*(one(target) for target in targets))

    async def _endpoint(
        self, target: Target, expected: Expected, depth: Depth, trust: TrustStore
    ) -> tuple[Endpoint, Facts]:
        try:
            talk = Conversation(target, self._context, trust, self._limits)
            facts = await talk.hold()
            if depth is not Depth.QUICK and facts.session:  # without TLS there is nothing to look into
                met = Met(facts.session, talk.ticket)
                inspector = Inspector(target, expected, trust, self._limits)
                facts = replace(facts, inspection=await inspector.inspect(depth, met))
            return self._judge(target, expected, facts, self._clock.now()), facts
        except Exception as error:  # noqa: BLE001 - one odd target must not cost the verdict on the others
            words = shorten(f"The probe itself failed with {type(error).__name__}: {error}; please report this.")
            return Endpoint(target, self._clock.now(), (Finding(Reason.INTERNAL_ERROR, words),)), Facts()


def _left() -> float | None:
    """How long all probes may take together, None without an end."""
    try:
        return seconds_left()
    except TimeoutError:
        return 0.0
