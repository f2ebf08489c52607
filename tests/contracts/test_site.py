"""The documentation's site: it builds strictly, the same from the same pages, and no link leads nowhere."""

import filecmp
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from contracts.render import ROOT
from docsite.__main__ import build, main
from docsite.navigation import Unlisted, expand
from docsite.pages import BrokenLink, Tree, on_site
from docsite.versions import folder_of, newest_first
from mailtls.reasons.reason import Reason

PAGE = re.compile(r'<(?:link|script|img|iframe|source)\b[^>]*?(?:src|href)="?(?P<address>https?://[^"\s>]+)')
STYLE = re.compile(r"(?:url\(|@import)\s*[\"']?(?P<address>https?://[^\"')]+)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site with two versions of the same pages."""
    folder = tmp_path_factory.mktemp("site")
    build(ROOT, folder, "0.1.3")
    build(ROOT, folder, "0.2.0")
    return folder


def test_two_versions_stand_beside_each_other_and_are_listed_newest_first(site: Path) -> None:
    """The selector finds both, and the address without a version leads to the newest; equal pages make equal files."""
    listed = json.loads((site / "versions.json").read_text())
    assert [each["version"] for each in listed] == ["0.2", "0.1"]
    assert 'url=0.2/"' in (site / "index.html").read_text()
    files = [str(each.relative_to(site / "0.1")) for each in (site / "0.1").rglob("*") if each.is_file()]
    _, different, missing = filecmp.cmpfiles(site / "0.1", site / "0.2", files, shallow=False)
    assert (different, missing) == ([], [])
    assert '"provider":"mike"' in (site / "0.1/index.html").read_text().replace(" ", "")


def test_page_loads_nothing_from_elsewhere(site: Path) -> None:
    """No font, script, picture or style of another host: whoever reads the pages is known to nobody."""
    found = {
        (str(file.relative_to(site)), match["address"])
        for pattern, suffix in ((PAGE, "*.html"), (STYLE, "*.css"))
        for file in (site / "0.2").rglob(suffix)
        for match in pattern.finditer(file.read_text("utf-8"))
    }
    assert found == set()


def test_every_reason_and_every_alert_has_its_address(site: Path) -> None:
    """The addresses that conditions and alerts link to, and those from when all reasons were one page."""
    assert [each for each in Reason if not (site / f"0.2/reference/reasons/{each}/index.html").exists()] == []
    page = (site / "0.2/reference/reasons/index.html").read_text("utf-8")
    assert {str(reason).lower() for reason in Reason} <= set(re.findall(r'<a id="?([a-z0-9-]+)', page))
    index = json.loads((site / "0.2/search.json").read_text("utf-8"))["items"]
    assert {str(reason) for reason in Reason} <= {each["title"] for each in index}, "search does not find them by name"
    rules = yaml.safe_load((ROOT / "deploy/alerts.yaml").read_text("utf-8"))
    alerts = [rule["alert"] for group in rules["groups"] for rule in group["rules"]]
    assert [each for each in alerts if not (site / f"0.2/reference/alerts/{each}/index.html").exists()] == []


@pytest.mark.parametrize("text", ["[a](missing.md)", "[a](../README.md#no-such-heading)", "[`a`](b.md) `](c.md)`"])
def test_broken_link_stops_the_build(text: str, tmp_path: Path) -> None:
    """A page that is not there and a heading that is not there; what is code leads nowhere."""
    root = tmp_path / "tree"
    (root / "docs").mkdir(parents=True)
    (root / "README.md").write_text("# mailtls\n")
    (root / "docs/page.md").write_text(f"# Page\n\n{text}\n")
    (root / "docs/b.md").write_text("# B\n")
    done = subprocess.run(
        [sys.executable, "-c", STAND_ALONE, str(root), str(tmp_path / "site")],
        capture_output=True, text=True, check=False, env={"PYTHONPATH": str(ROOT / "packaging")},
    )  # fmt: skip
    assert (done.returncode == 0) == ("b.md" in text), done.stdout + done.stderr


STAND_ALONE = """
import sys
from pathlib import Path
from docsite import __main__ as site
site.expand = lambda navigation, pages: sorted(pages)
site.build(Path(sys.argv[1]), Path(sys.argv[2]), "dev")
"""


def test_link_leads_to_the_place_on_the_site() -> None:
    """Pages outside of docs/ have places there, and files that are no pages are taken along."""
    tree = Tree.of(["README.md", "SECURITY.md", "docs/how-to/a.md", "examples/x/README.md", "deploy/alerts.yaml"])
    used: list[str] = []
    text = "[s](../../SECURITY.md#top) [x](../../examples/x/README.md) [f](../../deploy/alerts.yaml) [w](https://w.example)\n"
    assert on_site("docs/how-to/a.md", text, tree, used.append) == (
        "[s](../explanation/security.md#top) [x](examples/x.md) [f](../files/deploy/alerts.yaml) [w](https://w.example)\n"
    )
    assert used == ["deploy/alerts.yaml"]
    with pytest.raises(BrokenLink, match=r"docs/how-to/a\.md links to b\.md, which does not exist"):
        on_site("docs/how-to/a.md", "[b](b.md)", tree)
    assert on_site("docs/how-to/a.md", "```sh\n[b](b.md)\n```\n", tree) == "```sh\n[b](b.md)\n```\n"


def test_page_that_is_not_in_the_navigation_is_refused() -> None:
    """Nobody would find it; what a folder's star stands for is found."""
    assert expand([{"A": ["a/x.md", "a/*"]}], ["a/x.md", "a/y.md"]) == [{"A": ["a/x.md", "a/y.md"]}]
    with pytest.raises(Unlisted, match=r"lacks pages: b\.md"):
        expand([{"A": ["a/*"]}], ["a/x.md", "b.md"])
    with pytest.raises(Unlisted, match=r"do not exist: c\.md"):
        expand(["c.md"], ["a.md"])


def test_versions_are_sorted_by_their_numbers() -> None:
    """0.10 is newer than 0.9, and what is no version comes last."""
    assert newest_first(["dev", "0.9", "0.10", "1.0"]) == ["1.0", "0.10", "0.9", "dev"]
    assert (folder_of("0.1.3"), folder_of("dev")) == ("0.1", "dev")


def test_fault_in_a_page_is_one_sentence_on_the_screen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """No traceback for a writer."""
    (tmp_path / "README.md").write_text("[gone](gone.md)")
    monkeypatch.setattr("docsite.__main__.ROOT", tmp_path)
    assert main(["--into", str(tmp_path / "site")]) == 1
    assert capsys.readouterr().err == "docs: README.md links to gone.md, which does not exist\n"
