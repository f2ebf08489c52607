"""A copy of what Git knows of the tree, so that nothing else that lies about gets into a release."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import tarfile
from typing import TYPE_CHECKING

from release.versions import git

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_DEFAULT_REPOSITORY = "  repository: localhost/mailtls\n"
_VALUES = "charts/mailtls/values.yaml"


def copy_source(root: Path, target: Path, *, repository: str) -> None:
    """Copy the files that Git lists, as they are now; the chart names the image of this release as its default."""
    for name in git(root, "ls-files", "-z").split("\0"):
        source = root / name
        if name and (source.is_symlink() or source.exists()):
            place = target / name
            place.parent.mkdir(parents=True, exist_ok=True)
            _copy(source, place)
    values = target / _VALUES
    text = values.read_text(encoding="utf-8")
    values.write_text(text.replace(_DEFAULT_REPOSITORY, f"  repository: {repository}\n", 1), encoding="utf-8")


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
