"""A hand-made ClientHello that offers broken ciphers, which today's OpenSSL no longer can (RFC 5246).

Only the server's choice is read: no handshake is finished with such a cipher.
"""

import os
import struct
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from mailtls.hostname import sni
from mailtls.probe.facts import Fault
from mailtls.probe.tls.handshake import RECORD_LIMIT, HandshakeFailed
from mailtls.reasons.quoting import quote

WEAK_SUITES: Final[Mapping[str, tuple[int, ...]]] = MappingProxyType(
    {
        "no encryption (NULL)": (0x0001, 0x0002, 0x003B, 0xC006, 0xC010),
        "export": (0x0003, 0x0006, 0x0008, 0x000E, 0x0011, 0x0014),
        "RC4": (0x0004, 0x0005, 0xC007, 0xC011),  # RFC 7465
        "DES": (0x0009, 0x000C, 0x000F, 0x0012, 0x0015),
        "3DES": (0x000A, 0x000D, 0x0010, 0x0013, 0x0016, 0xC008, 0xC012),
    }
)
# Suites that are fine, by the type of key of the certificate that a server needs for them.
OF_KEY_TYPE: Final[Mapping[str, tuple[int, ...]]] = MappingProxyType(
    {
        "RSA": (0xC030, 0xC02F, 0xCCA8, 0xC028, 0xC027, 0xC014, 0xC013),
        "ECDSA": (0xC02C, 0xC02B, 0xCCA9, 0xC024, 0xC023, 0xC00A, 0xC009),
    }
)
_FAMILIES: Final = MappingProxyType({**OF_KEY_TYPE, **WEAK_SUITES})
_ALERT, _HANDSHAKE, _CLIENT_HELLO, _SERVER_HELLO = 21, 22, 1, 2
_TLS_1_0, _TLS_1_2 = 0x0301, 0x0303
_HEADER: Final = 5  # octets of a record's header
_SESSION_ID_AT: Final = 38  # octets in a ServerHello before its session id: header, version, random
_SERVER_NAME, _GROUPS, _POINT_FORMATS, _SIGNATURES = 0, 10, 11, 13  # RFC 6066, RFC 8422, RFC 5246 section 7.4.1.4.1
_SIGNATURE_SCHEMES: Final = (0x0403, 0x0503, 0x0603, 0x0401, 0x0501, 0x0601, 0x0804, 0x0805, 0x0806, 0x0201, 0x0203)


def client_hello(families: Iterable[str], server_name: str) -> bytes:
    """Return the record that offers the suites of `families`, with the extensions of a client of TLS 1.2."""
    suites = _words([suite for family in families for suite in _FAMILIES[family]])
    name = sni(server_name)
    extensions = b"".join(
        (
            _extension(_SERVER_NAME, _sized(b"\0" + _sized(name))) if name else b"",  # RFC 6066 section 3
            _extension(_GROUPS, _sized(_words([29, 23, 24]))),
            _extension(_POINT_FORMATS, b"\1\0"),
            _extension(_SIGNATURES, _sized(_words(_SIGNATURE_SCHEMES))),
        )
    )
    body = struct.pack(">H", _TLS_1_2) + os.urandom(32) + b"\0" + _sized(suites) + b"\1\0" + _sized(extensions)
    message = struct.pack(">I", _CLIENT_HELLO << 24 | len(body)) + body
    return struct.pack(">BH", _HANDSHAKE, _TLS_1_0) + _sized(message)


def chosen_family(received: bytes, offered: Iterable[str] = WEAK_SUITES) -> str | None:
    """Return which of the families the server chose, None while more must come.

    Raises `HandshakeFailed` for a refusal.
    """
    if received[:1] and received[0] not in (_ALERT, _HANDSHAKE):
        raise HandshakeFailed(Fault.NOT_TLS, quote(received[:60]))
    if len(received) < _HEADER:
        return None
    length = int.from_bytes(received[3:_HEADER], "big")
    if received[0] == _ALERT or length > RECORD_LIMIT:
        raise HandshakeFailed(Fault.TLS_REFUSED, "the server took none of the weak ciphers")
    message = received[_HEADER:]
    if len(message) < min(length, _SESSION_ID_AT + 1 + 255 + 2):
        return None
    return _family(message, offered)


def _family(message: bytes, offered: Iterable[str]) -> str:
    """Read the suite out of a ServerHello (RFC 5246 section 7.4.1.3)."""
    if message[:1] == bytes([_SERVER_HELLO]) and len(message) > _SESSION_ID_AT:
        place = _SESSION_ID_AT + 1 + message[_SESSION_ID_AT]
        suite = int.from_bytes(message[place : place + 2], "big")
        for family in offered:
            if suite in _FAMILIES[family]:
                return family
    raise HandshakeFailed(Fault.TLS_REFUSED, "the server's answer is no choice among what was offered")


def _words(numbers: Iterable[int]) -> bytes:
    return b"".join(struct.pack(">H", number) for number in numbers)


def _sized(content: bytes) -> bytes:
    return struct.pack(">H", len(content)) + content


def _extension(kind: int, content: bytes) -> bytes:
    return struct.pack(">H", kind) + _sized(content)
