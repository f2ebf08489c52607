"""What `mailtls explain` prints: the words behind a reason, for a terminal."""

from collections.abc import Iterable, Iterator
from textwrap import fill
from typing import Final

from mailtls.model.explanations.explanation import EXPLANATIONS, SECTIONS
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


def found(words: str) -> str | None:
    """List the reasons whose explanations hold all of the words, those that users see first; None when none does."""
    wanted = words.lower().split()
    by_symptom = [each for each in Reason if _holds(EXPLANATIONS[each].symptoms, wanted)]
    others = [each for each in Reason if each not in by_symptom and _holds(_all_words(EXPLANATIONS[each]), wanted)]
    if not wanted or not by_symptom + others:
        return None
    return "\n".join(line for reason in by_symptom + others for line in _entry(reason)) + "\n"


def _holds(text: str, wanted: Iterable[str]) -> bool:
    return all(word in text.lower() for word in wanted)


def _all_words(known: Explanation) -> str:
    return f"{known.symptoms} {known.meaning}"


def _entry(reason: Reason) -> tuple[str, str]:
    return f"{_INDENT}{reason}", _filled(EXPLANATIONS[reason].meaning, _INDENT * 3)


def _parts(reason: Reason, known: Explanation) -> Iterator[str]:
    yield from (str(reason), "", _paragraph(known.meaning))
    if known.symptom:
        yield from ("", "What users see:", _paragraph(known.symptom))
    if known.mailbox_symptom:
        yield from ("", "At ports for mail programs (IMAP, POP3, submission):", _paragraph(known.mailbox_symptom))
    yield from ("", "What to do:", _paragraph(known.fix))
    for server, fix in known.fixes.items():
        yield from ("", f"With {server}:", _paragraph(fix))
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
            yield from _entry(reason)


def _filled(text: str, indent: str) -> str:
    """Break lines between words only: what is split at a hyphen cannot be copied."""
    return fill(text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
