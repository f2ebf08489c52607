"""What a dialog is to those who carry its bytes, and what each protocol must say of itself.

Bytes go in by `receive`, bytes to send come out; a hostile server can only make it end with a named `Stop`.
"""

from collections.abc import Sequence
from typing import Protocol

from mailtls.model.probe.talk import Phase, Reply, Stop


class Dialog(Protocol):
    """A conversation that leads to TLS or takes place in it."""

    phase: Phase
    stop: Stop | None
    finished: bool
    replies: list[Reply]
    surplus: bytes  # came in one piece with the last reply, but behind it

    @property
    def heard(self) -> str:
        """How an unfinished reply began, quoted; empty where nothing came."""

    def begin(self) -> bytes:
        """Return what the client says first, empty when the server speaks first."""

    def receive(self, data: bytes) -> bytes:
        """Take bytes of the server, return bytes to send; once `finished`, nothing is taken any more."""


class Grammar(Protocol):
    """How one protocol asks and answers; serves one dialog."""

    line_limit: int  # octets of one line of the server

    def command(self, phase: Phase) -> bytes:
        """Return what the client says in a phase, empty where the server speaks unasked."""

    def is_whole(self, phase: Phase, lines: Sequence[bytes]) -> bool:
        """Whether the last of `lines` ends the reply; called once per line. Raises `Garbled`."""

    def reply(self, phase: Phase, lines: Sequence[bytes]) -> Reply:
        """Read a whole reply."""

    def accepts(self, reply: Reply) -> bool:
        """Whether the reply leads on to the next phase."""
