"""Shows how far a probe is, and hands its report to whoever asked: a person, a program, CI or Prometheus."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from mailtls.cli.errors import ExitCode
from mailtls.cli.output.exports import junit_report, prometheus_report
from mailtls.cli.output.machine import json_report
from mailtls.cli.output.text import text_report
from mailtls.cli.results import Survey, Verdict
from mailtls.cli.survey import Callbacks
from mailtls.probe.target import Endpoint

_STANDARD_OUTPUT: Final = Path("-")
_PLAIN_WIDTH: Final = 120  # columns in a file or a pipe, where nobody says
_READABLE: Final = 0o644  # the collector of Prometheus runs as another user


@dataclass(frozen=True, slots=True)
class Output:
    """Where the reports go, and how talkative they are."""

    json: bool = False
    junit: Path | None = None
    prometheus: Path | None = None
    strict: bool = False
    quiet: bool = False
    color: bool = True

    def __post_init__(self) -> None:
        """Refuse two reports in one stream, which nobody could take apart; raises ValueError."""
        there = [self.json, self.junit == _STANDARD_OUTPUT, self.prometheus == _STANDARD_OUTPUT]
        if sum(there) > 1:
            raise ValueError("Only one of --json, --junit - and --prometheus - can have standard output: name a file.")


@contextmanager
def progress(output: Output) -> Iterator[Callbacks]:
    """Show what is being done on a terminal; say nothing anywhere else."""
    console = Console(stderr=True, no_color=not output.color, markup=False, highlight=False)
    if output.quiet or not console.is_terminal:
        yield Callbacks()
        return
    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        task = bar.add_task("", total=None)

        def done(_endpoint: Endpoint) -> None:
            bar.advance(task)

        yield Callbacks(
            doing=lambda phrase: bar.update(task, description=phrase),
            begin=lambda total: bar.update(task, total=total, completed=0),
            done=done,
        )


def deliver(survey: Survey, output: Output) -> ExitCode:
    """Write all reports that were asked for; raises OSError, with a sentence, for what cannot be written."""
    if output.junit:
        _write(output.junit, junit_report(survey))
    if output.prometheus:
        _write(output.prometheus, prometheus_report(survey))
    with _standard_output():
        if output.json:
            typer.echo(json_report(survey, strict=output.strict), nl=False)
        elif _STANDARD_OUTPUT not in {output.prometheus, output.junit}:
            _show(survey, output)
    return survey.exit_code(strict=output.strict)


@contextmanager
def _standard_output() -> Iterator[None]:
    """Say what is wrong with the stream; afterwards nothing is left that Python would try to write at its end."""
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OSError(f"Standard output cannot be written ({error.strerror}).") from None


def _show(survey: Survey, output: Output) -> None:
    if output.quiet and survey.verdict is Verdict.OK:
        return
    console = Console(no_color=not output.color, markup=False, highlight=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _PLAIN_WIDTH
    console.print(text_report(survey, quiet=output.quiet))


def _write(file: Path, content: bytes) -> None:
    """Replace the file at once: a collector must never read half of it."""
    if file == _STANDARD_OUTPUT:
        with _standard_output():
            sys.stdout.buffer.write(content)
        return
    try:
        if file.exists() and not file.is_file():  # a pipe or /dev/stderr
            file.write_bytes(content)
            return
        handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    except OSError as error:
        raise OSError(f"{file} cannot be written ({error.strerror}).") from None
    beside = Path(name)
    try:
        with os.fdopen(handle, "wb") as opened:
            opened.write(content)
        beside.chmod(_READABLE)
        beside.replace(file)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        raise OSError(f"{file} cannot be written ({error.strerror}).") from None
