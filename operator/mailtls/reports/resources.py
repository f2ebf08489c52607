"""What `mailtls status` prints: all resources as a table, or one with its whole story."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from textwrap import wrap
from typing import Final

from mailtls.model.reason import Severity
from mailtls.model.resource_view import EndpointLine, ResourceView
from mailtls.model.status import ConditionType, DomainReport, Truth
from mailtls.reports.words import safe

_COLUMNS: Final = ("NAME", "READY", "REASON", "HOST", "EXPIRES", "RENEWS", "SERVED", "AGE")
_UNITS: Final = (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("m", timedelta(minutes=1)))
_WIDTH: Final = 80


def resource_table(views: Sequence[ResourceView], now: datetime, *, with_namespace: bool = False) -> str:
    """List resources as `kubectl get mst` does, then say of each that is not ready what stands in its way."""
    rows = [_row(view, now) for view in views]
    columns: tuple[str, ...] = _COLUMNS
    if with_namespace:
        rows = [(view.key.namespace, *row) for view, row in zip(views, rows, strict=True)]
        columns = ("NAMESPACE", *_COLUMNS)
    lines = [*table([columns, *rows]), *(line for view in views for line in _obstacle(view))]
    return "\n".join(lines) + "\n"


def resource_story(view: ResourceView, now: datetime) -> str:
    """Tell one resource's story: conditions, servers by port, mail domains, attempts and history."""
    parts = [
        table([_COLUMNS, _row(view, now)]),
        _conditions(view),
        _endpoints(view.endpoints),
        _domains(view.status.domains),
        _history(view),
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align columns by spaces, as kubectl does."""
    shown = [[safe(cell) or "-" for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in shown) for column in range(len(shown[0]))]
    padded = ("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in shown)
    return [line.rstrip() for line in padded]


def age(since: datetime | None, now: datetime) -> str:
    """Write how long ago something was: `5d`, `3h`, `2m`, `10s`."""
    if since is None:
        return ""
    passed = max(now - since, timedelta())
    for unit, length in _UNITS:
        if passed >= length:
            return f"{passed // length}{unit}"
    return f"{int(passed.total_seconds())}s"


def _row(view: ResourceView, now: datetime) -> tuple[str, ...]:
    ready = view.status.condition(ConditionType.READY)
    return (
        view.key.name,
        str(ready.status) if ready else "Unknown",
        str(ready.reason) if ready else "Pending",
        view.host,
        _day(view.expires_at),
        _day(view.renews_at),
        view.served,
        age(view.created_at, now),
    )


def _day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else ""


def _obstacle(view: ResourceView) -> Iterator[str]:
    obstacle = view.obstacle
    if view.is_ready or obstacle is None:
        return
    yield ""
    yield f"{view.key}: {obstacle.type} is {obstacle.status} ({obstacle.reason})"
    yield from _paragraph(obstacle.message)


def _conditions(view: ResourceView) -> Iterable[str]:
    for condition in view.status.conditions:
        mark = {Truth.TRUE: "+", Truth.FALSE: "!"}.get(condition.status, "?")
        yield f"{mark} {condition.type:<13} {condition.reason}, since {_day(condition.transitioned_at)} UTC"
        yield from _paragraph(condition.message)
    attempts = view.status.attempts
    if attempts:
        upcoming = attempts.next_attempt_at
        when = f"next attempt at {_day(upcoming)} UTC" if upcoming else "a person is needed before the next attempt"
        yield f"! {attempts.failed} failed, {when}"
        yield from _paragraph(f"{attempts.reason}: {attempts.message}")


def _endpoints(endpoints: Iterable[EndpointLine]) -> list[str]:
    rows = [
        (each.server, each.address, str(each.port), each.result, each.reason, each.tls_version, _day(each.not_after))
        for each in endpoints
    ]
    columns = ("SERVER", "ADDRESS", "PORT", "RESULT", "REASON", "TLS", "SERVES UNTIL")
    messages = [f"{each.server}:{each.port}: {each.message}" for each in endpoints if each.message]
    return [*table([columns, *rows]), *(line for text in messages for line in _paragraph(text))] if rows else []


def _domains(reports: Iterable[DomainReport]) -> Iterator[str]:
    for report in reports:
        nothing = "" if report.findings else ": nothing found"
        yield f"{safe(report.name)}, looked at {_day(report.checked_at)} UTC{nothing}"
        for finding in report.findings:
            yield f"  {'!' if finding.severity is Severity.FAIL else '?'} {finding.reason}"
            yield from _paragraph(finding.message)


def _history(view: ResourceView) -> Iterable[str]:
    if view.status.history:
        yield "History"
    for entry in view.status.history:
        yield f"  {_day(entry.at)}  {entry.event}: {safe(entry.message)}"


def _paragraph(text: str) -> list[str]:
    indent = "    "
    return wrap(safe(text), _WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
