"""Finds in a text what the Secrets of a cluster hold, in one pass, however many Secrets there are.

A form in which a secret may be written is cut into pieces of 32 characters, and each piece is searched for by itself.
So a part of a long secret is found too, and the work at one place of a text is bounded: one comparison for each length
that a piece can have at most, and with nearly all texts a single one.
"""

from base64 import b64encode, urlsafe_b64encode
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

from mailtls.net.effects import seconds_left

PIECE: Final = 32  # characters
_LEAST: Final = 6  # characters; shorter ones are also parts of words, so that they would be found everywhere
_LEAST_LINE: Final = 16


class KnownSecrets:
    """All forms of these secrets but the public ones; raises TimeoutError when a deadline passes meanwhile."""

    def __init__(self, secrets: Iterable[bytes], public: Iterable[str] = ()) -> None:
        public = frozenset(public)
        self._pieces: set[str] = set()
        lengths: defaultdict[str, set[int]] = defaultdict(set)
        for secret in secrets:
            seconds_left()
            for piece in (piece for form in forms_of(secret) if form not in public for piece in _cut(form)):
                self._pieces.add(piece)
                lengths[piece[:_LEAST]].add(len(piece))
        self._lengths = {start: sorted(found, reverse=True) for start, found in lengths.items()}

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
            lengths = self._lengths.get(text[start : start + _LEAST], ())
            length = next((each for each in lengths if text[start : start + each] in self._pieces), 0)
            if length and spans and start <= spans[-1][1]:
                spans[-1] = spans[-1][0], max(spans[-1][1], start + length)
            elif length:
                spans.append((start, start + length))
        return spans


def forms_of(secret: bytes) -> Iterator[str]:
    """Yield how a secret may be written: itself, each of its lines, all of it without line breaks, and in base64."""
    if len(secret) < _LEAST:
        return
    for encode in (b64encode, urlsafe_b64encode):
        yield encode(secret).decode().rstrip("=")
    yield secret.hex()
    text = _decoded(secret)
    if text is None:
        return
    yield from (form for form in (text.strip(), "".join(text.split())) if len(form) >= _LEAST)
    if "-----" in text:
        yield from (line for line in text.split() if len(line) >= _LEAST_LINE and not line.startswith("-----"))


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
