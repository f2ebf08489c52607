"""Where the parts of the test suite lie: tests in test modules, what they share in modules beside them."""

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1]
PACKAGE_FILES = {"__init__.py", "conftest.py"}


def imported(module: Path) -> Iterator[str]:
    """Every dotted name that a module imports, with the names that it takes from a package."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module or ''}.{alias.name}" for alias in node.names)


def is_test_module(name: str) -> bool:
    """Whether a dotted name leads into a module that pytest collects."""
    packages = name.split(".")
    return packages[0] in {"unit", "contracts", "functional", "e2e"} and any(
        each.startswith("test_") for each in packages
    )


def test_no_module_imports_from_a_test_module() -> None:
    """A test module can be renamed, split or deleted without a look at the others."""
    found = {
        (str(module.relative_to(TESTS)), name)
        for module in TESTS.rglob("*.py")
        for name in imported(module)
        if is_test_module(name)
    }
    assert found == set()


def test_unit_tests_lie_alone() -> None:
    """What builds objects for tests lies in `tests/builders`, what stands in for the world in `tests/fakes`."""
    others = {
        str(module.relative_to(TESTS))
        for module in (TESTS / "unit").rglob("*.py")
        if not module.name.startswith("test_") and module.name not in PACKAGE_FILES
    }
    assert others == set()
