"""The list of all mail servers: what is wrong comes first, and a page holds as many as a person reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qs, quote, urlencode

from mailtls.api.resource_json import resource_as_json
from mailtls.api.resource_view import ResourceView
from mailtls.page.frame import Board, day, document, expiry, kind_of, outlook, reason_of, small, state, urgency
from mailtls.page.markup import Markup, camel, join, tag
from mailtls.reasons.quoting import shorten
from mailtls.times import format_rfc3339

ROWS: Final = 50
_LONGEST_COUNT: Final = 12
_LONGEST_WORD: Final = 253
_MOST_FIELDS: Final = 10
_STATES: Final = {"": "All", "bad": "Not ready", "calm": "On their way", "good": "Ready"}
_ORDERS: Final = {"": "Trouble first", "expiry": "First to expire", "name": "Name"}
_RANK: Final = {"bad": 0, "warn": 1, "calm": 1, "good": 2}
_NEVER: Final = datetime(9999, 12, 31, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Search:
    """What of the list is wanted; `namespace` empty: all of them."""

    words: str = ""
    namespace: str = ""
    state: str = ""
    order: str = ""
    page: int = 1

    @classmethod
    def of(cls, query: str) -> "Search":
        """Read a query string; what makes no sense counts as not written."""
        try:
            given = parse_qs(query, max_num_fields=_MOST_FIELDS)
        except ValueError:
            given = {}
        said = {name: values[-1][:_LONGEST_WORD].strip() for name, values in given.items()}
        state, order, page = said.get("state", ""), said.get("order", ""), said.get("page", "")
        return cls(
            words=said.get("q", ""),
            namespace=said.get("namespace", ""),
            state=state if state in _STATES else "",
            order=order if order in _ORDERS else "",
            page=max(1, int(page)) if page.isascii() and page.isdigit() and len(page) < 7 else 1,  # noqa: PLR2004
        )

    def link(self, **other: str | int) -> str:
        """Return the address of this list with some of it changed; a changed filter begins at its first page."""
        fields = {"q": self.words, "namespace": self.namespace, "state": self.state, "order": self.order}
        shown = {name: value for name, value in (fields | other).items() if value not in {"", 1}}
        return f"?{urlencode(shown)}" if shown else "./"


@dataclass(frozen=True, slots=True)
class Found:
    """One page of what was found; `matching` counts by state what the words and the namespace leave."""

    rows: Sequence[ResourceView]
    total: int
    page: int
    pages: int
    matching: dict[str, int]


def find(views: Sequence[ResourceView], search: Search, now: datetime) -> Found:
    """Filter, sort and cut."""
    words = search.words.casefold().split()
    of_place = (each for each in views if search.namespace in {"", each.key.namespace})
    named = [(kind_of(each), each) for each in of_place if _holds(each, words)]
    chosen = [(kind, each) for kind, each in named if search.state in {"", kind}]
    if search.order != "name":  # they come by namespace and name
        by_kind = search.order != "expiry"
        chosen.sort(key=lambda pair: (_rank(pair[0], pair[1], now) if by_kind else 0, pair[1].expires_at or _NEVER))
    pages = max(1, -(-len(chosen) // ROWS))
    page = min(search.page, pages)
    rows = [each for _, each in chosen[(page - 1) * ROWS : page * ROWS]]
    counts = dict.fromkeys(_STATES, 0) | {"": len(named)}
    for kind, _ in named:
        counts[kind] += 1
    return Found(rows, len(chosen), page, pages, counts)


def _rank(kind: str, view: ResourceView, now: datetime) -> int:
    """Say how much it is worth a look: one that is Ready may have a certificate that ends soon."""
    ends = urgency(view.expires_at, now, view.renews_at) if view.expires_at else "good"
    return min(_RANK[kind], _RANK[ends])


def _holds(view: ResourceView, words: Sequence[str]) -> bool:
    if not words:
        return True
    text = f"{view.key.namespace} {view.key.name} {' '.join(view.names)} {reason_of(view)}".casefold()
    return all(word in text for word in words)


def as_html(views: Sequence[ResourceView], search: Search, board: Board) -> str:
    """Write the list."""
    found = find(views, search, board.now)
    main = join(
        [
            tag("h1", "Mail servers"),
            _counts(found, search),
            _form(search),
            _table(found, search, board) if found.rows else _nothing(search),
            _pages(found, search),
        ]
    )
    return document("Mail servers", main, board)


def as_json(views: Sequence[ResourceView], search: Search, board: Board) -> dict[str, Any]:
    """Return the same page for programs."""
    found = find(views, search, board.now)
    return {
        "asOf": format_rfc3339(board.heard_at or board.now),
        "total": found.total,
        "page": found.page,
        "pages": found.pages,
        "resources": [resource_as_json(each) for each in found.rows],
    }


def _counts(found: Found, search: Search) -> Markup:
    links = (
        tag(
            "li",
            tag(
                "a",
                tag("b", f"{found.matching[state]:,}", class_=state if state and found.matching[state] else None),
                f" {words}",
                href=search.link(state=state),
                aria_current="true" if search.state == state else None,
            ),
        )
        for state, words in _STATES.items()
    )
    return tag("ul", *links, class_="counts", aria_label="How many, by state")


def _form(search: Search) -> Markup:
    fields = (
        _field("q", "Name, host or reason", search.words),
        _field("namespace", "Namespace", search.namespace),
        tag("div", tag("label", "Order", for_="order"), _orders(search.order)),
        tag("input", type="hidden", name="state", value=search.state) if search.state else None,
        tag("div", tag("button", "Show", type="submit")),
    )
    return tag("form", *fields, method="get", action="./", role="search")


def namespace_form(root: str) -> Markup:
    """Ask for the namespace whose list is wanted."""
    button = tag("div", tag("button", "Show", type="submit"))
    return tag("form", _field("namespace", "Namespace", ""), button, method="get", action=root)


def _field(name: str, label: str, value: str) -> Markup:
    field = tag("input", type="search", id=name, name=name, value=value, autocomplete="off", spellcheck="false")
    return tag("div", tag("label", label, for_=name), field)


def _orders(chosen: str) -> Markup:
    options = (tag("option", words, value=order, selected=order == chosen) for order, words in _ORDERS.items())
    return tag("select", *options, id="order", name="order")


_COLUMNS: Final = ("Mail server", "State", "Certificate", "Renews", "Served")


def _table(found: Found, search: Search, board: Board) -> Markup:
    heads = (tag("th", each, scope="col", role="columnheader") for each in _COLUMNS)
    head = tag("thead", tag("tr", *heads, role="row"), role="rowgroup")
    body = tag("tbody", *(_row(view, board) for view in found.rows), role="rowgroup")
    first = (found.page - 1) * ROWS + 1
    said = f"{first:,} to {first + len(found.rows) - 1:,} of {found.total:,}, {_ORDERS[search.order].lower()}"
    # Roles, because a table that is laid out as blocks on a narrow screen is none to a screen reader.
    shown = tag("table", head, body, class_="wide servers", role="table", aria_label="Mail servers")
    return tag("section", shown, tag("p", said, class_="small"))


def address(view: ResourceView) -> str:
    """Return where a resource's page is, from the list's own."""
    return f"{quote(view.key.namespace, safe='')}/{quote(view.key.name, safe='')}"


def _row(view: ResourceView, board: Board) -> Markup:
    name = tag("a", view.key.name, href=address(view))
    who = join([name, small(f"{view.host or 'no name'} · {view.key.namespace}")])
    why = reason_of(view)
    cells = (
        ("State", join([state(view), *(small(camel(each)) for each in (why, outlook(view)) if each)]), "bare"),
        ("Certificate", expiry(view, board.now), "bare"),
        ("Renews", day(view.renews_at), "num"),
        ("Served", shorten(view.served, _LONGEST_COUNT) or "–", "num"),
    )
    shown = (tag("td", inside, data_title=title, class_=kind, role="cell") for title, inside, kind in cells)
    return tag("tr", tag("th", who, scope="row", role="rowheader"), *shown, role="row")


def _nothing(search: Search) -> Markup:
    if search == Search():
        return tag("section", tag("p", "There is no MailServerTLS yet."))
    return tag("section", tag("p", "None matches. ", tag("a", "Show all", href="./"), "."))


def _pages(found: Found, search: Search) -> Markup:
    earlier = tag("a", "← Previous", href=search.link(page=found.page - 1), rel="prev") if found.page > 1 else None
    later = tag("a", "Next →", href=search.link(page=found.page + 1), rel="next") if found.page < found.pages else None
    which = tag("span", f"Page {found.page} of {found.pages}", class_="muted") if found.pages > 1 else None
    json = tag("a", "This page as JSON", href=_with_json(search.link(page=found.page)))
    shown = join((each for each in (earlier, which, later, json) if each is not None), " ")
    return tag("nav", tag("p", shown), class_="pages", aria_label="Pages")


def _with_json(link: str) -> str:
    return f"{link}&format=json" if link.startswith("?") else "?format=json"
