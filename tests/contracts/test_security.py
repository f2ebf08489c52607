"""SECURITY.md against the tests and the chart: no claim that no test shows, no setting that there is not."""

import re
from typing import Any

import pytest

from contracts.render import ROOT, chart_defaults

PAGE = (ROOT / "SECURITY.md").read_text("utf-8")
TESTS = "\n".join(file.read_text("utf-8") for file in (ROOT / "tests").rglob("test_*.py"))


def sections() -> dict[str, str]:
    """The page's sections by their titles."""
    parts = re.split(r"(?m)^## ", PAGE)[1:]
    return {part.split("\n", 1)[0]: part.split("\n", 1)[1] for part in parts}


def claims() -> list[str]:
    """Each item of a list."""
    items = re.findall(r"(?ms)^- (.*?)(?=^- |\n\n|\Z)", PAGE)
    return [" ".join(item.split()) for item in items]


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(test_\w+)`", PAGE))))
def test_each_test_that_is_named_exists(name: str) -> None:
    """So that a claim does not outlive what shows it."""
    assert re.search(rf"def {name}\(", TESTS)


@pytest.mark.parametrize("claim", [each for each in claims() if "networkPolicy" not in each])
def test_each_claim_names_a_test(claim: str) -> None:
    """Who doubts it can read and run it."""
    assert re.search(r"`test_\w+`", claim)


def test_each_kind_of_adversary_has_its_section() -> None:
    """Tenants by what they may write, and everybody whom the operator talks to."""
    titles = " ".join(sections())
    for who in (
        "write resources",
        "write Secrets only",
        "write neither",
        "CA",
        "DNS server",
        "mail server",
        "Definition",
    ):
        assert who in titles


def test_settings_that_end_what_is_left_exist() -> None:
    """By their path in the chart's values."""
    defaults: Any = chart_defaults()
    named = re.findall(r"\| [^|]+ \| ([^|]+) \|", sections()["What is left"])
    paths = {path for cell in named for path in re.findall(r"`([a-z]\w*(?:\.\w+)*)(?:: \w+)?`", cell)}
    assert len(paths) > 5
    for path in paths:
        found = defaults
        for part in path.split("."):
            assert part in found, path
            found = found[part]
