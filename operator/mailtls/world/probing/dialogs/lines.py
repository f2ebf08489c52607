"""Cuts the bytes of a server into lines and never holds more than its caps."""

from typing import Final

from mailtls.model.quoting import QUOTE_LIMIT, quote

REPLY_LIMIT: Final = 16384  # octets of one reply, all its lines together


class Garbled(Exception):
    """The server does not speak the protocol; says what was seen instead."""


class LineReader:
    """Lines end in LF, the CR before it is dropped; holds `line_limit` octets and one chunk at most."""

    def __init__(self, line_limit: int) -> None:
        self._limit = line_limit
        self._pending = b""
        self._size = 0  # of the reply so far

    @property
    def pending(self) -> bytes:
        """What came behind the last whole line, as far as it is worth quoting."""
        return self._pending[:QUOTE_LIMIT]

    def feed(self, data: bytes) -> None:
        """Take what came in."""
        self._pending += data

    def line(self) -> bytes | None:
        """Return the next whole line, None while its end is missing; raises `Garbled` beyond the caps."""
        end = self._pending.find(b"\n")
        if max(end, 0) > self._limit or (end < 0 and len(self._pending) > self._limit):
            raise Garbled(f"a line of more than {self._limit} octets: {quote(self._pending[:60])}")
        if end < 0:
            return None
        line, self._pending = self._pending[:end].removesuffix(b"\r"), self._pending[end + 1 :]
        self._size += len(line) + 1
        if self._size > REPLY_LIMIT:
            raise Garbled(f"a reply of more than {REPLY_LIMIT} octets: {quote(line[:60])}")
        return line

    def rest(self) -> bytes:
        """Take what stands behind the last line of a reply, and begin a new reply."""
        rest, self._pending, self._size = self._pending, b"", 0
        return rest
