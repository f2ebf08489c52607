"""What the documentation says of products: each is in the list of what is tested, and how."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.render import ROOT
from contracts.snippets import page_text
from contracts.tested import PRODUCTS, WATCHED, How, Product
from mailtls.reasons.software import Software

NUMBERS = {10: "ten", 11: "eleven", 12: "twelve", 13: "thirteen", 14: "fourteen"}

_SPEAKING = ("*.md", "docs/**/*.md", "charts/mailtls/*.yaml", "charts/mailtls/templates/NOTES.txt", "crds/*.yaml")
_OWN_LISTS = {"CHANGELOG.md", "CONTRIBUTING.md", "tested.md", "comparison.md"}
"""What was, how to work here, the page itself, and another list that says what runs."""


def speaking() -> Iterator[Path]:
    """Yield every file that says something of products to users."""
    for pattern in _SPEAKING:
        yield from (file for file in ROOT.glob(pattern) if file.name not in _OWN_LISTS and "adr" not in file.parts)


@pytest.mark.parametrize("product", PRODUCTS, ids=lambda product: product.name)
def test_product_is_named_somewhere_and_its_tests_exist(product: Product) -> None:
    """The list holds nothing that nobody speaks of, and names no test that is gone."""
    assert any(product.pattern.search(file.read_text(encoding="utf-8")) for file in speaking())
    assert bool(product.tests) is (product.how is not How.NOT)
    for test in product.tests:
        path, _, function = test.partition("::")
        assert f"def {function or 'test_'}" in (ROOT / path).read_text(encoding="utf-8")


def test_program_that_is_run_has_a_version() -> None:
    """A version that nobody keeps is worse than none."""
    assert [each.name for each in PRODUCTS if each.how is How.RUN and not each.version] == []


def test_number_of_servers_known_by_name_is_right() -> None:
    """A preset more, or one less, and README and the page count anew."""
    named = len([each for each in Software if each is not Software.GENERIC])
    assert f"knows [{NUMBERS[named]} mail servers and proxies]" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"Besides Postfix the operator knows {NUMBERS[named - 1]} servers" in page_text("other-servers.md")


@pytest.mark.parametrize("file", [pytest.param(each, id=each.name) for each in speaking()])
def test_page_names_no_product_that_is_not_in_the_list(file: Path) -> None:
    """Who writes of another product says how it is tested, or that it is not."""
    text = file.read_text(encoding="utf-8")
    assert re.findall(rf"\b({'|'.join(WATCHED)})\b", text) == []
