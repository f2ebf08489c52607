"""The fuzz targets hold on their seeds, and for some seconds of real fuzzing where atheris is installed."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from fuzz.seeds import seeds
from fuzz.targets import TARGETS

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("name", TARGETS)
def test_seed_breaks_no_promise(name: str) -> None:
    """Good servers are good inputs, whole and cut short anywhere."""
    for seed in seeds(name):
        for end in range(0, len(seed) + 1, 7):
            TARGETS[name](seed[:end])


@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is not installed: see `make fuzz`")
@pytest.mark.parametrize("name", TARGETS)
def test_seconds_of_fuzzing_break_no_promise(name: str, tmp_path: Path) -> None:
    """Five seconds of inputs led by coverage find nothing."""
    path = {"PYTHONPATH": f"{TESTS.parent / 'operator'}:{TESTS}"}
    command = [sys.executable, "-m", "fuzz", name, "5"]
    done = subprocess.run(command, cwd=tmp_path, env=path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
