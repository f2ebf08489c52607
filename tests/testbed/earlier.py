"""An earlier version of the project, taken out of Git: what an upgrade begins from."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING

from testbed import operator_image
from testbed.console import Trouble
from testbed.layout import cache_folder, project_folder

if TYPE_CHECKING:
    from pathlib import Path

VARIABLE = "MAILTLS_UPGRADE_FROM"
NONE = (
    f"there is no version to upgrade from: no tag v* lies behind this commit, and {VARIABLE} names no commit "
    "(make upgrade FROM=v0.1.0)"
)
IMAGE = "localhost/mailtls:before"


def chosen(project: Path | None = None) -> str | None:
    """What is upgraded from: the commit that MAILTLS_UPGRADE_FROM names, else the newest release behind this commit."""
    named = os.environ.get(VARIABLE)
    if named:
        return named
    try:
        found = _git(project or project_folder(), "describe", "--tags", "--abbrev=0", "--match=v*", "HEAD^")
    except (FileNotFoundError, Trouble):
        return None
    return found.decode().strip()


def ensure_checkout(ref: str) -> Path:
    """A folder with the files of a commit, in the cache."""
    try:
        commit = _git(project_folder(), "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}").decode().strip()
    except Trouble as trouble:
        message = f"{ref} is no commit of this repository: fetch it first, with all tags"
        raise Trouble(message) from trouble
    folder = cache_folder() / "earlier" / commit
    if not folder.exists():
        partial = folder.with_name(f".{commit}-{os.getpid()}")
        with tarfile.open(fileobj=io.BytesIO(_git(project_folder(), "archive", "--format=tar", commit))) as files:
            files.extractall(partial, filter="tar")
        partial.rename(folder)
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
