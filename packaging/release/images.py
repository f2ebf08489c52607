"""The image of each architecture as an OCI archive, from one Dockerfile; no emulator is needed to build it."""

from __future__ import annotations

import json
import re
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from release.versions import Refused
from testbed import images as testbed_images
from testbed.console import Trouble, step
from testbed.layout import cache_folder
from testbed.operator_image import buildah, ensure_base_known, ensure_wheels, lay_context, own_limits
from testbed.tools import content_hash

if TYPE_CHECKING:
    from collections.abc import Sequence

    from release.artefacts import Plan

_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
_PINNED = re.compile(r"(?m)^ARG BASE=(\S+)$")
DEBIAN = "debian"


def make(plan: Plan, architectures: Sequence[str], base: str | None) -> str:
    """Build the archives `mailtls-1.2.3-linux-amd64.oci.tar`; return the base image that they stand on."""
    chosen = base or pinned_base(plan.source / "Dockerfile")
    for architecture in architectures:
        with step(f"image for {architecture}: building it"), tempfile.TemporaryDirectory(dir=plan.source) as folder:
            try:
                _build(plan, architecture, chosen, Path(folder))
            except Trouble as why:
                raise Refused(_explained(str(why), chosen)) from why
    return chosen


def pinned_base(dockerfile: Path) -> str:
    """Return the base that the Dockerfile names."""
    found = _PINNED.search(dockerfile.read_text(encoding="utf-8"))
    if found is None:
        raise Refused("the Dockerfile names no base: it has no line `ARG BASE=`")
    return found[1]


def _build(plan: Plan, architecture: str, base: str, folder: Path) -> None:
    wheels = ensure_wheels(plan.source / "requirements.lock", _MACHINES[architecture])
    context = lay_context(folder, plan.source, wheels)
    name = f"localhost/mailtls-release:{plan.version}-{architecture}"
    labels = {"version": plan.version, "base.name": base, "url": plan.homepage}
    buildah(
        "build", "--isolation=chroot", *own_limits(), "--no-cache", "--format=oci", f"--timestamp={plan.epoch}",
        f"--platform=linux/{architecture}", f"--build-arg=TARGETPLATFORM=linux/{architecture}",
        f"--build-arg=TARGETARCH={architecture}", f"--build-arg=BUILDPLATFORM=linux/{_own_architecture()}",
        *_bases(base, architecture),
        *[f"--label=org.opencontainers.image.{key}={value}" for key, value in labels.items()],
        f"--tag={name}", str(context),
    )  # fmt: skip
    layout = folder / "layout"
    buildah("push", "--quiet", name, f"oci:{layout}:{plan.version}")
    buildah("rmi", name)
    pack(layout, plan.file(f"mailtls-@-linux-{architecture}.oci.tar"), epoch=plan.epoch)


def _bases(base: str, architecture: str) -> list[str]:
    if base != DEBIAN:
        return [f"--build-arg=BASE={base}", "--pull"]
    ensure_base_known(testbed_images.ensure_base())
    foreign = architecture != _own_architecture()
    target = _foreign_base(architecture) if foreign else testbed_images.BASE
    return ["--pull-never", f"--build-arg=BASE={target}", f"--build-arg=BUILDER={testbed_images.BASE}"]


def _own_architecture() -> str:
    return str(json.loads(buildah("info"))["host"]["arch"])


def _foreign_base(architecture: str) -> str:
    """Debian's packages are set up by their own programs, so this one needs an emulator that the kernel knows."""
    recipe = testbed_images.SOURCES / "debian.json"
    known = json.loads(recipe.read_text(encoding="utf-8"))
    layer = cache_folder() / "images" / f"foreign-{architecture}-{content_hash(recipe)}.tar"
    if not layer.exists():
        left_out = [f"--dpkgopt=path-exclude={path}" for path in known["left_out"]]
        partial = layer.with_suffix(".partial")
        testbed_images.run(
            "mmdebstrap", "--variant=essential", "--quiet", "--format=tar", f"--architectures={architecture}",
            *left_out, f"--include={','.join(known['packages']['base'])}", known["suite"], str(partial),
        )  # fmt: skip
        partial.rename(layer)
    name = f"localhost/mailtls-base-{architecture}:1"
    container = buildah("from", f"--arch={architecture}", "scratch").strip()
    buildah("add", container, str(layer), "/")
    buildah("config", f"--arch={architecture}", "--os=linux", container)
    buildah("commit", "--quiet", "--rm", "--timestamp=0", container, name)
    return name


def pack(layout: Path, target: Path, *, epoch: int) -> None:
    """Write an image layout as an archive whose bytes depend on nothing but the layout and the time."""
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(path for path in layout.rglob("*") if path.is_file()):
            member = tarfile.TarInfo(str(path.relative_to(layout)))
            member.size, member.mtime, member.mode = path.stat().st_size, epoch, 0o644
            with path.open("rb") as content:
                archive.addfile(member, content)


def _explained(why: str, base: str) -> str:
    ways = "BASE=debian makes a base from Debian's packages, ARCHITECTURES= makes no images"
    return f"the image on {base} cannot be built ({ways}): {why}"
