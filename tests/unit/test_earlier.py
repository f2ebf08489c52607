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
        (("", ""), None),
        ((), None),
    ],
)
def test_release_behind_the_commit_is_upgraded_from(
    tags: tuple[str, ...], before: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest tag v* that is not at the commit itself; none where nothing was released."""
    monkeypatch.delenv(earlier.VARIABLE, raising=False)
    assert earlier.chosen(commits(tmp_path, *tags)) == before


def test_commit_that_is_named_goes_before_all_tags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make upgrade FROM=` names it; one that Git does not know ends in a sentence."""
    monkeypatch.setenv(earlier.VARIABLE, "0" * 40)
    assert earlier.chosen(commits(tmp_path, "v0.1.0", "")) == "0" * 40
    with pytest.raises(Trouble, match="is no commit of this repository"):
        earlier.ensure_checkout("0" * 40)
