"""Spans of what is done, for an administrator who collects traces; where nobody does, nothing happens at all.

Nothing here knows who collects them: `collect_by` is given what makes spans, once, before any work begins. Attributes
say what was done and how it ended. Of what strangers wrote only names and reasons are in them, quoted and cut short;
keys, tokens, headers, commands and bodies never are, as no caller has a place for them.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final, Protocol, Self

from mailtls.reasons.quoting import printable, shorten

Value = str | int | float | bool | Sequence[str] | None
LONGEST: Final = 200
"""Characters of a text in an attribute."""
MOST_LISTED: Final = 20


class Span(Protocol):
    """Something that is under way."""

    def note(self, **attributes: Value) -> None:
        """Add attributes; None is left out."""


class Spans(Protocol):
    """Makes spans; safe for threads, and none of it may raise or wait."""

    def span(self, name: str, attributes: dict[str, Value]) -> AbstractContextManager[Span]:
        """Begin one within the one of this thread, if any; an exception that passes through is noted by its type."""

    def note(self, attributes: dict[str, Value]) -> None:
        """Add attributes to the span of this thread, if any."""

    def is_under_way(self) -> bool:
        """Whether this thread has a span."""


class _Nothing:
    """The span where nobody collects."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        pass

    def note(self, **attributes: Value) -> None:
        """Forget them."""


_NOTHING: Final = _Nothing()
_collector: Spans | None = None


def collect_by(spans: Spans | None) -> None:
    """Have spans made by this from now on; None: by nobody."""
    global _collector  # noqa: PLW0603 - set once, as logging is configured
    _collector = spans


def span(name: str, **attributes: Value) -> AbstractContextManager[Span]:
    """Begin one within that of this thread, as in `with tracing.span("probe", endpoints=6) as probed:`."""
    return _NOTHING if _collector is None else _collector.span(name, attributes)


def detail(name: str, **attributes: Value) -> AbstractContextManager[Span]:
    """Do the same, but only within another: what no reconcile does, such as the renewal of the lease, has no trace."""
    return _NOTHING if _collector is None or not _collector.is_under_way() else _collector.span(name, attributes)


def note(**attributes: Value) -> None:
    """Add attributes to the innermost span of this thread."""
    if _collector is not None:
        _collector.note(attributes)


def presentable(value: Value) -> str | int | float | bool | list[str]:
    """Make a value fit for a trace: quoted, cut short, and nothing at all of a private key."""
    if isinstance(value, str):
        return "(withheld)" if "PRIVATE KEY" in value else shorten(printable(value[: 2 * LONGEST]), LONGEST)
    if isinstance(value, bool | int | float):
        return value
    return [str(presentable(str(each))) for each in list(value or ())[:MOST_LISTED]]
