"""How far a long build is, by the source that is compiled: a bar on a terminal, elsewhere a line every ten seconds."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Self

from testbed import console

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_BAR = 30  # characters
_LINE_EVERY, _DRAWN_EVERY = 10.0, 0.5  # seconds
# Before this share is done an estimate would be a guess.
_TELLING = 0.05


class Progress:
    """Parts of different weight, of which some are worked on at a time; it knows no clock."""

    def __init__(self, weights: Mapping[str, float], at_a_time: int) -> None:
        """Start with nothing done; `at_a_time` parts that began last count as not done yet."""
        self._weights = dict(weights)
        self._begun: list[str] = []
        self._at_a_time = at_a_time

    @property
    def total(self) -> int:
        """How many parts there are."""
        return len(self._weights)

    @property
    def done(self) -> int:
        """How many are done."""
        return max(0, len(self._begun) - self._at_a_time)

    @property
    def share(self) -> float:
        """How much of the weight is done, from 0 to 1."""
        whole = sum(self._weights.values())
        return sum(self._weights[name] for name in self._begun[: self.done]) / whole if whole else 1.0

    def begin(self, name: str) -> None:
        """Say that a part is begun; what is no part, or was begun before, changes nothing."""
        if name in self._weights and name not in self._begun:
            self._begun.append(name)

    def remaining(self, elapsed: float) -> float | None:
        """How many seconds are left if the rest goes as what is done went; None while that says too little."""
        return elapsed * (1 - self.share) / self.share if self.share >= _TELLING else None


def describe(progress: Progress, elapsed: float, noun: str) -> str:
    """One line: `1200 of 3154 packages, 45%, about 3 min left`."""
    left = progress.remaining(elapsed)
    if left is None:
        estimate = "too early for an estimate"
    else:
        estimate = f"about {left / 60:.0f} min left" if left >= 90 else f"about {left:.0f} s left"
    return f"{progress.done} of {progress.total} {noun}, {progress.share:.0%}, {estimate}"


class Display:
    """Shows how far something is while it goes on: `with Display(...) as display`, and `show` as often as you like."""

    def __init__(self, title: str, line: Callable[[float], str], progress: Progress | None = None) -> None:
        """`line` says it in words, after so many seconds; with a Progress a terminal gets a bar too."""
        self._title, self._line, self._progress = title, line, progress
        self._began_at = self._shown_at = time.monotonic()

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bar away."""
        console.draw("")

    def show(self) -> None:
        """Show it, unless it was shown just now."""
        now, on_terminal = time.monotonic(), sys.stderr.isatty()
        if now - self._shown_at < (_DRAWN_EVERY if on_terminal else _LINE_EVERY):
            return
        self._shown_at = now
        line = f"{self._title}: {self._line(now - self._began_at)}"
        if on_terminal:
            console.draw(f"{self._bar()}{line}")
        else:
            console.say(line)

    def _bar(self) -> str:
        if self._progress is None:
            return ""
        full = round(_BAR * self._progress.share)
        return f"[{'#' * full}{'.' * (_BAR - full)}] "
