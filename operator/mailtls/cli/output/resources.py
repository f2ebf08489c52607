"""What `mailtls status` and `mailtls rollout` print: a table of all resources, one with its whole story, or JSON."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from textwrap import wrap
from typing import Final

from mailtls.api.resource_view import EndpointLine, ResourceView
from mailtls.api.status import OUTLOOK, Condition, ConditionType, DomainReport, Truth
from mailtls.cli.output.words import safe
from mailtls.reasons.reason import Reason, Severity
from mailtls.rollout.permission import SHORTEST_APPROVAL
from mailtls.times import format_minute

_COLUMNS: Final = ("NAME", "READY", "REASON", "HOST", "EXPIRES", "RENEWS", "SERVED", "AGE")
_UNITS: Final = (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("m", timedelta(minutes=1)))
_OUTLOOKS: Final = {ConditionType.RECONCILING: "it goes on by itself", ConditionType.STALLED: "a person has to act"}
_REASONS: Final = frozenset(map(str, Reason))
_WIDTH: Final = 80
_NARROWEST: Final = 30
_LEAST_NEEDED: Final = ("AGE", "RENEWS", "HOST", "ADDRESS", "TLS", "SERVES UNTIL", "SERVED", "EXPIRES")


def resource_table(
    views: Sequence[ResourceView], now: datetime, *, with_namespace: bool = False, width: int | None = None
) -> str:
    """List resources as `kubectl get mst` does, then say of each that is not ready what stands in its way.

    `width` is the terminal's, None for no terminal: columns that do not fit are left out, the least needed first.
    """
    rows = [_row(view, now) for view in views]
    columns: tuple[str, ...] = _COLUMNS
    if with_namespace:
        rows = [(view.key.namespace, *row) for view, row in zip(views, rows, strict=True)]
        columns = ("NAMESPACE", *_COLUMNS)
    lines = [*fitted([columns, *rows], width), *(line for view in views for line in _obstacle(view, width))]
    return "\n".join(lines) + "\n"


def resource_story(view: ResourceView, now: datetime, width: int | None = None) -> str:
    """Write all of one resource: conditions, servers by port, mail domains, attempts and history."""
    parts = [
        fitted([_COLUMNS, _row(view, now)], width),
        _conditions(view, width),
        _endpoints(view.endpoints, width),
        _domains(view.status.domains, width),
        _history(view, width),
        _pages(view, width),
    ]
    return "\n\n".join(text for part in parts if (text := "\n".join(part))) + "\n"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align columns by spaces, as kubectl does."""
    shown = [[safe(cell) or "-" for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in shown) for column in range(len(shown[0]))]
    padded = ("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in shown)
    return [line.rstrip() for line in padded]


def fitted(rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """Align columns within a width: those that a reader needs least are left out first, then the rest is cut off."""
    shown = table(rows)
    for column in _LEAST_NEEDED:
        if width is None or max(map(len, shown)) <= width:
            return shown
        place = rows[0].index(column) if column in rows[0] else None
        if place is not None:
            rows = [(*row[:place], *row[place + 1 :]) for row in rows]
            shown = table(rows)
    return [line if width is None or len(line) <= width else f"{line[: width - 3]}..." for line in shown]


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


def _obstacle(view: ResourceView, width: int | None) -> Iterator[str]:
    obstacle = view.obstacle
    if view.is_ready or obstacle is None:
        return
    yield ""
    yield from _line(f"{view.key}: {obstacle.type} is {obstacle.status} ({obstacle.reason})", width)
    yield from _paragraph(obstacle.message, width)
    yield _address(view.page_of(obstacle.reason))


def _conditions(view: ResourceView, width: int | None) -> Iterable[str]:
    for condition in view.status.conditions:
        mark = {Truth.TRUE: "+", Truth.FALSE: "!"}.get(condition.status, "?")
        said = f"{condition.reason}, since {_day(condition.transitioned_at)} UTC"
        if condition.type in OUTLOOK:  # the message is that of Ready
            yield from _line(f"! {condition.type:<13} {said}: {_OUTLOOKS[condition.type]}", width)
            continue
        yield from _line(f"{mark} {condition.type:<13} {said}", width)
        yield from _paragraph(condition.message, width)
    attempts = view.status.attempts
    if attempts:
        upcoming = attempts.next_attempt_at
        when = f"next attempt at {_day(upcoming)} UTC" if upcoming else "a person is needed before the next attempt"
        yield from _line(f"! {attempts.failed} failed, {when}", width)
        yield from _paragraph(f"{attempts.reason}: {attempts.message}", width)


def _endpoints(endpoints: Iterable[EndpointLine], width: int | None) -> list[str]:
    rows = [
        (each.server, each.address, str(each.port), each.result, each.reason, each.tls_version, _day(each.not_after))
        for each in endpoints
    ]
    columns = ("SERVER", "ADDRESS", "PORT", "RESULT", "REASON", "TLS", "SERVES UNTIL")
    messages = [f"{each.server}:{each.port}: {each.message}" for each in endpoints if each.message]
    explained = (line for text in messages for line in _paragraph(text, width))
    return [*fitted([columns, *rows], width), *explained] if rows else []


def _domains(reports: Iterable[DomainReport], width: int | None) -> Iterator[str]:
    for report in reports:
        nothing = "" if report.findings else ": nothing found"
        yield from _line(f"{safe(report.name)}, looked at {_day(report.checked_at)} UTC{nothing}", width)
        for finding in report.findings:
            yield f"  {'!' if finding.severity is Severity.FAIL else '?'} {finding.reason}"
            yield from _paragraph(finding.message, width)


def _history(view: ResourceView, width: int | None) -> Iterable[str]:
    if view.status.history:
        yield "History"
    for entry in view.status.history:
        yield from _line(f"  {_day(entry.at)}  {entry.event}: {safe(entry.message)}", width)


def _pages(view: ResourceView, width: int | None) -> Iterator[str]:
    """Name the page of each reason that is not fine; an address is not wrapped, so that it can be opened."""
    found = dict.fromkeys(_faults(view))
    if found:
        yield from _line("What this means and what to do, as mailtls explain REASON prints it", width)
        yield from map(_address, map(view.page_of, found))


def _address(page: str) -> str:
    return f"    {safe(page)}"


def _faults(view: ResourceView) -> Iterator[Reason]:
    yield from (each.reason for each in view.status.conditions if each.status is Truth.FALSE)
    if view.status.attempts:
        yield view.status.attempts.reason
    yield from (Reason(each.reason) for each in view.endpoints if each.reason in _REASONS)
    yield from (finding.reason for report in view.status.domains for finding in report.findings)


def _line(text: str, width: int | None) -> list[str]:
    if width is None or len(text) <= width:
        return [text]
    return wrap(text, max(width, _NARROWEST), subsequent_indent="    ", break_on_hyphens=False)


def _paragraph(text: str, width: int | None) -> list[str]:
    indent, room = "    ", max(_NARROWEST, min(_WIDTH, width or _WIDTH))
    return wrap(safe(text), room, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


_ROLLOUT_COLUMNS: Final = ("WORKLOAD", "PODS", "VERIFIED", "IN FLIGHT", "WAITING")


def is_done(view: ResourceView) -> bool:
    """Whether every pod has the certificate."""
    said = _rolled_out(view)
    return said is not None and said.status is Truth.TRUE


def rollout_story(view: ResourceView) -> str:
    """List the pods of each workload in numbers, then say what the rollout waits for, and until when."""
    rollout = view.status.rollout
    rows = [
        (each.workload, str(each.pods), str(each.proven), str(each.in_flight), str(each.waiting))
        for each in (rollout.workloads if rollout is not None else ())
    ]
    lines = [*table([_ROLLOUT_COLUMNS, *rows]), ""] if rows else []
    return "\n".join([*lines, *_words(view)]) + "\n"


def _words(view: ResourceView) -> Iterator[str]:
    said, rollout = _rolled_out(view), view.status.rollout
    if view.is_suspended:
        yield "The resource is suspended: nothing is rolled out until spec.suspend is false."
    if said is None:
        yield "The operator has not reported anything yet."
    else:
        yield f"RolledOut is {said.status} ({said.reason}): {safe(said.message)}"
    if rollout is not None and rollout.waiting_until is not None:
        yield f"It goes on by itself at {format_minute(rollout.waiting_until)}."
    if view.is_paused and (said is None or said.reason is not Reason.ROLLOUT_PAUSED):
        yield "Rollouts are paused: the next certificate will wait until mailtls rollout resume."


def to_approve(view: ResourceView, fingerprint: str | None) -> str:
    """Return the SHA-256 of the certificate to approve; raises ValueError where there is none, or it is another one."""
    stored, said = view.status.stored, _rolled_out(view)
    if stored is None:
        raise ValueError(f"{view.key} has no certificate yet.")
    if fingerprint is None:
        if said is None or said.reason is not Reason.WAITING_FOR_APPROVAL:
            raise ValueError(
                f"{view.key} waits for no approval; to approve its certificate all the same, write how its fingerprint "
                f"begins: {stored.sha256}"
            )
        return stored.sha256
    given = fingerprint.replace(":", "").strip().lower()
    if len(given) < SHORTEST_APPROVAL or not stored.sha256.startswith(given):
        raise ValueError(
            f"The certificate of {view.key} is another one, or fewer than {SHORTEST_APPROVAL} digits are given; it is "
            f"{stored.sha256}"
        )
    return stored.sha256


def _rolled_out(view: ResourceView) -> Condition | None:
    return view.status.condition(ConditionType.ROLLED_OUT)
