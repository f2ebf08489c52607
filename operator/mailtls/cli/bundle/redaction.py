"""Removes keys, tokens and passwords from text of any origin, before it goes into a bundle.

Two nets, one behind the other. What a Secret of the cluster holds is known, and removed wherever it appears: as it is,
line by line, and in base64. What nobody knows is judged by its form: private keys in PEM, what a word such as
`password` announces, and runs of characters that are no words. Names, numbers, times, UUIDs and image digests stay.

The work grows with the length of the text alone: tenants write many of these texts, and choose what their Secrets hold.
"""

import re
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, Final

from mailtls.cli.bundle.known import KnownSecrets
from mailtls.net.effects import seconds_left
from mailtls.reasons.quoting import shorten
from mailtls.reasons.reason import Reason

REMOVED: Final = "(removed)"
LONGEST_TEXT: Final = 4000  # characters of one value
_LEAST_RUN: Final = 16
_LONGEST_WORDS: Final = 300
_LONGEST_KEY: Final = 20_000  # characters between the lines that begin and end a private key
_KEY_MARK: Final = re.compile(r"-----(BEGIN|END) [A-Z0-9 ]*PRIVATE KEY-----")
_JWT: Final = re.compile(r"(?<![\w-])eyJ[\w-]++\.[\w-]++(?:\.[\w-]*+)?")
_USER: Final = re.compile(r"://[^/\s@\"']+@")
_SCHEME: Final = re.compile(
    r"\b(bearer|negotiate)(\s+)[^\s\"',;]+|\b(basic|digest)(\s+)(?=\S*[\d=])[^\s\"',;]+", re.IGNORECASE
)
_WORDS: Final = (
    r"passw(?:or)?d|passphrase|secret|token|credential|authorization|api[-_]?key|private[-_]?key|hmac|cookie"
)
_ANNOUNCED: Final = re.compile(
    rf"""((?:{_WORDS})[\w.-]{{0,64}})(\\?["']?\s*[:=]\s*\\?["']?|\s+\\?")([^\s"',;{{}}[\]&\\]+)""", re.IGNORECASE
)
_SECRET_KEY: Final = re.compile(rf"(?:{_WORDS})", re.IGNORECASE)
_HARMLESS_KEY: Final = re.compile(
    r"(?:name|ref|kind|type|algorithm|policy|mounts?|paths?|count|total|at|time)s?$", re.IGNORECASE
)
_RUN: Final = re.compile(rf"[A-Za-z0-9+/_=-]{{{_LEAST_RUN},}}")
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DIGEST: Final = re.compile(r"(?<=sha256:)[0-9a-f]{64}(?![0-9A-Za-z])")
# As names of objects, fields, suites and reasons are made: lower case with a short random tail, CAPITALS, CamelCase.
_WORD: Final = re.compile(
    r"[a-z0-9]{0,12}|[a-z]+\d{0,4}|[A-Z]+\d{0,4}|\d{1,20}"
    r"|[a-z]*(?:[A-Z]{1,5}[a-z]{3,}|At|By|For|In|Is|Of|On|To|Up|Set|Pod|Map|Job|Key|Max|Min|Log|ID|IP|URL|DNS|TLS|SHA)++"
    r"[A-Z]{0,3}\d{0,4}"
)
_SEPARATORS: Final = re.compile(r"[/_=-]+")


class Redactor:
    """Redacts text. `known` are secrets as bytes; `public` are texts that stay although they look like secrets.

    Raises TimeoutError once a deadline has passed: a text that is not redacted is nobody's to have.
    """

    def __init__(self, known: Iterable[bytes] = (), public: Iterable[str] = ()) -> None:
        self._public = frozenset((*public, *map(str, Reason)))
        self._secrets = known

    @cached_property
    def _known(self) -> KnownSecrets:
        return KnownSecrets(self._secrets, self._public)

    def text(self, text: str) -> str:
        """Return a text of any length without what must not leave the cluster."""
        for net in self._nets:
            seconds_left()
            text = net(text)
        return text

    @cached_property
    def _nets(self) -> tuple[Callable[[str], str], ...]:
        """What a text goes through, one after the other."""
        return (
            lambda text: self._known.replaced(text, REMOVED),
            without_keys,
            lambda text: _JWT.sub(REMOVED, text),
            lambda text: _USER.sub(f"://{REMOVED}@", text),
            lambda text: _SCHEME.sub(lambda found: f"{found[1] or found[2]} {REMOVED}", text),
            lambda text: _ANNOUNCED.sub(self._announced, text),
            lambda text: _RUN.sub(self._run, text),
        )

    def value(self, value: Any) -> Any:
        """Return JSON with all its texts redacted, keys of objects included."""
        if isinstance(value, str):
            return shorten(self.text(value), LONGEST_TEXT)
        if isinstance(value, dict):
            return {self.text(str(key)): self._under(str(key), each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(each) for each in value]
        return value

    def _under(self, key: str, value: Any) -> Any:
        if isinstance(value, str) and value and value not in self._public and _is_secret_key(key):
            return REMOVED
        return self.value(value)

    def _announced(self, found: re.Match[str]) -> str:
        key, between, value = found.groups()
        if value in self._public or not _is_secret_key(key) or REMOVED.startswith(value):
            return found[0]
        return f"{key}{between}{REMOVED}"

    def _run(self, found: re.Match[str]) -> str:
        run = found[0]
        if run.strip("/=") in self._public or _UUID.fullmatch(run) or _is_digest(found):
            return run
        return run if _is_words(run) else REMOVED


def without_keys(text: str) -> str:
    """Replace private keys in PEM: up to the next line that ends one where it is near, else the rest of the line."""
    marks = list(_KEY_MARK.finditer(text))
    ends = [each for each in reversed(marks) if each[1] == "END"]
    kept, at = [], 0
    for begin in (each for each in marks if each[1] == "BEGIN"):
        if begin.start() < at:
            continue
        while ends and ends[-1].start() < begin.end():
            ends.pop()
        kept += [text[at : begin.start()], "(removed: a private key)"]
        is_closed = bool(ends) and ends[-1].start() - begin.end() <= _LONGEST_KEY
        at = ends[-1].end() if is_closed else _end_of_line(text, begin.end())
    return "".join((*kept, text[at:]))


def _end_of_line(text: str, start: int) -> int:
    found = text.find("\n", start)
    return len(text) if found < 0 else found


def _is_secret_key(key: str) -> bool:
    return bool(_SECRET_KEY.search(key)) and not _HARMLESS_KEY.search(key)


def _is_digest(found: re.Match[str]) -> bool:
    return bool(_DIGEST.match(found.string, found.start()))


def _is_words(run: str) -> bool:
    """Whether it is made of words and short tails; `+`, and `=` at the end, are found in base64 alone."""
    if len(run) > _LONGEST_WORDS or "+" in run or run.endswith("="):
        return False
    return all(map(_WORD.fullmatch, _SEPARATORS.split(run)))
