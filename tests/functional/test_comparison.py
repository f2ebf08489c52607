"""A part of the comparison with other tools, run live: the page in docs/ must say what happens here."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from comparison import table
from comparison.rules import Mark, mark
from comparison.tools import openssl, posttls_finger, write_roots
from mailservers.instance import Instance
from mailservers.postfix_cases import POSTFIX
from mailservers.tables import TABLES

NAMES = ("good", "tls-off", "wrong-key", "expired", "self-signed", "wrong-name", "leaf-alone", "not-reloaded")


@pytest.fixture(scope="module")
def server() -> Iterator[Instance]:
    """Run one Postfix for all cases."""
    if why := POSTFIX.missing():
        pytest.skip(why)
    with POSTFIX.serve({name: POSTFIX.cases[name] for name in NAMES}) as running:
        yield running


@pytest.mark.parametrize("name", NAMES)
def test_page_says_what_the_tools_say(name: str, server: Instance, tmp_path: Path) -> None:
    """The fast tools earn the marks that the page has for them."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed (Debian package openssl)")
    case, roots = TABLES["Postfix"].cases[name], write_roots(tmp_path)
    said = {"openssl": openssl, "posttls-finger": posttls_finger}
    marks = {tool: mark(case, run(case, server.where(name), roots)) for tool, run in said.items()}
    page = table.read()["Postfix", name]
    assert marks == {tool: page[tool] for tool in marks}
    assert page["mailtls"] in {Mark.NOTICED, Mark.GOOD}
