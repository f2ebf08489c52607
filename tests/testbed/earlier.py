"""An earlier version of the project, taken out of Git: what an upgrade begins from."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import tempfile
from contextlib import suppress
from pathlib import Path

from testbed import operator_image
from testbed.console import Trouble
from testbed.layout import cache_folder, project_folder

VARIABLE = "MAILTLS_UPGRADE_FROM"
NONE = (
    f"there is no version to upgrade from: no tag v* lies behind this commit, and {VARIABLE} names no commit "
    "(make upgrade FROM=v0.1.0)"
)
IMAGE = "localhost/mailtls:before"


def chosen(project: Path | None = None) -> str | None:
    """What is upgraded from: the commit that MAILTLS_UPGRADE_FROM names, else the newest release behind this commit.

    None where nothing was released. Raises `Trouble` where Git cannot say so, as in a clone without its history.
    """
    named = os.environ.get(VARIABLE)
    if named:
        return named
    project = project or project_folder()
    if _git(project, "rev-parse", "--is-shallow-repository").strip() == b"true":
        message = "this clone has no history, so that nobody knows what was released: git fetch --unshallow --tags"
        raise Trouble(message)
    tags = ("tag", "--merged=HEAD", "--no-contains=HEAD", "--list", "v*", "--sort=-version:refname")
    found = _git(project, "-c", "versionsort.suffix=-", *tags).decode().split()
    return found[0] if found else None


def ensure_checkout(ref: str) -> Path:
    """A folder with the files of a commit, in the cache."""
    try:
        commit = _git(project_folder(), "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}").decode().strip()
    except Trouble as trouble:
        message = f"{ref} is no commit of this repository: fetch it first, with all tags"
        raise Trouble(message) from trouble
    folder = cache_folder() / "earlier" / commit
    if not folder.exists():
        folder.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".unpacking-") as made:
            with tarfile.open(fileobj=io.BytesIO(_git(project_folder(), "archive", "--format=tar", commit))) as files:
                files.extractall(Path(made) / "files", filter="tar")
            with suppress(OSError):  # another run was faster
                (Path(made) / "files").rename(folder)
    return folder


def ensure_image(checkout: Path) -> Path:
    """The archive of its operator's image, by its own Dockerfile; the image is called `localhost/mailtls:before`."""
    return operator_image.ensure_of(checkout, "before", IMAGE)


def _git(project: Path, *arguments: str) -> bytes:
    done = subprocess.run(["git", *arguments], check=False, capture_output=True, cwd=project)
    if done.returncode != 0:
        message = f"git {arguments[0]} failed: {done.stderr.decode(errors='replace').strip()}"
        raise Trouble(message)
    return done.stdout
