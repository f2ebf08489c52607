"""The documentation's site in a real browser: nothing is wider than the window of a telephone."""

import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
from playwright.sync_api import TimeoutError as TooLate

from docsite.__main__ import build
from functional.browser import CHROMIUM, browser
from testbed.layout import project_folder

PAGES = (
    "",
    "how-to/troubleshooting/",
    "reference/rbac/",
    "reference/reasons/",
    "reference/reasons/CertificateExpired/",
)
TOO_WIDE = """() => {
  const edge = document.documentElement.clientWidth, bad = [];
  if (document.documentElement.scrollWidth > edge) bad.push("the page is wider than the window");
  for (const each of document.querySelectorAll("article *")) {
    const box = each.getBoundingClientRect();
    if (each.closest("pre, .md-typeset__scrollwrap") || !box.width) continue;  // these scroll by themselves
    if (box.right > edge + 1) bad.push(`${each.outerHTML.slice(0, 90)} sticks out`);
  }
  return bad;
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the site."""
    folder = tmp_path_factory.mktemp("site")
    build(project_folder(), folder, "dev")
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/dev/"
        server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and says nothing of it."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is missing: the site was not seen in a browser")
def test_site_fits_a_telephone(site: str) -> None:
    """Tables and code scroll in their own boxes; an address from when all reasons were one page leads to its row."""
    with browser() as started:
        tab = started.new_page()
        tab.set_default_timeout(60_000)
        faults = []
        for page in PAGES:
            tab.goto(site + page)
            for width in (360, 1280):
                tab.set_viewport_size({"width": width, "height": 900})
                with suppress(TooLate):  # the theme puts tables into their boxes once its script runs
                    tab.wait_for_function(f"() => !({TOO_WIDE})().length")
                faults += [f"{page} at {width}: {each}" for each in tab.evaluate(TOO_WIDE)]
        assert faults == []
        tab.goto(f"{site}reference/reasons/#certificateexpired")
        assert tab.evaluate("document.querySelector(':target').closest('tr').innerText").startswith(
            "CertificateExpired"
        )
