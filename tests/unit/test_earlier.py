"""What an upgrade begins from: the release before, never the one that is being made."""

import subprocess
from pathlib import Path

import pytest

from testbed import earlier
from testbed.console import Trouble


def commits(folder: Path, *tags: str) -> Path:
    """Make a repository of a commit for each tag; an empty one tags nothing."""
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    for tag in tags:
        subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "one"], cwd=folder, check=True)
        if tag:
            subprocess.run(["git", "tag", tag], cwd=folder, check=True)
    return folder


@pytest.mark.parametrize(
    ("tags", "before"),
    [
        (("v0.1.0", "v0.2.0"), "v0.1.0"),  # the release that is being made
        (("v0.1.0", "v0.2.0", ""), "v0.2.0"),
        (("v0.1.0", "pages", ""), "v0.1.0"),
        (("v0.1.0",), None),  # the first release
        (("v0.2.0-rc.1", "v0.2.0", "v0.10.0", ""), "v0.10.0"),
        (("v0.2.0", "v0.2.0-rc.1", ""), "v0.2.0"),
        (("", ""), None),
    ],
)
def test_release_behind_the_commit_is_upgraded_from(
    tags: tuple[str, ...], before: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest tag v* that is not at the commit itself; none where nothing was released."""
    monkeypatch.delenv(earlier.VARIABLE, raising=False)
    assert earlier.chosen(commits(tmp_path, *tags)) == before


def test_git_that_cannot_say_what_was_released_is_no_reason_to_upgrade_from_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clone without history may hide a release, and so may a folder that Git does not read."""
    monkeypatch.delenv(earlier.VARIABLE, raising=False)
    whole = commits(tmp_path / "whole", "v0.1.0", "")
    clone = ["git", "clone", "-q", "--depth=1", f"file://{whole}", str(tmp_path / "shallow")]
    subprocess.run(clone, check=True)
    with pytest.raises(Trouble, match="has no history"):
        earlier.chosen(tmp_path / "shallow")
    (tmp_path / "none").mkdir()
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    with pytest.raises(Trouble, match="git rev-parse failed"):
        earlier.chosen(tmp_path / "none")


def test_commit_that_is_named_goes_before_all_tags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make upgrade FROM=` names it; one that Git does not know ends in a sentence."""
    monkeypatch.setenv(earlier.VARIABLE, "0" * 40)
    assert earlier.chosen(commits(tmp_path, "v0.1.0", "")) == "0" * 40
    with pytest.raises(Trouble, match="is no commit of this repository"):
        earlier.ensure_checkout("0" * 40)
