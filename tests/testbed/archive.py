"""Write a container image by hand: a docker-archive of one layer needs no builder and no registry."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# A constant, so that the same content is the same image. Without one, buildah never finds its cached layers again.
_CREATED = "2026-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """What an image is called and what it runs."""

    name: str
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: tuple[str, ...] = field(default=("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",))


def write_archive(spec: ImageSpec, layer: Path, target: Path) -> None:
    """Pack one layer (a tar of the root file system) as an image that containerd and buildah take."""
    digest = _sha256(layer)
    config = json.dumps(
        {
            "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": {"Env": list(spec.environment), "Entrypoint": list(spec.entrypoint), "Cmd": list(spec.command)},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
            "created": _CREATED,
            "history": [{"created": _CREATED, "created_by": "mailtls testbed"}],
        }
    ).encode()
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = [{"Config": config_name, "RepoTags": [spec.name], "Layers": ["layer.tar"]}]
    with tarfile.open(target, "w") as archive:
        archive.add(layer, "layer.tar", recursive=False)
        _add(archive, config_name, config)
        _add(archive, "manifest.json", json.dumps(manifest).encode())


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
