"""Text of strangers, made safe to print and cut to a readable length."""

from collections.abc import Iterable

QUOTE_LIMIT = 200  # characters; a message of a condition stays readable, and Kubernetes caps events at 1024
_BYTE, _PLANE = 0x100, 0x10000


def quote(data: bytes) -> str:
    r"""Text that is safe in logs, terminals and JSON: printable ASCII stays, all else becomes \xNN."""
    data = data.rstrip(b"\r\n")
    if data.isascii() and (text := data.decode()).isprintable():
        return shorten(text)
    return shorten("".join(chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}" for byte in data[:QUOTE_LIMIT]))  # noqa: PLR2004


def printable(text: str) -> str:
    r"""Text of any language that is safe in conditions, logs and terminals.

    Letters stay. What steers a terminal, ends a line, turns the direction of writing or is not seen at all (controls,
    bidirectional marks, zero-width characters, lone surrogates) becomes \xNN, \uNNNN or \UNNNNNNNN.
    """
    return text if text.isprintable() else "".join(each if each.isprintable() else _escaped(each) for each in text)


def quote_all(texts: Iterable[str]) -> str:
    """Quote several texts, and cut them all to `QUOTE_LIMIT` characters."""
    return shorten("; ".join(quote(text.encode(errors="replace")) for text in texts))


def shorten(text: str, limit: int = QUOTE_LIMIT) -> str:
    """Cut a text to `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _escaped(character: str) -> str:
    code = ord(character)
    if code < _BYTE:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < _PLANE else f"\\U{code:08x}"
