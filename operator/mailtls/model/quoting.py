"""Text of strangers, made safe to print and cut to a readable length."""

from collections.abc import Iterable

QUOTE_LIMIT = 200  # characters; a message of a condition stays readable, and Kubernetes caps events at 1024


def quote(data: bytes) -> str:
    r"""Text that is safe in logs, terminals and JSON: printable ASCII stays, all else becomes \xNN."""
    data = data.rstrip(b"\r\n")
    if data.isascii() and (text := data.decode()).isprintable():
        return shorten(text)
    return shorten("".join(chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}" for byte in data[:QUOTE_LIMIT]))  # noqa: PLR2004


def quote_all(texts: Iterable[str]) -> str:
    """Quote several texts, and cut them all to `QUOTE_LIMIT` characters."""
    return shorten("; ".join(quote(text.encode()) for text in texts))


def shorten(text: str, limit: int = QUOTE_LIMIT) -> str:
    """Cut a text to `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
