"""What all pages have in common: head, skip link, times, badges and bars; and the pages that say why there is none."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from mailtls.api.resource_view import ResourceView
from mailtls.api.status import ConditionType, Truth
from mailtls.page.markup import Content, Markup, join, tag
from mailtls.page.style import POLICY, SHEET
from mailtls.reasons.reason import Reason
from mailtls.times import format_minute, format_rfc3339

HTML: Final = "text/html; charset=utf-8"
JSON: Final = "application/json"
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with no-referrer a browser says not even to us where a form comes from
    "Cache-Control": "no-store",
    "Vary": "Authorization, Cookie",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
DAY: Final = timedelta(days=1)
_OUTLOOKS: Final = {ConditionType.RECONCILING: "goes on by itself", ConditionType.STALLED: "a person has to act"}
_SHORT: Final = timedelta(days=2)
_USUAL_LIFE: Final = timedelta(days=90)
_STALE: Final = timedelta(minutes=10)
_ORIGIN: Final = "Read-only. What is shown here is what the operator wrote into the status of each MailServerTLS."
_ICON: Final = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Crect width='16' height='16' "
    "rx='4' fill='%230a58a8'/%3E%3Cpath d='M3 5l5 4 5-4v7H3z' fill='%23fff'/%3E%3C/svg%3E"
)


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads: `name` is how the API server knows them, empty on their own machine; and what they may do."""

    name: str = ""
    can_sign_out: bool = False


@dataclass(frozen=True, slots=True)
class Board:
    """What is to be shown at this moment; `heard_at` is when the API server last said something, None: just now."""

    now: datetime
    heard_at: datetime | None = None
    reader: Reader = field(default_factory=Reader)


@dataclass(frozen=True, slots=True)
class Page:
    """One response."""

    status: int
    body: str
    content_type: str = HTML
    headers: Mapping[str, str] = field(default_factory=lambda: HEADERS)


def document(title: str, main: Markup, board: Board, root: str = "./") -> str:
    """Put a page's content into its frame; `root` leads from this page to the list."""
    head = tag(
        "head",
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        tag("meta", name="robots", content="noindex"),
        tag("title", f"{title} · mailtls"),
        Markup(f'<link rel="icon" href="{_ICON}">'),
        Markup(f"<style>{SHEET}</style>"),
    )
    body = tag(
        "body",
        tag("div", tag("a", "Skip to the content", class_="skip", href="#main")),
        tag("header", tag("p", tag("b", "mailtls"), " status"), _about(board, root)),
        tag("main", main, id="main"),
        tag(
            "footer", "Read-only. What is shown here is what the operator wrote into the status of each MailServerTLS."
        ),
    )
    return f"<!doctype html>{tag('html', head, body, lang='en')}"


def _about(board: Board, root: str) -> Markup:
    heard = board.heard_at or board.now
    late = board.now - heard > _STALE
    as_of = join(["As of ", moment(heard)])
    shown = tag("b", "The API server is silent. ", as_of, class_="bad") if late else as_of
    reader = join([" · ", board.reader.name]) if board.reader.name else None
    return tag("p", shown, reader, _sign_out(board, root))


def _sign_out(board: Board, root: str) -> Markup | None:
    if not board.reader.can_sign_out:
        return None
    return join([" · ", tag("a", "Sign out", href=f"{root}logout")])


def moment(at: datetime | None) -> Markup:
    """Write a moment for people and for programs; a dash where there is none."""
    return tag("time", format_minute(at), datetime=format_rfc3339(at)) if at else Markup("–")


def day(at: datetime | None) -> Markup:
    """Write the day of a moment."""
    return tag("time", f"{at:%Y-%m-%d}", datetime=format_rfc3339(at)) if at else Markup("–")


def small(*inside: Content) -> Markup:
    """Write what is of less weight, on a line of its own."""
    return tag("div", *inside, class_="small")


