"""What `make test` does with a test that fails: once more where it may be an accident, and always by name."""

import sys
from pathlib import Path

import pytest

from testbed.suite import make_twice

MAKEFILE = f"servers:\n\t@{sys.executable} -m pytest -q -p no:xdist --rootdir=. test_servers.py\n"
# The test fails for as many runs as `fails` says, and counts them.
TESTS = """
from pathlib import Path
import pytest

@pytest.mark.parametrize("number", range({tests}))
def test_server(number):
    counted = Path(f"runs-{{number}}")
    runs = len(counted.read_text()) if counted.exists() else 0
    counted.write_text("x" * (runs + 1))
    assert runs >= {fails} or number >= {failing}
"""


def made(folder: Path, *, failing: int, fails: int) -> tuple[bool, tuple[str, ...], list[int]]:
    """How the target ended, what passed at the second try only, and how often each of four tests ran."""
    (folder / "Makefile").write_text(MAKEFILE)
    (folder / "test_servers.py").write_text(TESTS.format(tests=4, failing=failing, fails=fails))
    stage = make_twice("servers", folder)
    return stage.passed, stage.at_second_try, [len((folder / f"runs-{number}").read_text()) for number in range(4)]


def test_few_failures_are_tried_again_alone_and_told_by_name(tmp_path: Path) -> None:
    """What passes then is no reason to stop everybody, and no secret."""
    names = ("test_servers.py::test_server[0]", "test_servers.py::test_server[1]")
    assert made(tmp_path, failing=2, fails=1) == (True, names, [2, 2, 1, 1])


@pytest.mark.parametrize(
    ("failing", "fails", "runs"), [(1, 2, [2, 1, 1, 1]), (3, 1, [1, 1, 1, 1])], ids=["fails again", "too many"]
)
def test_what_is_broken_stays_broken(tmp_path: Path, failing: int, fails: int, runs: list[int]) -> None:
    """A second failure counts, and so do more failures than accidents make."""
    assert made(tmp_path, failing=failing, fails=fails) == (False, (), runs)


def test_what_passes_runs_once(tmp_path: Path) -> None:
    """Nothing is run twice for nothing."""
    assert made(tmp_path, failing=0, fails=0) == (True, (), [1, 1, 1, 1])
