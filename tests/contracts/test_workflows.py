"""The workflows of the forge, which run nowhere but there: read by their linter, and held against the Makefile."""

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

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


def a_step(name: str) -> str:
    """The script of a step of release.yml, by the step's name."""
    release = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())
    (found,) = [each["run"] for each in release["jobs"]["release"]["steps"] if each.get("name") == name]
    return str(found)


def publish_documentation(forge: Path, checkout: Path, version: str) -> list[str]:
    """Run the two steps that keep the branch `pages`, as the forge runs them; return the files of that branch."""
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@example.com")
    subprocess.run(["git", "clone", "-q", "--depth=1", f"file://{forge}", str(checkout)], check=True)
    folder = version.rpartition(".")[0]
    (checkout / "dist" / folder).mkdir(parents=True)
    (checkout / "dist" / folder / "index.html").write_text(version)
    archive = checkout / f"dist/mailtls-{version}-docs.tar.gz"
    subprocess.run(["tar", "-czf", str(archive), "-C", str(checkout / "dist"), folder], check=True)
    (checkout / "packaging").symlink_to(ROOT / "packaging")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for step in ("Fetch the documentation of other versions", "Publish the documentation"):
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", a_step(step)]
        environment = os.environ | {"TAG": f"v{version}", "PATH": path}
        subprocess.run(command, check=True, cwd=checkout, env=environment, capture_output=True, timeout=60)
    listed = [*git, "-C", str(forge), "ls-tree", "-r", "--name-only", "pages"]
    return subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split()


def test_release_adds_its_documentation_to_that_of_other_versions(tmp_path: Path) -> None:
    """The first release makes the branch, a patch takes the place of its minor version, and the next minor is added."""
    forge, work = tmp_path / "forge.git", tmp_path / "work"
    git = ("git", "-C", str(work), "-c", "user.name=a", "-c", "user.email=a@example.com")
    subprocess.run(["git", "init", "-q", "-b", "main", str(work)], check=True)
    (work / "README.md").write_text("a")
    subprocess.run([*git, "add", "--all"], check=True)
    subprocess.run([*git, "commit", "-qm", "a"], check=True)
    subprocess.run(["git", "clone", "-q", "--bare", str(work), str(forge)], check=True)
    always = ["index.html", "versions.json"]
    assert publish_documentation(forge, tmp_path / "first", "0.1.0") == ["0.1/index.html", *always]
    assert publish_documentation(forge, tmp_path / "patch", "0.1.1") == ["0.1/index.html", *always]
    assert publish_documentation(forge, tmp_path / "minor", "0.2.0") == ["0.1/index.html", "0.2/index.html", *always]
    shown = ["git", "-C", str(forge), "show", "pages:0.1/index.html"]
    assert subprocess.run(shown, check=True, capture_output=True, text=True).stdout == "0.1.1"


def test_what_may_publish_installs_no_tool_that_is_not_locked() -> None:
    """pip-audit comes with packages that no lock names: only jobs that can write nothing run it, before the release."""
    jobs = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())["jobs"]
    assert "audit" in jobs["release"]["needs"]
    assert "permissions" not in jobs["audit"]
    assert not any("make audit" in step.get("run", "") for step in jobs["release"]["steps"])
