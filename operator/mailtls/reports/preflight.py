"""What `mailtls preflight` prints: a line for each thing that was looked at, with its fix."""

from collections.abc import Iterable
from textwrap import wrap
from typing import Final

from mailtls.model.preflight import Line
from mailtls.model.survey import Verdict
from mailtls.reports.advice import explanation
from mailtls.reports.words import safe

_WIDTH: Final = 110
_TOPIC: Final = 10
_MARKS: Final = {Verdict.UNKNOWN: "????"}


def preflight_line(line: Line) -> str:
    """Write one line, wrapped under its beginning; faults end in the reason, and what to do about it."""
    mark = _MARKS.get(line.verdict, line.verdict.upper())
    head = f"{mark:<5}{line.topic:<{_TOPIC}} "
    said = [f"{line.message}{f' ({line.reason})' if line.reason else ''}"]
    if line.verdict is Verdict.FAIL and line.reason:
        said.append(f"Fix: {explanation(line.reason).fix}")
    room, margin = _WIDTH - len(head), " " * len(head)
    lines = [part for text in said for part in wrap(safe(text), room, break_on_hyphens=False)]
    return head + f"\n{margin}".join(lines)


def preflight_summary(lines: Iterable[Line]) -> str:
    """Count what was found."""
    verdicts = [line.verdict for line in lines]
    words = ((Verdict.OK, "good"), (Verdict.WARN, "doubtful"), (Verdict.FAIL, "failing"), (Verdict.UNKNOWN, "not seen"))
    return ", ".join(f"{verdicts.count(each)} {word}" for each, word in words if each in verdicts) + "."
