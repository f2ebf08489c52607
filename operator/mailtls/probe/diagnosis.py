"""Connects again where a conversation ended without a word, to learn the cause: each connection puts one question.

Only servers that fail are asked more, and only what the way they failed leaves open.
"""

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Final

from OpenSSL import SSL

from mailtls.pki.served_certificate import read_served
from mailtls.probe.conversation import Limits
from mailtls.probe.extra_connection import ExtraConnection
from mailtls.probe.facts import Clues, Facts, Fault, Outcome, Phase, Session, Stop
from mailtls.probe.target import Port, ProxyProtocol, Target, TlsMode
from mailtls.probe.tls.handshake import Offer, TlsClient, TrustStore, client_context

_USUAL: Final = Offer()
_SHORT: Final = Offer(newest=SSL.TLS1_2_VERSION)  # without key shares: a few hundred octets, in one packet
_LOCAL_ERROR: Final = "Server local error"  # Postfix, when it waits for a PROXY header in vain, or gets something else
_SAY_NOTHING: Final = frozenset({Fault.TIMED_OUT, Fault.CLOSED})
_BEYOND_GREETING: Final = frozenset({Phase.STARTTLS, Phase.HANDSHAKE, Phase.CAPABILITIES_IN_TLS})
_SHARE: Final = 0.5  # of the time that is left, for the first of several questions


class Diagnosis:
    """Asks one target; `ends_at` is when the conversation and all of this must be over, by the loop's clock."""

    def __init__(
        self, target: Target, trust: TrustStore, limits: Limits, ends_at: float, *, client_name: str = ""
    ) -> None:
        self._target, self._trust, self._limits, self._ends_at = target, trust, limits, ends_at
        self._client_name = client_name

    async def explain(self, facts: Facts) -> Facts:
        """Add what shows the cause; never raises for what the server or the network does."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._ends_at):
                return replace(facts, clues=await self._clues(facts))
        return facts

    async def _clues(self, facts: Facts) -> Clues:
        stop = facts.stop
        if stop is None or facts.session is not None:
            return Clues()
        if stop.phase is Phase.GREETING and stop.fault in _SAY_NOTHING and not _has_begun(stop):
            return await self._of_silence()
        if stop.phase is Phase.GREETING and _LOCAL_ERROR in stop.detail:
            return Clues(wants_proxy_header=await self._wants_proxy_header())
        if stop.phase is Phase.HANDSHAKE and _may_be_the_hello(stop):
            return await self._of_broken_handshake()
        return Clues()

    async def _of_silence(self) -> Clues:
        """A port that does not greet: it may want TLS first, anything first, or a PROXY header first."""
        answer = await self._ask(replace(self._target.port, tls_mode=TlsMode.IMPLICIT))
        if isinstance(answer, Session):
            return Clues(tls_first=True, is_mesh=is_of_a_mesh(answer))
        if answer.phase is Phase.HANDSHAKE and answer.fault in {Fault.TLS_REFUSED, Fault.NO_SHARED_VERSION}:
            return Clues(tls_first=True)
        prompted = answer.detail if answer.fault is Fault.NOT_TLS else ""
        if prompted and _LOCAL_ERROR not in prompted:
            return Clues(prompted=prompted)
        return Clues(prompted=prompted, wants_proxy_header=await self._wants_proxy_header())

    async def _of_broken_handshake(self) -> Clues:
        """A handshake that breaks off: the ClientHello may be too long for somebody, or a PROXY header be due first."""
        if isinstance(await self._ask(self._target.port, _SHORT), Session):
            return Clues(takes_short_hello=True)
        if self._target.port.tls_mode is TlsMode.IMPLICIT:
            return Clues(wants_proxy_header=await self._wants_proxy_header())
        return Clues()

    async def _wants_proxy_header(self) -> bool:
        """Whether the port speaks as it should once it is sent a header; one that wants none chokes on it."""
        port = self._target.port
        if port.proxy_protocol is not ProxyProtocol.NONE:
            return False
        answer = await self._ask(replace(port, proxy_protocol=ProxyProtocol.V2), share=1.0)
        if isinstance(answer, Session):
            return True
        is_alert = answer.phase is Phase.HANDSHAKE and answer.fault is not Fault.CLOSED
        return is_alert if port.tls_mode is TlsMode.IMPLICIT else answer.phase in _BEYOND_GREETING

    async def _ask(self, port: Port, offer: Offer = _USUAL, *, share: float = _SHARE) -> Outcome:
        left = max(0.0, self._ends_at - asyncio.get_running_loop().time()) * share
        limits = replace(self._limits, **{each: min(getattr(self._limits, each), left) for each in _PHASES})
        target, tls = replace(self._target, port=port), TlsClient(client_context(offer), self._target.server_name)
        name = self._client_name
        return await ExtraConnection(target, client_context(), self._trust, limits, client_name=name).open_session(tls)


_PHASES: Final = ("connect", "dialog", "handshake", "overall")


def is_of_a_mesh(session: Session) -> bool:
    """Whether the certificate is one of a service mesh (SPIFFE), which no mail client accepts."""
    leaf = read_served(session.chain[0])
    return leaf is not None and leaf.is_of_a_workload


def _has_begun(stop: Stop) -> bool:
    """Whether it is a tarpit, which began to say something."""
    return stop.fault is Fault.TIMED_OUT and bool(stop.detail)


def _may_be_the_hello(stop: Stop) -> bool:
    """Whether nothing came back, or an alert that old programs send when they do not understand."""
    marks = ("decode error", "illegal parameter", "unexpected message", "internal error", "handshake failure")
    return stop.fault in _SAY_NOTHING or any(mark in stop.detail for mark in marks)