def badge(kind: str, words: Content) -> Markup:
    """Write a state: its sign and its words say what the colour says."""
    return tag("span", f"{SIGNS[kind]} ", words, class_=f"badge {kind}")


SIGNS: Final[Mapping[str, str]] = {"good": "✓", "warn": "!", "bad": "✕", "calm": "…"}


def kind_of(view: ResourceView) -> str:
    """How a resource is: `good`, `bad`, or `calm` while it is on its way, suspended or not yet looked at."""
    ready = view.status.condition(ConditionType.READY)
    if view.is_suspended or ready is None or ready.status is Truth.UNKNOWN:
        return "calm"
    return "good" if ready.status is Truth.TRUE else "bad"


def state(view: ResourceView) -> Markup:
    """Write whether a resource is Ready."""
    kind = kind_of(view)
    words = {"good": "Ready", "bad": "Not ready"}.get(kind, "Suspended" if view.is_suspended else "Pending")
    return badge(kind, words)


def reason_of(view: ResourceView) -> str:
    """Return the reason to read beside the state; empty where that says all."""
    ready = view.status.condition(ConditionType.READY)
    known = ready.reason if ready else None
    return "" if known in {None, Reason.READY, Reason.SUSPENDED} else str(known)


def outlook(view: ResourceView) -> str:
    """Say what becomes of a resource that is not Ready; empty where nothing is known of it."""
    found = (each.type for each in view.status.conditions if each.status is Truth.TRUE)
    return next((_OUTLOOKS[each] for each in found if each in _OUTLOOKS), "")


def time_left(until: datetime, now: datetime) -> str:
    """Write how long a certificate is still valid: in days, in hours where days are too coarse."""
    left = until - now
    if left <= timedelta():
        past = int(-left / DAY)
        return f"expired {_counted(past, 'day')} ago" if past else "expired"
    if left < _SHORT:
        return f"{_counted(int(left.total_seconds() // 3600), 'hour')} left"
    return f"{_counted(int(left / DAY), 'day')} left"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def expiry(view: ResourceView, now: datetime) -> Markup:
    """Write how long the stored certificate lasts, as words and as a bar with a mark where it is renewed."""
    until = view.expires_at
    if until is None:
        return tag("span", "No certificate yet", class_="muted")
    begins = view.certificate.not_before if view.certificate else None
    life = max(until - begins, timedelta(hours=1)) if begins else _USUAL_LIFE
    mark = (until - view.renews_at) / life if view.renews_at else None
    kind = urgency(until, now, view.renews_at)
    words = tag("b", f"{SIGNS[kind]} " if kind != "good" else None, time_left(until, now), class_=f"num {kind}")
    return join([words, _bar(kind, (until - now) / life, mark), small("until ", day(until))])


def urgency(until: datetime, now: datetime, renews_at: datetime | None = None) -> str:
    """Return `bad` in the last tenth of the time behind the renewal, or past the end; `warn` once renewal is late."""
    left = until - now
    if left <= timedelta():
        return "bad"
    if renews_at is None or now < renews_at + timedelta(hours=1):
        return "good" if renews_at is not None or left > _SHORT else "warn"
    return "warn" if left > (until - renews_at) / 2 else "bad"


def _bar(kind: str, share: float, mark: float | None) -> Markup:
    """Draw by attributes of SVG: the policy forbids styles in elements."""
    width = round(100 * min(max(share, 0.0), 1.0), 1)
    left = tag("rect", class_="left", width=f"{width}%", height="100%")
    tick = None
    if mark is not None and 0 < mark < 1:
        tick = tag("rect", class_="mark", x=f"{round(100 * mark, 1)}%", width="3", height="100%")
    return tag("svg", left, tick, class_=f"bar {kind}", aria_hidden="true")


def notice(status: int, title: str, words: Content, board: Board, root: str = "./") -> Page:
    """Make a page that says why there is nothing to see."""
    return Page(status, document(title, join([tag("h1", title), tag("section", tag("p", words))]), board, root))
