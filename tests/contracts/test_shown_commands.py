"""The list of commands that the documentation shows: each is run by a test, or it is said why that cannot be."""

import ast
import re
from pathlib import Path

import pytest

from contracts.commands import ELSEWHERE, FOLLOWED, NOT_RUN, Shown, shown
from contracts.journey import JOURNEY
from contracts.render import ROOT

SHOWN = list(shown())
TRIED = {step.command for step in JOURNEY}


def matches(pattern: str, command: str) -> bool:
    """Whether a pattern is the whole command, which may have several lines."""
    return re.fullmatch(pattern, command, re.DOTALL) is not None


def is_known(each: Shown) -> bool:
    """Whether one of the lists has it."""
    by_pattern = any(matches(pattern, each.command) for pattern in (*ELSEWHERE, *NOT_RUN))
    return by_pattern or each.command in TRIED or (each.is_script and each.page in FOLLOWED)


@pytest.mark.parametrize("page", sorted({each.page for each in SHOWN}))
def test_every_command_of_a_page_is_run_or_it_is_said_why_not(page: str) -> None:
    """A command that is new goes into `journey.py`, where it is run as it is printed, or into one of the lists."""
    assert [each.command for each in SHOWN if each.page == page and not is_known(each)] == []


def test_lists_hold_nothing_that_is_shown_no_more() -> None:
    """Each pattern is of a command that is there, each step of the journey too, and each test exists."""
    commands = {each.command for each in SHOWN}
    assert [each for each in (*ELSEWHERE, *NOT_RUN) if not any(matches(each, one) for one in commands)] == []
    assert sorted(TRIED - commands) == []
    assert set(FOLLOWED) <= {each.page for each in SHOWN}
    assert [each for each in FOLLOWED.values() if not (ROOT / "tests" / each).exists()] == []


@pytest.mark.parametrize("pattern", ELSEWHERE)
def test_test_that_runs_a_command_has_its_words(pattern: str) -> None:
    """In its own texts, or the name of the page from which it takes the command."""
    name, *words = ELSEWHERE[pattern]
    said = texts(ROOT / "tests" / name)
    for each in SHOWN:
        found = re.fullmatch(pattern, each.command, re.DOTALL)
        wanted = [found.expand(word).strip() for word in words] if found else []
        assert wanted or not found
        assert [word for word in wanted if not any(word in text for text in said)] == [], each
        places = (each.command, *(other.page for other in SHOWN if other.command == each.command))
        assert [word for word in wanted if not any(word in place for place in places)] == [], each


def texts(file: Path) -> list[str]:
    """Return the strings of a program, without its comments and descriptions."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    described = [node for node in ast.walk(tree) if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)]
    docs = {id(node.body[0].value) for node in described if isinstance(node.body[0], ast.Expr)}
    strings = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docs)
    return [node.value for node in strings if isinstance(node.value, str)]


@pytest.mark.parametrize("page", sorted(FOLLOWED))
def test_page_that_is_followed_is_named_by_the_test_that_follows_it(page: str) -> None:
    """Its name stands there, as that of the page to follow."""
    name = page.rpartition("/")[2]
    assert f'"{name}"' in (ROOT / "tests" / FOLLOWED[page]).read_text("utf-8")
