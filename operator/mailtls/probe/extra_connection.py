"""One more connection to a target, for one question that the conversation could not answer.

Where it ended without a word, connections are made to learn the cause: only servers that fail are asked more, and only
what the way they failed leaves open.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from types import MappingProxyType
from typing import ClassVar, Final

from OpenSSL import SSL

from mailtls.pki.served_certificate import read_served
from mailtls.probe.conversation import Conversation, Halt, Limits
from mailtls.probe.facts import (
    INJECTED_COMMANDS,
    Clues,
    Facts,
    Fault,
    Login,
    LoginOutcome,
    Outcome,
    Phase,
    Session,
    Stop,
)
from mailtls.probe.login import LoginDialog
from mailtls.probe.protocols.dialog import REPLY_LIMIT
from mailtls.probe.protocols.grammars import farewell
from mailtls.probe.target import Credentials, Port, ProxyProtocol, Target, TlsMode
from mailtls.probe.tls.client_hello import chosen_family, client_hello
from mailtls.probe.tls.handshake import HandshakeFailed, Offer, TlsClient, TrustStore, client_context
from mailtls.probe.wire import TlsWire, Wire
from mailtls.reasons.quoting import quote, shorten

_TLS_COMMANDS: Final = (b"STARTTLS\r\n", b"STLS\r\n")


class ExtraConnection(Conversation):
    """Comes to TLS as the conversation does, and puts its own question there; used once."""

    async def open_session(self, tls: TlsClient, *, speak: bool = False) -> Outcome:
        """Shake hands by the rules of `tls`; `speak`: also hold the dialog inside TLS, for its ticket."""
        try:
            await self._open_session(tls, speak=speak)
        except Halt as halt:
            return self._facts.session or halt.stop
        return self._session()

    async def resume(self, tls: TlsClient) -> Outcome:
        """Shake hands and hold the dialog inside TLS; a session that breaks behind the handshake is a `Stop` too."""
        try:
            await self._open_session(tls, speak=True)
        except Halt as halt:
            return halt.stop
        return self._session()

    async def choice(self, families: Sequence[str]) -> str | Stop:
        """Offer the ciphers of some families only; return the one that the server takes, else how it ended."""
        try:
            async with self._at_tls() as wire, self._during(Phase.HANDSHAKE, self._limits.handshake):
                return await _offer(wire, client_hello(families, self._target.server_name), families)
        except Halt as halt:
            return halt.stop

    async def inject(self, tls: TlsClient) -> str | None:
        """Send a command in one piece with STARTTLS; return what is answered to it inside TLS, None if nobody knows."""
        self._wire = _INJECTING[self._target.port.protocol]
        try:
            async with self._at_tls() as wire:
                await self._handshake(wire, tls)
                said = await self._unsolicited(TlsWire(wire, tls))
                await self._part(wire, tls)
                return said
        except Halt as halt:  # disconnecting and refusing are safe; what ends before is no answer
            return "" if halt.stop.phase in {Phase.STARTTLS, Phase.HANDSHAKE} else None

    async def log_in(self, tls: TlsClient, whom: Credentials, *, is_proven: Callable[[Session], bool]) -> Login:
        """Try credentials; they are not sent before `is_proven` has seen the certificate."""
        try:
            async with self._at_tls() as wire:
                await self._handshake(wire, tls)
                try:
                    if self._facts.session is None or not is_proven(self._facts.session):
                        return Login(LoginOutcome.UNPROVEN)
                    await self._greet_in_tls(wire, tls)
                    return await self._try(TlsWire(wire, tls), whom)
                finally:
                    await self._part(wire, tls)
        except Halt as halt:  # a server that has had enough connections is no broken login
            return Login(LoginOutcome.NOT_REACHED, _described(halt.stop))

    async def _try(self, wire: TlsWire, whom: Credentials) -> Login:
        listed = self._facts.reply(Phase.CAPABILITIES_IN_TLS)
        dialog = LoginDialog(self._target.port.protocol, whom, listed)
        try:
            async with self._during(Phase.CAPABILITIES_IN_TLS, self._limits.dialog):
                return await _verdict(wire, dialog)
        except Halt as halt:
            return Login(LoginOutcome.INCOMPLETE, str(halt.stop.fault))

    async def _open_session(self, tls: TlsClient, *, speak: bool) -> None:
        async with self._at_tls() as wire:
            await self._handshake(wire, tls)
            try:
                if (
                    speak or self._target.port.tls_mode is TlsMode.IMPLICIT
                ):  # where QUIT may not come before the greeting
                    await self._greet_in_tls(wire, tls)
            finally:
                await self._part(wire, tls)

    @asynccontextmanager
    async def _at_tls(self) -> AsyncIterator[Wire]:
        wire, last_words = await self._connect(), farewell(self._target.port.protocol)
        try:
            await self._reach_tls(wire)
            last_words = b""  # nothing in clear from here on
            yield wire
        finally:
            wire.close(last_words)

    async def _unsolicited(self, wire: TlsWire) -> str:
        """Wait for an answer that nobody may give; of several lines the one with the cause counts."""
        received = b""
        with suppress(TimeoutError, HandshakeFailed, OSError):
            async with asyncio.timeout(self._limits.unsolicited):
                while (more := await wire.receive()) and len(received) < REPLY_LIMIT:
                    received += more
        lines, answer_prefix = (
            received.splitlines(),
            INJECTED_COMMANDS[self._target.port.protocol].answer_prefix.encode(),
        )
        return quote(next((line for line in lines if line.startswith(answer_prefix)), b"".join(lines[:1])))

    def _session(self) -> Session | Stop:
        return self._facts.session or Stop(Phase.HANDSHAKE, Fault.CLOSED)


class InjectingWire(Wire):
    """Sends one command more in the same segment as the one that starts TLS (CVE-2011-0411 and its kin)."""

    injected: ClassVar[bytes]

    async def send(self, data: bytes) -> None:
        """Send all of `data`, and the command where it belongs."""
        is_last_in_clear = data.upper().endswith(_TLS_COMMANDS)
        await super().send(data + self.injected if is_last_in_clear else data)


_INJECTING: Final = MappingProxyType(
    {
        protocol: type("InjectingWire", (InjectingWire,), {"injected": injected.command})
        for protocol, injected in INJECTED_COMMANDS.items()
    }
)


async def _verdict(wire: TlsWire, dialog: LoginDialog) -> Login:
    """Go on until the server has given its verdict, or gone."""
    await wire.send(dialog.begin())
    while dialog.result is None:
        received = await wire.receive()
        if not received:
            return Login(LoginOutcome.INCOMPLETE, str(Fault.CLOSED))
        await wire.send(dialog.receive(received))
    return dialog.result


def _described(stop: Stop) -> str:
    return shorten(f"{stop.phase}: {stop.fault}, {stop.detail}" if stop.detail else f"{stop.phase}: {stop.fault}")


async def _offer(wire: Wire, hello: bytes, families: Sequence[str]) -> str:
    """Send a hand-made ClientHello and read the server's choice; raises `HandshakeFailed` when it makes none."""
    await wire.send(hello)
    received = b""
    while (family := chosen_family(received, families)) is None:
        more = await wire.receive()
        if not more:
            raise HandshakeFailed(Fault.CLOSED, "")
        received += more
    return family


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
