"""From an HTTP request to a page and back, whoever serves it."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from aiohttp import web

from mailtls.net.http_server import Bounds, closing
from mailtls.page.frame import Page

METHODS: Final = frozenset({"GET", "HEAD"})
LONGEST_LINE: Final = 16_384  # octets: a token that names many groups is long
BOUNDS: Final = Bounds(connections=256, line=LONGEST_LINE, headers=64)


def response(page: Page, headers: Mapping[str, str] | None = None) -> web.Response:
    """Make the one response of a connection, so that nothing can be smuggled behind its request."""
    given = {**page.headers, "Content-Type": page.content_type, **(headers or {})}
    return closing(web.Response(status=page.status, body=page.body.encode(errors="replace"), headers=given))


def moved(place: str, headers: Mapping[str, str], page: Page) -> web.Response:
    """Lead elsewhere, after something was taken in."""
    found = response(page, {**headers, "Location": place})
    found.set_status(HTTPStatus.SEE_OTHER)
    return found


def split(request: web.BaseRequest) -> tuple[str, str]:
    """Return the path and the query of a request, neither decoded nor made shorter."""
    path, _, query = request.raw_path.partition("?")
    return path, query
