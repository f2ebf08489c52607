"""The one version: where it is written, when its commit was made, and what the changelog says of it."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from pathlib import Path

_IMAGE = re.compile(r"(?:\bmailtls:|newTag: )(\d+\.\d+\.\d+[\w.-]*)")
_MANIFEST_LABEL = re.compile(r'(?:app\.kubernetes\.io/version: |image: "[^"]*:)"?([^"\s]+)"')
_ARCHIVE = re.compile(r"\bmailtls-(\d+\.\d+\.\d+)\b")
_HEADING = re.compile(r"(?m)^## \[([^\]]+)\](?: - (\d{4}-\d\d-\d\d))?$")
UNRELEASED = "Unreleased"


class Refused(Exception):
    """A release that must not be made; the message says why, for the person who makes it."""


def version_of(root: Path) -> str:
    """Read the version from where all other places take it, which is the package."""
    text = (root / "operator/mailtls/__init__.py").read_text(encoding="utf-8")
    found = re.search(r'(?m)^__version__ = "([^"]+)"$', text)
    if found is None:
        raise Refused("operator/mailtls/__init__.py names no __version__")
    return found[1]


def named_versions(root: Path) -> dict[str, set[str]]:
    """Find every version of mailtls that the tree names, by file; all of them are to be one."""
    chart = yaml.safe_load((root / "charts/mailtls/Chart.yaml").read_text(encoding="utf-8"))
    manifest = (root / "deploy/mailtls.yaml").read_text(encoding="utf-8")
    pages = [root / "README.md", *sorted((root / "docs").rglob("*.md")), root / "charts/mailtls/values.yaml"]
    named = {
        "operator/mailtls/__init__.py": {version_of(root)},
        "charts/mailtls/Chart.yaml": {str(chart["version"]), str(chart["appVersion"])},
        "deploy/mailtls.yaml": set(_MANIFEST_LABEL.findall(manifest)),
    }
    for page in pages:
        text = page.read_text(encoding="utf-8")
        if found := {*_IMAGE.findall(text), *_ARCHIVE.findall(text)}:
            named[str(page.relative_to(root))] = found
    released = [name for name, _ in _HEADING.findall((root / "CHANGELOG.md").read_text(encoding="utf-8"))]
    newest = [name for name in released if name != UNRELEASED][:1]
    if newest and UNRELEASED not in released:
        named["CHANGELOG.md"] = set(newest)
    return named


def disagreements(root: Path) -> list[str]:
    """Say for each file that names another version than the package what it names."""
    version = version_of(root)
    return [
        f"{place} names {', '.join(sorted(found))}, and the package is {version}"
        for place, found in named_versions(root).items()
        if found != {version}
    ]


def changelog_section(root: Path, version: str, *, tagged: bool) -> str:
    """Return what the changelog says of a version; before it has a heading of its own, what is unreleased.

    A version that is tagged needs its heading, with a date: `## [1.2.3] - 2030-01-31`.
    """
    text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = list(_HEADING.finditer(text))
    for number, heading in enumerate(headings):
        if heading[1] == version or (heading[1] == UNRELEASED and not tagged):
            if tagged and not heading[2]:
                raise Refused(f"CHANGELOG.md gives no date for {version}: write `## [{version}] - YYYY-MM-DD`")
            end = headings[number + 1].start() if number + 1 < len(headings) else len(text)
            return text[heading.start() : end].strip() + "\n"
    raise Refused(f"CHANGELOG.md has no heading `## [{version}] - YYYY-MM-DD`")


def epoch_of(root: Path) -> int:
    """Return the time that all files of the release carry: `SOURCE_DATE_EPOCH`, else that of the commit; seconds."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    return int(given) if given else int(git(root, "log", "-1", "--format=%ct"))


def git(root: Path, *arguments: str) -> str:
    """Run Git in the tree and return what it prints; a folder that Git does not know is refused."""
    done = subprocess.run(["git", "-C", str(root), *arguments], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise Refused(f"git {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()
