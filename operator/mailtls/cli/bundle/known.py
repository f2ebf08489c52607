"""Finds in a text what the Secrets of a cluster hold, in one pass, however many Secrets there are.

A form in which a secret may be written is cut into pieces of 32 characters, and each piece is searched for by itself.
So a part of a long secret is found too, and the work at one place of a text is bounded: one comparison for each length
that a piece can have at most, and with nearly all texts a single one.
"""

import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote

from mailtls.net.effects import seconds_left

PIECE: Final = 32  # characters
_LEAST: Final = 6  # characters; shorter ones are also parts of words, so that they would be found everywhere
_LEAST_LINE: Final = 16
_UNCHECKED: Final = 65_536  # characters that are searched between two looks at the deadline


class KnownSecrets:
    """All forms of these secrets but the public ones; raises TimeoutError when a deadline passes meanwhile."""

    def __init__(self, secrets: Iterable[bytes], public: Iterable[str] = ()) -> None:
        public = frozenset(public)
        self._pieces: set[str] = set()
        self._short: dict[str, tuple[int, ...]] = {}  # lengths of pieces below PIECE, the longest first, by their start
        for secret in secrets:
            seconds_left()
            for piece in (piece for form in forms_of(secret) if form not in public for piece in _cut(form)):
                self._pieces.add(piece)
                if len(piece) < PIECE:
                    self._learn_length(piece[:_LEAST], len(piece))

    def _learn_length(self, start: str, length: int) -> None:
        known = self._short.get(start, ())
        if length not in known:
            self._short[start] = tuple(sorted((*known, length), reverse=True))

    def replaced(self, text: str, by: str) -> str:
        """Return the text with `by` in the place of whatever was found, at once for pieces that touch."""
        kept, at = [], 0
        for start, end in self._found(text):
            kept += [text[at:start], by]
            at = end
        return "".join((*kept, text[at:]))

    def _found(self, text: str) -> list[tuple[int, int]]:
        """Return from where to where there are pieces; those that touch or overlap are one."""
        spans: list[tuple[int, int]] = []
        for start in range(len(text) - _LEAST + 1) if self._pieces else ():
            if not start % _UNCHECKED:
                seconds_left()
            length = self._length_at(text, start)
            if length and spans and start <= spans[-1][1]:
                spans[-1] = spans[-1][0], max(spans[-1][1], start + length)
            elif length:
                spans.append((start, start + length))
        return spans

    def _length_at(self, text: str, start: int) -> int:
        """Return how long the longest piece is that begins there, 0 where none does."""
        if text[start : start + PIECE] in self._pieces:
            return PIECE  # or less at the end of the text, which is as far as it goes
        lengths = self._short.get(text[start : start + _LEAST])
        return next((each for each in lengths or () if text[start : start + each] in self._pieces), 0)


def forms_of(secret: bytes) -> Iterator[str]:
    """Yield how a secret may be written: itself, in JSON, in an address, without line breaks, its lines, in base64."""
    if len(secret) < _LEAST:
        return
    for encode in (b64encode, urlsafe_b64encode):
        yield encode(secret).decode().rstrip("=")
    yield secret.hex()
    text = _decoded(secret)
    if text is None:
        return
    yield from {form for form in _written(text.strip()) if len(form) >= _LEAST}
    if "-----" in text:
        yield from (line for line in text.split() if len(line) >= _LEAST_LINE and not line.startswith("-----"))


def _written(text: str) -> Iterator[str]:
    """Yield a text as it is, without line breaks, in JSON, and in an address."""
    yield from (text, "".join(text.split()), quote(text, safe=""))
    yield from (json.dumps(text, ensure_ascii=is_ascii)[1:-1] for is_ascii in (True, False))


def _decoded(secret: bytes) -> str | None:
    try:
        return secret.decode()
    except UnicodeDecodeError:
        return None


def _cut(form: str) -> Iterator[str]:
    """Yield the pieces; the last one overlaps the one before, so that each is whole."""
    for at in range(0, len(form), PIECE):
        start = max(0, min(at, len(form) - PIECE))
        yield form[start : start + PIECE]
