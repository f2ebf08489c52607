"""A copy of what Git knows of the tree, so that nothing else that lies about gets into a release."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import tarfile
from typing import TYPE_CHECKING

from release.versions import Refused, git

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_DEFAULT_REPOSITORY = "  repository: localhost/mailtls\n"
_VALUES, _CHART = "charts/mailtls/values.yaml", "charts/mailtls/Chart.yaml"


def copy_source(root: Path, target: Path) -> None:
    """Copy the files that Git lists, as they are now."""
    for name in git(root, "ls-files", "-z").split("\0"):
        source = root / name
        if name and (source.is_symlink() or source.exists()):
            place = target / name
            place.parent.mkdir(parents=True, exist_ok=True)
            _copy(source, place)


def name_image(source: Path, *, repository: str, version: str, homepage: str) -> None:
    """Let the chart of a copy take the image of this release by default, and say to Artifact Hub where both are."""
    _replace(source / _VALUES, _DEFAULT_REPOSITORY, f"  repository: {repository}\n")
    listed = f"    - {{name: mailtls, image: {repository}:{version}, platforms: [linux/amd64, linux/arm64]}}\n"
    lines = f"home: {homepage}\nannotations:\n  artifacthub.io/images: |\n{listed}"
    _replace(source / _CHART, "annotations:\n", lines)


def _replace(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    if text.count(old) != 1:
        raise Refused(f"{file.name} has not one line {old.strip()!r}")
    file.write_text(text.replace(old, new), encoding="utf-8")


def _copy(source: Path, place: Path) -> None:
    if source.is_symlink():
        place.symlink_to(source.readlink())
        return
    shutil.copyfile(source, place)
    place.chmod(0o755 if os.access(source, os.X_OK) else 0o644)


def write_tar(target: Path, files: Mapping[str, bytes], *, epoch: int, programs: frozenset[str] = frozenset()) -> None:
    """Write a .tar.gz whose bytes depend on nothing but its files and the time."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(files):
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(files[name]), epoch
            member.mode = 0o755 if name in programs else 0o644
            archive.addfile(member, io.BytesIO(files[name]))
    target.write_bytes(gzip.compress(packed.getvalue(), mtime=epoch))


def read_tar(archive: Path) -> dict[str, bytes]:
    """Read the files of a tar archive."""
    found = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            content = tar.extractfile(member)
            if content is not None:
                found[member.name] = content.read()
    return found
