"""The pictures of the documentation: whole by themselves, readable without sight, and true to the code."""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from contracts.render import ROOT
from mailtls.api.status import OUTLOOK, ConditionType
from mailtls.reasons.reason import Reason
from mailtls.stage import Stage
from mailtls.stages import STAGES

SVG = "{http://www.w3.org/2000/svg}"
FILES = sorted((ROOT / "docs" / "pictures").glob("*.svg"))
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
NOT_OURS = {"SHA", "STARTTLS"}
LARGEST = 12_000


def words(file: Path) -> list[str]:
    """Each text of a picture, as it is read."""
    return ["".join(text.itertext()).strip() for text in ET.parse(file).iter(f"{SVG}text")]  # noqa: S314 - our own


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_picture_is_small_described_and_fetches_nothing(file: Path) -> None:
    """It has a title and a description, no script, nothing of another place, and no font that a reader lacks."""
    source = file.read_text("utf-8")
    root = ET.fromstring(source)  # noqa: S314 - our own
    title, desc = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert title is not None
    assert desc is not None
    assert root.attrib["aria-labelledby"].split() == [title.attrib["id"], desc.attrib["id"]]
    assert len(title.text or "") > 10
    assert len(desc.text or "") > 100
    assert len(source) < LARGEST
    assert not [
        each.tag for each in root.iter() if each.tag.split("}")[-1] in {"script", "image", "use", "foreignObject"}
    ]
    attributes = [(name, value) for each in root.iter() for name, value in each.attrib.items()]
    assert not [name for name, _ in attributes if name.lower().startswith("on") or name.endswith("href")]
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", source))
    assert "@import" not in source
    assert "@font-face" not in source
    assert "prefers-color-scheme: dark" in source


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_picture_is_shown_with_words_for_who_does_not_see_it(file: Path) -> None:
    """A page shows it, and says in its place what it shows."""
    shown = re.compile(rf"!\[(?P<words>[^\]]+)\]\([^)]*pictures/{file.name}\)")
    found = [each["words"] for page in PAGES for each in shown.finditer(page.read_text("utf-8"))]
    assert found, "no page shows it"
    assert min(map(len, found)) > 20


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_conditions_and_reasons_in_a_picture_exist(file: Path) -> None:
    """A reader finds each of its words in what `kubectl describe` prints."""
    named = {str(each) for each in (*ConditionType, *Reason)}
    found = {word for text in words(file) for word in re.findall(r"\b[A-Z][a-z]+[A-Z]\w*", text)}
    assert found - NOT_OURS <= named
    emphasised = {
        word
        for text in ET.parse(file).iter(f"{SVG}text")  # noqa: S314 - our own
        if "stage" in text.attrib.get("class", "").split()
        for word in re.findall(r"\b[A-Z]\w*", "".join(text.itertext()))
    }
    assert emphasised <= named | {"True", "False"}


def test_picture_of_the_overview_has_every_condition() -> None:
    """All that a resource with pods always has."""
    shown = {text.removeprefix("✓").strip() for text in words(ROOT / "docs" / "pictures" / "overview.svg")}
    assert {str(each) for each in ConditionType} - {"DomainHealthy", *map(str, OUTLOOK)} <= shown


def test_picture_of_the_architecture_has_the_rooms_in_their_order() -> None:
    """Those of the stages, as the reconciler goes through them, and the packages that they stand on."""
    shown = words(ROOT / "docs" / "pictures" / "architecture.svg")
    last = {each.step.__module__.split(".")[1]: place for place, each in enumerate(STAGES) if isinstance(each, Stage)}
    rooms = sorted(last, key=last.__getitem__)
    assert [text for text in shown if text in last] == rooms
    below = shown[shown.index("what they stand on") + 1 :]
    assert [text for text in below if not (ROOT / "operator/mailtls" / text.partition(":")[0]).is_dir()] == []
