"""A real browser, as Debian ships it, and what must hold of every page that it shows."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from itertools import product
from typing import Final

from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM: Final = shutil.which("chromium")
WIDTHS: Final = (360, 768, 1280)
SCHEMES: Final = ("light", "dark")
WCAG_22_AA: Final = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")
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
_JUDGED: Final = """async rules => {
  const found = await axe.run(document, {runOnly: {type: "tag", values: rules}});
  if (!found.passes.length) throw new Error("axe has looked at nothing");
  return found.violations.flatMap(each => each.nodes.map(node => `${each.id}: ${node.html.slice(0, 120)}`));
}"""


@cache
def _axe() -> str:
    """The script of axe-core, which a package carries beside its own code."""
    return files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")


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

    def barriers(self) -> list[str]:
        """What axe-core finds that breaks WCAG 2.2 AA, in the narrowest and the widest window, in light and dark."""
        self.tab.evaluate(_axe())  # the page's own policy forbids scripts, so it is the debugger that brings this one
        found = list[str]()
        for width, scheme in product((WIDTHS[0], WIDTHS[-1]), SCHEMES):
            self.tab.set_viewport_size({"width": width, "height": 900})
            self._like(scheme)
            found += [f"{width} {scheme}: {each}" for each in self.tab.evaluate(_JUDGED, list(WCAG_22_AA))]
        return found

    def background(self, scheme: str) -> str:
        """The colour behind a page for a reader who likes it `light` or `dark`."""
        self._like(scheme)
        return str(self.tab.evaluate("getComputedStyle(document.body).backgroundColor"))

    def _like(self, scheme: str) -> None:
        self.tab.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
