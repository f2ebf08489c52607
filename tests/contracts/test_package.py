"""The wheel that users install, and the one version that everything carries."""

import ast
import json
import os
import re
import socket
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

from mailtls import __version__

ROOT = Path(__file__).parents[2]
MOST_LINES = 300


def test_wheel_holds_the_package_and_its_command(tmp_path: Path) -> None:
    """`pip install` gives the package with its types, the `mailtls` command, and nothing of the tests."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == f"mailtls-{__version__}-py3-none-any.whl"
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"mailtls/__main__.py", "mailtls/py.typed", "mailtls/stages.py"} <= names
    assert {name.split("/")[0] for name in names} == {"mailtls", f"mailtls-{__version__}.dist-info"}
    commands = zipfile.ZipFile(wheel).read(f"mailtls-{__version__}.dist-info/entry_points.txt").decode()
    assert "mailtls = mailtls.__main__:main" in commands
    assert "kubectl-mailtls = mailtls.__main__:plugin" in commands
    assert {"mailtls/cli/output/survey.schema.json", "mailtls/probe/tls/letsencrypt-staging.pem"} <= names
    assert "mailtls/cli/preflight/mailservertls.yaml" in names


def test_chart_is_of_the_same_version() -> None:
    """A chart that names another image than the one beside it installs yesterday's operator."""
    chart = yaml.safe_load((ROOT / "charts/mailtls/Chart.yaml").read_text())
    assert chart["appVersion"] == __version__


def test_no_init_shadows_pythons_operator() -> None:
    """With `operator/__init__.py` the source root would hide the standard library's `operator` module."""
    assert not (ROOT / "operator/__init__.py").exists()


def test_no_module_is_longer_than_a_reader_takes_in() -> None:
    """The house rule for modules: at most 300 lines, else they are split by what they say."""
    sizes = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / "operator").rglob("*.py")}
    assert {str(path.relative_to(ROOT)): size for path, size in sizes.items() if size > MOST_LINES} == {}


def imported_packages() -> set[str]:
    """The distributions, by normal name, whose modules anything in the package imports."""
    roots: set[str] = set()
    for module in (ROOT / "operator").rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Import):
                roots |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                roots.add(node.module.split(".")[0])
    distributions = packages_distributions()
    foreign = roots - sys.stdlib_module_names - {"mailtls"}
    return {normal(name) for root in foreign for name in distributions[root][:1]}


DATA = {"tzdata"}  # which zoneinfo finds where the machine has no time zones of its own


def normal(name: str) -> str:
    """A distribution's name as PyPI compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_import_is_a_declared_and_bounded_dependency() -> None:
    """What is imported and not declared breaks the day another package stops bringing it along."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = [line for lines in project["optional-dependencies"].values() for line in lines]
    required, extra = (
        {normal(re.split(r"[<>=~!]", line)[0]) for line in lines} for lines in (project["dependencies"], optional)
    )
    assert (imported_packages() | DATA) - extra == required
    bounded = [*project["dependencies"], *optional]
    assert [line for line in bounded if ">=" not in line or ",<" not in line] == []


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel in an environment of its own, which takes nothing but the dependencies from this one; its programs."""
    folder = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder), cwd=ROOT)
    (wheel,) = folder.glob("*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", str(folder / "venv"))
    (packages,) = (folder / "venv").glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    python = str(folder / "venv" / "bin" / "python")
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", "--quiet", str(wheel))
    return folder / "venv" / "bin"


def run(*command: str, cwd: Path | None = None) -> None:
    """Run a program that must succeed."""
    subprocess.run(command, cwd=cwd, check=True, capture_output=True)


def test_installed_program_probes_without_any_cluster(installed: Path, tmp_path: Path) -> None:
    """`pip install mailtls && mailtls probe` needs no kubeconfig and no checkout; the schema is part of the package."""
    alone = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    command = [str(installed / "mailtls"), "probe", f"127.0.0.1:{port}", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=alone, timeout=60, check=False)
    assert done.returncode == 1, done
    assert json.loads(done.stdout)["endpoints"][0]["reason"] == "ConnectionRefused"
    code = (
        "import mailtls; from mailtls.cli.output import machine as m; print(mailtls.__file__, m.json_schema()['title'])"
    )
    python = [str(installed / "python"), "-c", code]
    shown = subprocess.run(
        python, capture_output=True, text=True, cwd=tmp_path, env=alone, timeout=60, check=True
    ).stdout
    assert shown.startswith(str(installed.parent))


def test_kubectl_finds_the_plugin(installed: Path) -> None:
    """Kubectl runs `kubectl-mailtls` from the PATH as `kubectl mailtls`."""
    done = subprocess.run(
        [str(installed / "kubectl-mailtls"), "--help"], capture_output=True, text=True, timeout=60, check=True
    )
    assert "kubectl mailtls [OPTIONS] COMMAND" in done.stdout


def test_completion_is_there_for_the_shells() -> None:
    """`--show-completion` prints a script that asks the program itself."""
    command = [sys.executable, "-m", "mailtls", "--show-completion", "bash"]
    environment = {**os.environ, "PYTHONPATH": "operator", "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert "complete" in done.stdout
