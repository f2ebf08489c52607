"""What `mailtls explain` prints: the words behind a reason, for a terminal."""

from collections.abc import Iterator
from textwrap import fill
from typing import Final

from mailtls.model.explanation import EXPLANATIONS, SECTIONS
from mailtls.model.reason import Explanation, Reason

WIDTH: Final = 80
_INDENT: Final = "  "


def explained(word: str) -> str | None:
    """Explain the reason of that name, in any case; None when there is none."""
    reason = next((each for each in Reason if each.lower() == word.strip().lower()), None)
    return None if reason is None else "\n".join(_parts(reason, EXPLANATIONS[reason])) + "\n"


def listed() -> str:
    """List all reasons under the headings of docs/reasons.md, each with its meaning."""
    return "\n".join(_list()) + "\n"


def _parts(reason: Reason, known: Explanation) -> Iterator[str]:
    yield from (str(reason), "", _paragraph(known.meaning))
    if known.symptom:
        yield from ("", "What users see:", _paragraph(known.symptom))
    yield from ("", "What to do:", _paragraph(known.fix))
    for server, fix in known.fixes.items():
        yield from ("", f"With {server.capitalize()}:", _paragraph(fix))
    if known.rfc:
        yield from ("", f"Rules: {known.rfc}")
    if known.tlsrpt:
        yield from ("", f"Senders report it as {known.tlsrpt} (RFC 8460 section 4.3).")


def _paragraph(text: str) -> str:
    return _filled(text, _INDENT)


def _list() -> Iterator[str]:
    for number, (section, reasons) in enumerate(SECTIONS.items()):
        yield from ([""] if number else [])
        yield section
        for reason in reasons:
            yield f"{_INDENT}{reason}"
            yield _filled(EXPLANATIONS[reason].meaning, _INDENT * 3)


def _filled(text: str, indent: str) -> str:
    """Break lines between words only: what is split at a hyphen cannot be copied."""
    return fill(text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
