"""A real browser, as Debian ships it, and what must hold of every page that it shows."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM: Final = shutil.which("chromium")
WIDTHS: Final = (360, 768, 1280)
_SWITCHES: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_CUT_OFF: Final = """() => {
  const bad = [], edge = document.documentElement.clientWidth + 1;
  if (document.documentElement.scrollWidth > edge) bad.push("the page is wider than the window");
  for (const each of document.querySelectorAll("main *, header *, footer *")) {
    const box = each.getBoundingClientRect(), style = getComputedStyle(each);
    if (each.closest(".scroll, thead, svg, option") || !box.width) continue;
    if (box.right > edge || box.left < -1) bad.push(`${each.outerHTML.slice(0, 90)} sticks out`);
    if (style.overflow !== "visible" && each.scrollWidth > each.clientWidth + 1 && each.tagName !== "INPUT")
      bad.push(`${each.outerHTML.slice(0, 90)} is cut off`);
  }
  return bad;
}"""
_CROWDED: Final = """() => {
  const cells = [...document.querySelectorAll("th, td")].filter(each => each.getBoundingClientRect().right > 0);
  return cells.filter(each => each.scrollWidth > each.clientWidth + 1).map(each => each.outerHTML.slice(0, 90));
}"""


@contextmanager
def browser() -> Iterator[Browser]:
    """Start it, without a window and without a word to anybody."""
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=list(_SWITCHES))
        yield started
        started.close()


class Visit:
    """A tab that notes what a page must not do: log an error (a breach of its policy is one), or open a dialog."""

    def __init__(self, started: Browser, *, ignore_https_errors: bool = False) -> None:
        self.complaints: list[str] = []
        self.tab: Page = started.new_page(ignore_https_errors=ignore_https_errors)
        self.tab.set_default_timeout(60_000)
        self.tab.on("console", lambda message: self.complaints.append(message.text))
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.on("dialog", lambda dialog: self.complaints.append(dialog.message))

    def faults(self) -> list[str]:
        """What is wrong with the page in any of the widths, in light and dark."""
        found = list(self.complaints)
        for width in WIDTHS:
            self.tab.set_viewport_size({"width": width, "height": 900})
            found += [f"{width}: {each}" for each in self.tab.evaluate(_CUT_OFF) + self.tab.evaluate(_CROWDED)]
        return found

    def background(self, scheme: str) -> str:
        """The colour behind a page for a reader who likes it `light` or `dark`."""
        self.tab.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        return str(self.tab.evaluate("getComputedStyle(document.body).backgroundColor"))
