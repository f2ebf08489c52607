"""One probe of one target over the network: connects, speaks, shakes hands, and keeps the facts."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from OpenSSL import SSL

from mailtls.probe.facts import Facts, Fault, Phase, Stop
from mailtls.probe.protocols.dialog import Dialog
from mailtls.probe.protocols.grammars import Stage, dialog_for, farewell
from mailtls.probe.target import Port, Target, TlsMode
from mailtls.probe.tls.handshake import HandshakeFailed, TlsClient, TrustStore
from mailtls.probe.wire import TlsWire, Wire
from mailtls.reasons.quoting import quote, shorten

USUAL_TIMEOUT: Final = timedelta(seconds=20)
"""For a conversation at a port that has no time-out of its own."""
_CONNECT_SHARE: Final = 0.5
_MARGIN: Final = 2.0  # seconds to judge what was seen, on a busy machine


@dataclass(frozen=True, slots=True)
class Limits:
    """Patience per phase in seconds, and how many probes run at once.

    `concurrency` are at work; those that take longer than `busy` seconds wait for a server and no longer count, up to
    `connections` in all.
    """

    connect: float = 5.0
    dialog: float = 10.0  # each dialog as a whole: before TLS, and inside it
    handshake: float = 10.0
    overall: float = USUAL_TIMEOUT.total_seconds()
    inspection: float = 60.0  # all extra connections of a full or deep probe to one target, one after the other
    names: float = 30.0  # more for those that send the certificate's other names as SNI, after these
    most_names: int = 100  # as many as a resource may have
    certificates: int = 512 * 1024  # octets that are held of what one server shows; a hundred names may have a hundred
    parting: float = 0.5  # how long to wait for the server's end of the connection after QUIT
    unsolicited: float = 2.0  # how long a reply to a command that must be ignored is waited for
    concurrency: int = 50
    busy: float = 0.5
    connections: int = 500

    def lasting(self, seconds: float) -> "Limits":
        """Let a conversation take so long; its phases stretch with it, and in a shorter one take no more than it."""
        longer = max(1.0, seconds / self.overall)
        return replace(
            self,
            connect=min(self.connect * longer, seconds * _CONNECT_SHARE),
            dialog=min(self.dialog * longer, seconds),
            handshake=min(self.handshake * longer, seconds),
            overall=seconds,
        )

    def at(self, port: Port) -> "Limits":
        """Return the limits that hold at a port."""
        return self if port.timeout is None else self.lasting(port.timeout.total_seconds())

    def until(self, ends_at: float | None) -> "Limits":
        """Leave the extra connections what a slow conversation has left of the time for all, by the loop's clock."""
        if ends_at is None:
            return self
        left = max(0.0, ends_at - asyncio.get_running_loop().time() - _MARGIN)
        inspection = min(self.inspection, left * self.inspection / (self.inspection + self.names))
        return replace(self, inspection=inspection, names=min(self.names, left - inspection))


class Halt(Exception):
    """The conversation cannot go on; carries where and why."""

    def __init__(self, stop: Stop) -> None:
        super().__init__(str(stop.fault))
        self.stop = stop


