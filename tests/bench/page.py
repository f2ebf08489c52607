"""How long a page of the status page takes, of processor time, where there are thousands of mail servers."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING, Final

from bench.figures import Chapter, Figure
from builders import pages
from mailtls.page import site
from mailtls.page.frame import Board

if TYPE_CHECKING:
    from mailtls.api.resource_view import ResourceView

MANY: Final = 2000
ROUNDS: Final = 15
TARGET: Final = 100.0  # ms
_PAGES: Final = {
    "the list": ("/", ""),
    "a search in it": ("/", "q=mx-001&state=good&order=expiry"),
    "the list as JSON": ("/", "format=json"),
    "one mail server with 12 ports": ("/mail/mx1", ""),
}


def chapters() -> list[Chapter]:
    """Measure each kind of page, in this process."""
    views = pages.views([*pages.many_as_json(MANY - 1), pages.troubled_as_json()])
    figures = (_figure(name, path, query, views) for name, (path, query) in _PAGES.items())
    return [Chapter(f"the status page of {MANY:,} mail servers", tuple(figures))]


def _figure(name: str, path: str, query: str, views: tuple[ResourceView, ...]) -> Figure:
    wanted, board = site.address(path, query), Board(pages.NOW)
    if wanted is None:
        raise AssertionError(path)
    took = []
    for _ in range(ROUNDS):
        began = time.process_time()
        site.page(wanted, views, board)
        took.append((time.process_time() - began) * 1000)
    return Figure(name, median(took), "ms", target=TARGET)
