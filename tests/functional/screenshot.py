"""`python -m functional.screenshot`: take the picture of the status page that the documentation shows."""

from pathlib import Path
from typing import Final

from builders import pages
from functional.browser import browser
from mailtls.page import site
from mailtls.page.frame import Board

FILE: Final = Path(__file__).resolve().parents[2] / "docs" / "pictures" / "status-page.png"


def main() -> None:
    """Show the list as it is for a few servers."""
    wanted = site.address("/", "")
    assert wanted is not None
    with browser() as started:
        tab = started.new_page(viewport={"width": 1000, "height": 400}, color_scheme="light")
        tab.set_content(site.page(wanted, pages.few(), Board(pages.NOW)).body)
        tab.screenshot(path=FILE, full_page=True)


if __name__ == "__main__":
    main()
