"""One mail server: what each stage says and what to do about it, what every port of every pod serves, and the past."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final

from mailtls.api.resource_view import EndpointLine, ResourceView
from mailtls.api.status import Condition, ConditionType, DomainReport, Truth
from mailtls.page.frame import (
    SIGNS,
    Board,
    badge,
    document,
    expiry,
    moment,
    outlook,
    reason_of,
    small,
    state,
    time_left,
)
from mailtls.page.markup import Content, Markup, camel, join, tag
from mailtls.reasons.explanations import EXPLANATIONS
from mailtls.reasons.quoting import shorten
from mailtls.reasons.reason import Reason, Severity

MOST_ENDPOINTS: Final = 100
MOST_LINES: Final = 50
_STAGES: Final = {
    ConditionType.ISSUED: "Certificate issued",
    ConditionType.STORED: "Stored in its Secret",
    ConditionType.ROLLED_OUT: "Rolled out to the pods",
    ConditionType.VERIFIED: "Served by every port",
    ConditionType.DOMAIN_HEALTHY: "Mail domains healthy",
}
_FREE: Final = frozenset({"What happened", "Serial number"})
_KINDS: Final = {Truth.TRUE: "good", Truth.FALSE: "bad", Truth.UNKNOWN: "calm"}
_RESULTS: Final = {"OK": "good", "Warn": "warn", "Fail": "bad"}


def as_html(view: ResourceView, board: Board) -> str:
    """Write the whole of one resource."""
    first = tag("div", _stages(view), _certificate(view, board), class_="two")
    parts = (_head(view), first, _served(view, board), _findings(view), _rollout(view), _domains(view))
    title = f"{view.key.name} in {view.key.namespace}"
    return document(title, join([*parts, _history(view), _commands(view)]), board, root="../")


def _head(view: ResourceView) -> Markup:
    back = tag("nav", tag("p", tag("a", "← All mail servers", href="../")), aria_label="Up")
    title = tag("h1", view.host or view.key.name)
    why = " · ".join(filter(None, (reason_of(view), outlook(view))))
    top = tag("div", title, state(view), " ", tag("span", camel(why), class_="muted") if why else None, class_="top")
    where = tag("p", f"MailServerTLS {view.key.name} in namespace {view.key.namespace}", class_="muted")
    return join([back, top, where])


def _section(title: str, *inside: Content) -> Markup:
    return tag("section", tag("h2", title), *inside)


def _certificate(view: ResourceView, board: Board) -> Markup:
    known = view.certificate
    rows: list[tuple[str, Content]] = [
        ("Valid until", moment(view.expires_at) if view.expires_at else None),
        ("Renews", moment(view.renews_at) if view.renews_at else None),
        ("Names", join(view.names[:MOST_LINES], ", ")),
        ("Secret", tag("code", view.secret_name) if view.secret_name else None),
        ("Issuer", known.issuer if known else None),
        ("Serial number", tag("code", known.serial_number) if known and known.serial_number else None),
        ("SHA-256", tag("code", known.sha256) if known and known.sha256 else None),
        ("Valid from", moment(known.not_before) if known and known.not_before else None),
    ]
    facts = (join([tag("dt", name), tag("dd", value)]) for name, value in rows if value)
    return _section("Certificate", expiry(view, board.now), tag("dl", *facts, class_="facts"))


def _stages(view: ResourceView) -> Markup:
    shown = [_stage(view, found, title) for kind, title in _STAGES.items() if (found := view.status.condition(kind))]
    if not shown:
        return _section("Stages", tag("p", "The operator has not reported anything yet."))
    return _section("Stages", tag("ol", *shown, class_="stages"), _attempts(view))


def _stage(view: ResourceView, condition: Condition, title: str) -> Markup:
    kind = _KINDS[condition.status]
    if condition.status is Truth.TRUE and condition.warnings:
        kind = "warn"
    words = {"good": "yes", "warn": "yes, with warnings", "bad": "no", "calm": "not yet"}[kind]
    head = tag("h3", title, tag("span", f": {words}", class_=kind))
    since = small(f"{condition.reason}, since ", moment(condition.transitioned_at))
    help_ = _help(view, condition.reason) if condition.status is Truth.FALSE else None
    sign = tag("span", SIGNS[kind], class_=f"sign {kind}", aria_hidden="true")
    return tag("li", sign, tag("div", head, since, tag("p", condition.message), help_))


def _help(view: ResourceView, reason: Reason) -> Markup:
    known = EXPLANATIONS[reason]
    said = (
        ("What it means: ", known.meaning),
        ("What users see: ", known.symptom),
        ("At ports for mail programs: ", known.mailbox_symptom),
        ("What to do: ", known.fix),
        ("Rules: ", known.rfc),
    )
    lines = (tag("p", tag("b", label), words) for label, words in said if words)
    return tag("div", *lines, _more(view.page_of(reason)), class_="help")


def _more(page: str) -> Markup | None:
    """Link to the page of a reason, where the installation says where it serves them."""
    link = tag("a", page, href=page, rel="noreferrer") if page.startswith(("https://", "http://")) else None
    return tag("p", tag("b", "More: "), link) if link else None


def _attempts(view: ResourceView) -> Markup | None:
    attempts = view.status.attempts
    if attempts is None:
        return None
    upcoming = attempts.next_attempt_at
    when = join(["Next attempt: ", moment(upcoming)]) if upcoming else "No further attempt before the resource changes."
    words = tag("p", tag("b", f"{attempts.failed} failed. "), when)
    return tag("div", words, tag("p", f"{attempts.reason}: {attempts.message}"), class_="help")


def _served(view: ResourceView, board: Board) -> Markup:
    shown = view.endpoints[:MOST_ENDPOINTS]
    title = f"What the pods serve: {shorten(view.served)}" if view.served else "What the pods serve"
    if not shown:
        return _section(title, tag("p", "No port was probed yet."))
    ports = sorted({each.port for each in shown})
    heads = (tag("th", f"Port {port}", scope="col", role="columnheader") for port in ports)
    head = tag("tr", tag("th", "Pod", scope="col", role="columnheader"), *heads, role="row")
    rows = (_pod(view, server, list(of_pod), ports, board) for server, of_pod in groupby(_sorted(shown), _server))
    body = tag("tbody", *rows, role="rowgroup")
    grid = tag("table", tag("thead", head, role="rowgroup"), body, class_="grid", role="table", aria_label=title)
    total = view.served_count.total if view.served_count else len(view.endpoints)
    some = f"The status names {len(shown)} of {total} ports." if total > len(shown) else None
    # tabindex: who has no mouse scrolls a wide table by keys
    scroll = tag("div", grid, class_="scroll", role="region", aria_label=title, tabindex="0")
    return _section(title, scroll, tag("p", some, class_="muted") if some else None)


def _server(endpoint: EndpointLine) -> tuple[str, str]:
    return endpoint.server, endpoint.address


def _sorted(endpoints: Iterable[EndpointLine]) -> list[EndpointLine]:
    return sorted(endpoints, key=lambda each: (each.server, each.address, each.port))


def _pod(
    view: ResourceView, server: tuple[str, str], endpoints: list[EndpointLine], ports: list[int], board: Board
) -> Markup:
    by_port = {each.port: each for each in endpoints}
    name, address = server
    head = tag("th", name, small(address) if address else None, scope="row", role="rowheader")
    cells = (_cell(view, by_port[port], board) if port in by_port else tag("td", role="cell") for port in ports)
    return tag("tr", head, *cells, role="row")


def _cell(view: ResourceView, endpoint: EndpointLine, board: Board) -> Markup:
    kind = _RESULTS.get(endpoint.result, "calm")
    words = endpoint.reason if kind in {"bad", "warn"} and endpoint.reason else endpoint.result or "Unknown"
    stored = view.certificate.sha256 if view.certificate else ""
    other = "another certificate" if stored and endpoint.sha256 and endpoint.sha256 != stored else None
    until = time_left(endpoint.not_after, board.now) if endpoint.not_after else None
    facts = (endpoint.tls_version.replace("TLSv", "TLS "), until, other)
    lines = (small(fact) for fact in facts if fact)
    head = tag("b", f"{SIGNS[kind]} ", camel(words))
    return tag("td", head, *lines, class_=f"cell {kind}", role="cell", data_title=str(endpoint.port))


def _findings(view: ResourceView) -> Markup | None:
    """Write each thing that was found once, with all ports that it was found at."""
    found = [each for each in view.endpoints[:MOST_ENDPOINTS] if each.reason]
    found.sort(key=lambda each: (each.result != "Fail", each.reason, each.message))
    groups = [list(same) for _, same in groupby(found, lambda each: (each.result, each.reason, each.message))]
    explained = {each.reason for each in view.status.conditions if each.status is Truth.FALSE}
    return _section("What was found", *(_finding(view, same, explained) for same in groups)) if groups else None


def _finding(view: ResourceView, same: list[EndpointLine], explained: set[Reason]) -> Markup:
    first = same[0]
    where = ", ".join(f"{each.server}:{each.port}" for each in same)
    known = next((each for each in Reason if each == first.reason and each not in explained), None)
    head = tag("h3", badge(_RESULTS.get(first.result, "calm"), first.reason))
    return tag(
        "div", head, small(where), tag("p", first.message), _help(view, known) if known else None, class_="found"
    )


def _rollout(view: ResourceView) -> Markup | None:
    rollout = view.status.rollout
    if rollout is None or not rollout.workloads:
        return None
    rows = [
        (each.workload, str(each.pods), str(each.proven), str(each.in_flight), str(each.waiting))
        for each in rollout.workloads[:MOST_LINES]
    ]
    waits = join(
        [
            f"Waiting: {rollout.waiting_for}",
            join([", until ", moment(rollout.waiting_until)]) if rollout.waiting_until else None,
        ]
    )
    columns = ("Workload", "Pods", "Proven", "In flight", "Waiting")
    return _section("Rollout", _table("Rollout", columns, rows), tag("p", waits) if rollout.waiting_for else None)


def _domains(view: ResourceView) -> Markup | None:
    reports = view.status.domains[:MOST_LINES]
    return _section("Mail domains", *(_domain(view, each) for each in reports)) if reports else None


def _domain(view: ResourceView, report: DomainReport) -> Markup:
    kinds = [("bad" if each.severity is Severity.FAIL else "warn", each) for each in report.findings[:MOST_LINES]]
    lines = (
        tag("li", badge(kind, each.reason), tag("p", each.message), _help(view, each.reason)) for kind, each in kinds
    )
    found = tag("ul", *lines, class_="plain") if kinds else tag("p", badge("good", "Nothing found"))
    return tag("div", tag("h3", report.name), small("checked ", moment(report.checked_at)), found, class_="found")


def _history(view: ResourceView) -> Markup | None:
    rows = [
        (
            moment(each.at),
            tag("b", each.event),
            each.message,
            tag("code", each.serial_number) if each.serial_number else "–",
        )
        for each in reversed(view.status.history[-MOST_LINES:])
    ]
    columns = ("Time", "Event", "What happened", "Serial number")
    return _section("History", _table("History", columns, rows)) if rows else None


def _table(label: str, columns: Iterable[str], rows: Iterable[tuple[Content, ...]]) -> Markup:
    titles = tuple(columns)
    head = tag("tr", *(tag("th", each, scope="col", role="columnheader") for each in titles), role="row")
    body = (tag("tr", *_cells(titles, row), role="row") for row in rows)
    return tag(
        "table",
        tag("thead", head, role="rowgroup"),
        tag("tbody", *body, role="rowgroup"),
        class_="wide",
        role="table",
        aria_label=label,
    )


def _cells(titles: tuple[str, ...], row: tuple[Content, ...]) -> Iterator[Markup]:
    yield tag("th", row[0], scope="row", role="rowheader")
    for title, cell in zip(titles[1:], row[1:], strict=True):
        yield tag("td", cell, data_title=title, role="cell", class_="free" if title in _FREE else None)


def _commands(view: ResourceView) -> Markup:
    place = f"{view.key.name} -n {view.key.namespace}"
    shown = [f"kubectl mailtls status {place}", f"kubectl mailtls probe-now {place} --wait"]
    shown += [] if view.is_external else [f"kubectl mailtls renew {place} --wait"]
    lines = (tag("li", tag("code", each)) for each in shown)
    json = tag("p", tag("a", "This page as JSON", href="?format=json"))
    return _section("On the command line", tag("ul", *lines, class_="plain"), json)
