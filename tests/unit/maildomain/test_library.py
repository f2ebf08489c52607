"""The mail domain checks as a library: its public names, and what importing it brings along."""

import subprocess
import sys

import pytest

import mailtls.maildomain as library


@pytest.mark.parametrize("name", library.__all__)
def test_public_name_is_there(name: str) -> None:
    """Each is imported where it is first used."""
    assert getattr(library, name).__module__.startswith("mailtls.")


def test_unknown_name_is_refused_as_by_any_module() -> None:
    """A typing error must not look like an import error."""
    with pytest.raises(AttributeError, match="no attribute 'judge'"):
        getattr(library, "judge")  # noqa: B009 - the type checker knows that it is not there


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("mailtls.maildomain.checks.verdict", {"dns", "aiohttp", "kubernetes", "kopf"}),
        ("mailtls.maildomain.lookup.domains", {"kubernetes", "kopf"}),
    ],
)
def test_import_brings_no_more_than_is_used(module: str, absent: set[str]) -> None:
    """Parsers and checks load no DNS and no HTTP client, and nothing loads Kubernetes."""
    code = f"import sys, {module}; print(*sorted({{each.partition('.')[0] for each in sys.modules}}))"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert absent.isdisjoint(run.stdout.split())
