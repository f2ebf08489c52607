"""The workflows of the forge, which run nowhere but there: read by their linter, and held against the Makefile."""

import re
import subprocess
from pathlib import Path

from contracts.render import ROOT
from testbed.gomail import built

MODULE = ROOT / "tests/testbed/goactionlint"
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
MADE = re.compile(r"\bmake ((?:[a-z0-9-]+\b(?!=) ?)+)")
TARGETS = set(re.findall(r"(?m)^([a-z0-9-]+):", (ROOT / "Makefile").read_text()))


def lint(*files: str) -> subprocess.CompletedProcess[str]:
    """Run actionlint alone: what it would let other linters say depends on which of them a machine has."""
    saying = "Go: building actionlint (once)"
    package = "github.com/rhysd/actionlint/cmd/actionlint"
    program = built(MODULE, saying, "-ldflags=-s -w", package, CGO_ENABLED="0") / "actionlint"
    command = [str(program), "-no-color", "-shellcheck=", "-pyflakes=", *files]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=60)


def test_linter_finds_nothing_in_the_workflows() -> None:
    """Neither in their syntax, nor in expressions, contexts and events."""
    assert WORKFLOWS
    done = lint(*map(str, WORKFLOWS))
    assert (done.returncode, done.stdout) == (0, "")


def test_linter_finds_a_context_that_is_not_there(tmp_path: Path) -> None:
    """It is really asked."""
    wrong = tmp_path / "wrong.yml"
    wrong.write_text((ROOT / ".github/workflows/ci.yml").read_text().replace("github.ref", "github.reff"))
    assert 'property "reff" is not defined' in lint(str(wrong)).stdout


def test_workflows_make_targets_that_exist() -> None:
    """A target that is renamed is renamed there too."""
    named = {target for file in WORKFLOWS for found in MADE.findall(file.read_text()) for target in found.split()}
    assert {"test", "release", "upgrade", "e2e"} <= named
    assert named <= TARGETS
