"""Figures, their targets, and the two forms in which people and programs read them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value; `target` is the most it may be, or the least where `more_is_better`, None: for the record.

    The bench fails where a target is missed that is binding.
    """

    name: str
    value: float
    unit: str
    target: float | None = None
    more_is_better: bool = False
    is_binding: bool = False

    @property
    def is_met(self) -> bool | None:
        """Whether the target is met, None when there is none."""
        if self.target is None:
            return None
        return self.value >= self.target if self.more_is_better else self.value <= self.target

    def as_json(self) -> dict[str, Any]:
        """The shape of build/bench.json, which is kept stable so that figures can be followed over time."""
        return {"name": self.name, "value": round(self.value, 4), "unit": self.unit, "target": self.target}


@dataclass(frozen=True, slots=True)
class Chapter:
    """Figures that were measured together."""

    title: str
    figures: tuple[Figure, ...]


def table(chapters: Iterable[Chapter]) -> Table:
    """Show every figure beside its target."""
    shown = Table("figure", "unit", title="mailtls, measured on this machine", title_style="bold")
    shown.columns[1].justify = "left"
    shown.add_column("measured", justify="right")
    shown.add_column("target", justify="right")
    shown.add_column("")
    for chapter in chapters:
        shown.add_section()
        shown.add_row(f"[bold]{chapter.title}[/bold]")
        for figure in chapter.figures:
            shown.add_row(
                f"  {figure.name}", figure.unit, _number(figure.value), _target(figure), _VERDICTS[figure.is_met]
            )
    return shown


def write(file: Path, chapters: Iterable[Chapter]) -> None:
    """Write all figures as one JSON list."""
    file.parent.mkdir(parents=True, exist_ok=True)
    told = [figure.as_json() for chapter in chapters for figure in chapter.figures]
    file.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def missed(chapters: Sequence[Chapter]) -> list[Figure]:
    """The figures that do not meet their target."""
    return [figure for chapter in chapters for figure in chapter.figures if figure.is_met is False]


_VERDICTS = {True: "[green]ok[/green]", False: "[bold red]MISS[/bold red]", None: ""}


def _target(figure: Figure) -> str:
    if figure.target is None:
        return ""
    return f"{'≥' if figure.more_is_better else '≤'} {_number(figure.target)}"


def _number(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else f"{value:.2f}"
