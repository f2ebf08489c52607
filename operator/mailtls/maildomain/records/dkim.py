"""DKIM key records (RFC 6376 section 3.6.1): the public keys that mail of the domain is signed with.

The syntax of lists of tags (section 3.2) is here, too: DMARC and TLSRPT write their records in it.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa

from mailtls.pki.loading import public_key

VERSION: Final = "DKIM1"
_ED25519_OCTETS: Final = 32  # RFC 8463 section 4.2
_WHITE: Final = " \t\r\n"
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_VERSION_WORD: Final = re.compile(rf"{VERSION}\b")


class TagsInvalid(ValueError):
    """A list of tags that cannot be read; the text says what is wrong, in a few words."""


class DkimInvalid(ValueError):
    """A record that verifies no signature; the text says what is wrong, in a few words."""


@dataclass(frozen=True, slots=True)
class DkimKey:
    """`kind` is rsa or ed25519; `bits` is 0 for a key that was revoked (an empty `p`).

    `is_testing` (t=y): receivers treat signed mail like unsigned mail.
    """

    kind: str
    bits: int
    is_testing: bool = False

    @property
    def is_revoked(self) -> bool:
        """Whether the domain took the key back."""
        return self.bits == 0


def parse_tags(text: str) -> dict[str, str]:
    """Read a list of tags in its order; raises `TagsInvalid`."""
    tags: dict[str, str] = {}
    parts = text.split(";")
    if not parts[-1].strip():
        parts.pop()
    for part in parts:
        written, equals, value = part.partition("=")
        name = written.strip(_WHITE)
        if not equals or _NAME.fullmatch(name) is None:
            raise TagsInvalid("its parts between semicolons are not all of the form name=value")
        if name in tags:
            raise TagsInvalid(f"it has the tag {name} twice")
        tags[name] = value.strip(_WHITE)
    return tags


def is_dkim_record(text: str) -> bool:
    """Whether a TXT record at a selector's name looks like a key."""
    parts = [part.partition("=") for part in text.split(";")]  # of strangers: a pattern over all took seconds
    first, equals, value = parts[0]
    is_version = first.strip() == "v" and bool(equals) and _VERSION_WORD.match(value.lstrip()) is not None
    return is_version or any(name.strip() == "p" and mark for name, mark, _ in parts)


def parse_dkim(text: str) -> DkimKey:
    """Read a key record; raises `DkimInvalid`."""
    try:
        tags = parse_tags(text)
    except TagsInvalid as invalid:
        raise DkimInvalid(str(invalid)) from None
    if "v" in tags and next(iter(tags.items())) != ("v", VERSION):
        raise DkimInvalid(f"v={VERSION} is not at its beginning")
    if "p" not in tags:
        raise DkimInvalid("it has no key (p=)")
    kind = tags.get("k", "rsa").lower()
    if kind not in {"rsa", "ed25519"}:
        raise DkimInvalid("its kind of key (k=) is neither rsa nor ed25519")
    return DkimKey(kind, _bits(kind, _decoded(tags["p"])), "y" in tags.get("t", "").split(":"))


def _decoded(value: str) -> bytes:
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError):
        raise DkimInvalid("its key (p=) is not base64; check for a lost character where the record was split") from None


def _bits(kind: str, key: bytes) -> int:
    if not key:
        return 0
    if kind == "ed25519":
        if len(key) != _ED25519_OCTETS:
            raise DkimInvalid(f"an ed25519 key has {_ED25519_OCTETS} octets, and this one has {len(key)}")
        return 256
    try:
        public = public_key(key)
    except Exception:  # noqa: BLE001 - cryptography has no common base for what may be wrong in a stranger's key
        raise DkimInvalid("its key (p=) cannot be read; check whether a part was cut off") from None
    if not isinstance(public, rsa.RSAPublicKey):
        raise DkimInvalid("its key (p=) is no RSA key, although k= says so")
    return public.key_size