class Conversation:
    """One probe of one target; the facts grow phase by phase, so that a fault loses nothing seen before it."""

    _wire: type[Wire] = Wire

    def __init__(
        self, target: Target, context: SSL.Context, trust: TrustStore, limits: Limits, *, client_name: str = ""
    ) -> None:
        self._target, self._context, self._trust, self._limits = target, context, trust, limits
        self._client_name = client_name
        self._deadline = asyncio.get_running_loop().time() + limits.overall
        self._phase = Phase.CONNECT
        self._facts = Facts()
        self._tls: TlsClient | None = None

    async def hold(self) -> Facts:
        """Hold the conversation to its end; never raises for what the server or the network does."""
        try:
            await self._speak()
        except Halt as halt:
            self._facts = replace(self._facts, stop=halt.stop)
        return self._facts

    async def _speak(self) -> None:
        wire, last_words = await self._connect(), farewell(self._target.port.protocol)
        try:
            await self._reach_tls(wire)
            last_words = b""  # nothing in clear from here on
            tls = TlsClient(self._context, self._target.server_name)
            await self._handshake(wire, tls)
            self._tls = tls
            try:
                await self._greet_in_tls(wire, tls)
            finally:
                last_words = self._goodbye(tls)
        finally:
            wire.close(last_words)

    async def _reach_tls(self, wire: Wire) -> None:
        """Come to the point where a ClientHello is due."""
        if self._target.port.tls_mode is TlsMode.START_TLS:
            await self._start_tls(wire)

    async def _connect(self) -> Wire:
        async with self._during(Phase.CONNECT, self._limits.connect):
            port = self._target.port
            wire = await self._wire.connect(self._target.address, port.port)
            try:
                await wire.send(wire.proxy_header(port.proxy_protocol))
            except BaseException:
                wire.close()
                raise
            return wire

    async def _start_tls(self, wire: Wire) -> None:
        dialog = dialog_for(self._target.port, Stage.BEFORE_TLS, self._client_name or wire.client_name)
        await self._hold_dialog(wire, dialog)
        if dialog.surplus:  # sent before our ClientHello, so it cannot be TLS (RFC 3207 section 6)
            raise Halt(Stop(Phase.HANDSHAKE, Fault.NOT_TLS, quote(dialog.surplus)))

    async def _handshake(self, wire: Wire, tls: TlsClient) -> None:
        async with self._during(Phase.HANDSHAKE, self._limits.handshake):
            await _shake_hands(wire, tls)
            self._facts = replace(self._facts, session=tls.session(self._trust))

    @property
    def ends_at(self) -> float:
        """When it has to be over, by the loop's clock."""
        return self._deadline

    @property
    def ticket(self) -> SSL.Session | None:
        """What a later connection can resume of the session; None where TLS did not come about."""
        return self._tls.ticket() if self._tls else None

    async def _part(self, wire: Wire, tls: TlsClient) -> None:
        """Say QUIT inside TLS and let the server end the connection, for its log counts those that are lost.

        Closing with something unread (tickets, the answer to QUIT) resets the connection, and the QUIT may be lost.
        """
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(self._limits.parting):
                await wire.send(self._goodbye(tls))
                while await wire.receive():
                    pass

    async def _greet_in_tls(self, wire: Wire, tls: TlsClient) -> None:
        port = self._target.port
        stage = Stage.AFTER_STARTTLS if port.tls_mode is TlsMode.START_TLS else Stage.INSIDE_TLS
        await self._hold_dialog(TlsWire(wire, tls), dialog_for(port, stage, self._client_name or wire.client_name))

    def _goodbye(self, tls: TlsClient) -> bytes:
        with suppress(HandshakeFailed):  # all is known by now: a session that breaks here costs only the courtesy
            return tls.encrypt(farewell(self._target.port.protocol)) + tls.close()
        return b""

    async def _hold_dialog(self, wire: Wire | TlsWire, dialog: Dialog) -> None:
        try:
            async with self._during(dialog.phase, self._limits.dialog):
                await self._exchange(wire, dialog)
        except Halt as halt:
            is_silent = halt.stop.fault in {Fault.TIMED_OUT, Fault.CLOSED} and not halt.stop.detail
            raise Halt(replace(halt.stop, detail=dialog.partial_reply)) if is_silent else halt from None
        finally:
            self._facts = replace(self._facts, replies=(*self._facts.replies, *dialog.replies))
        if dialog.stop:
            raise Halt(dialog.stop)

    async def _exchange(self, wire: Wire | TlsWire, dialog: Dialog) -> None:
        await wire.send(dialog.begin())
        while not dialog.finished:
            self._phase = dialog.phase
            received = await wire.receive()
            if not received:
                raise Halt(Stop(dialog.phase, Fault.CLOSED))
            await wire.send(dialog.receive(received))

    @asynccontextmanager
    async def _during(self, phase: Phase, patience: float) -> AsyncIterator[None]:
        """Name whatever goes wrong by the phase it goes wrong in: exception types differ between releases."""
        self._phase = phase
        now = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(min(now + patience, self._deadline)):
                yield
        except TimeoutError:
            raise Halt(Stop(self._phase, Fault.TIMED_OUT)) from None
        except HandshakeFailed as failed:
            raise Halt(Stop(self._phase, failed.fault, failed.detail)) from None
        except OSError as error:
            raise Halt(self._network_stop(error)) from None

    def _network_stop(self, error: OSError) -> Stop:
        detail = shorten(error.strerror or str(error))
        if isinstance(error, ConnectionResetError) and self._phase is Phase.CONNECT:
            # somebody listens, took the connection and dropped it before the greeting could be read
            self._phase = Phase.HANDSHAKE if self._target.port.tls_mode is TlsMode.IMPLICIT else Phase.GREETING
        if self._phase is not Phase.CONNECT:
            return Stop(self._phase, Fault.CLOSED, detail)
        if isinstance(error, ConnectionRefusedError):
            return Stop(self._phase, Fault.REFUSED, detail)
        # asyncio writes the address in place of the system's words, which name the cause
        return Stop(self._phase, Fault.UNREACHABLE, os.strerror(error.errno) if error.errno else detail)


async def _shake_hands(wire: Wire, tls: TlsClient) -> None:
    done = tls.handshake()
    while not done:
        await wire.send(tls.outgoing())
        received = await wire.receive()
        if not received:
            raise HandshakeFailed(Fault.CLOSED, "")
        done = tls.handshake(received)
    await wire.send(tls.outgoing())
