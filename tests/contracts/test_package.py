"""The wheel that users install, and the one version that everything carries."""

import subprocess
import sys
import zipfile
from pathlib import Path

import yaml

from mailtls import __version__

ROOT = Path(__file__).parents[2]


def test_wheel_holds_the_package_and_its_command(tmp_path: Path) -> None:
    """`pip install` gives the package with its types, the `mailtls` command, and nothing of the tests."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == f"mailtls-{__version__}-py3-none-any.whl"
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"mailtls/__main__.py", "mailtls/py.typed", "mailtls/lifecycle/plan.py"} <= names
    assert {name.split("/")[0] for name in names} == {"mailtls", f"mailtls-{__version__}.dist-info"}
    commands = zipfile.ZipFile(wheel).read(f"mailtls-{__version__}.dist-info/entry_points.txt").decode()
    assert "mailtls = mailtls.__main__:main" in commands


def test_chart_is_of_the_same_version() -> None:
    """A chart that names another image than the one beside it installs yesterday's operator."""
    chart = yaml.safe_load((ROOT / "charts/mailtls/Chart.yaml").read_text())
    assert chart["appVersion"] == __version__


def test_no_init_shadows_pythons_operator() -> None:
    """With `operator/__init__.py` the source root would hide the standard library's `operator` module."""
    assert not (ROOT / "operator/__init__.py").exists()
