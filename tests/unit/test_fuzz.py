"""The fuzz targets hold on their seeds, and for some seconds of real fuzzing."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz.seeds import seeds
from fuzz.targets import TARGETS
from testbed.bootstrap import fuzzing_obstacle

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("name", TARGETS)
def test_seed_breaks_no_promise(name: str) -> None:
    """Good servers are good inputs, whole and cut short anywhere."""
    for seed in seeds(name):
        for end in range(0, len(seed) + 1, 7):
            TARGETS[name](seed[:end])


@pytest.mark.skipif(fuzzing_obstacle() is not None, reason=str(fuzzing_obstacle()))
@pytest.mark.parametrize("name", TARGETS)
def test_seconds_of_fuzzing_break_no_promise(name: str, tmp_path: Path) -> None:
    """Five seconds of inputs led by coverage find nothing."""
    path = {"PYTHONPATH": f"{TESTS.parent / 'operator'}:{TESTS}"}
    command = [sys.executable, "-m", "fuzz", name, "5"]
    done = subprocess.run(command, cwd=tmp_path, env=path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize(
    ("asked", "answer", "named"), [("machine", "aarch64", "Linux on aarch64"), ("libc_ver", ("", ""), "C library")]
)
def test_machine_without_the_fuzzer_is_told_why(
    asked: str, answer: object, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the fuzzer is not published, setting up says so in a sentence, and does without."""
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(platform, asked, lambda: answer)
    assert named in (fuzzing_obstacle() or "")
