"""The images that pods run: `pause`, `postfix` and the base of the operator, each made once by content.

Debian packages make them (mmdebstrap), so no container registry is asked. `operator_image` builds the operator.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from testbed import tools
from testbed.archive import ImageSpec, write_archive
from testbed.console import Trouble, step
from testbed.kubernetes import MODULE
from testbed.layout import cache_folder
from testbed.tools import content_hash

if TYPE_CHECKING:
    from collections.abc import Callable

PAUSE = "localhost/pause:1"
POSTFIX = "localhost/postfix:1"
BASE = "localhost/mailtls-base:1"
PEBBLE = "localhost/pebble:1"
_KEPT = 3

SOURCES = Path(__file__).parent / "image"
_RECIPE = SOURCES / "debian.json"
_PACKING = Path(__file__).with_name("archive.py")


def ensure_pause() -> Path:
    """The image that holds a pod's namespaces open."""
    source = SOURCES / "pause"
    return cached(f"pause-{content_hash(source, _PACKING)}", lambda folder: _make_pause(source, folder))


def ensure_postfix() -> Path:
    """A Postfix that serves a mounted Secret on ports 25, 465 and 587; Dovecot is there too, for pods that start it."""
    source = SOURCES / "postfix"
    return cached(f"postfix-{content_hash(source, _RECIPE, _PACKING)}", lambda folder: _make_postfix(source, folder))


def ensure_pebble() -> Path:
    """The ACME server alone, for a cluster that is not the testbed's."""
    return cached(f"pebble-{content_hash(MODULE, _PACKING)}", _make_pebble)


def ensure_base() -> Path:
    """Debian with Python 3.13 and pip: stands in for python:3.13-slim where no registry is at hand."""
    return cached(f"base-{content_hash(_RECIPE, _PACKING)}", _make_base)


def cached(name: str, make: Callable[[Path], Path]) -> Path:
    """The archive of this name; made beside its place and renamed when whole, by one process at a time."""
    folder = cache_folder() / "images"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name}.tar"
    kind = name.partition("-")[0]
    with (folder / f"{kind}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            with step(f"image {kind}: making it"), tempfile.TemporaryDirectory(dir=folder, prefix=".making-") as made:
                make(Path(made)).rename(target)
                _forget_older(folder, kind)
    return target


def _forget_older(folder: Path, kind: str) -> None:
    """Keep the newest few of a kind: a day of changes to the operator would be gigabytes."""
    archives = sorted(folder.glob(f"{kind}-*.tar"), key=lambda archive: archive.stat().st_mtime)
    for archive in archives[:-_KEPT]:
        archive.unlink()


def _make_pause(source: Path, folder: Path) -> Path:
    program = folder / "pause"
    run("gcc", "-static", "-Os", "-s", "-o", str(program), str(source / "pause.c"))
    with tarfile.open(folder / "layer.tar", "w") as layer:
        layer.add(program, "pause")
    return _pack(ImageSpec(PAUSE, entrypoint=("/pause",)), folder)


def _make_pebble(folder: Path) -> Path:
    tools.build_static(tools.PEBBLE, folder / "pebble")
    with tarfile.open(folder / "layer.tar", "w") as layer:
        layer.add(folder / "pebble", "pebble")
    return _pack(ImageSpec(PEBBLE, entrypoint=("/pebble",)), folder)


def _make_postfix(source: Path, folder: Path) -> Path:
    _debootstrap("postfix", folder, f'--customize-hook={source / "setup"} "$1"')
    return _pack(ImageSpec(POSTFIX, entrypoint=("/usr/local/bin/postfix-start",)), folder)


def _make_base(folder: Path) -> Path:
    _debootstrap("base", folder)
    return _pack(ImageSpec(BASE, command=("python3",)), folder)


def _debootstrap(image: str, folder: Path, *options: str) -> None:
    """Install an image's packages, without what no pod reads: it halves the image."""
    recipe = json.loads(_RECIPE.read_text(encoding="utf-8"))
    left_out = [f"--dpkgopt=path-exclude={path}" for path in recipe["left_out"]]
    run(
        "mmdebstrap", "--variant=essential", "--quiet", *left_out, f"--include={','.join(recipe['packages'][image])}",
        *options, recipe["suite"], str(folder / "layer.tar"),
    )  # fmt: skip


def _pack(spec: ImageSpec, folder: Path) -> Path:
    write_archive(spec, folder / "layer.tar", folder / "image.tar")
    return folder / "image.tar"


def run(*command: str, cwd: Path | None = None) -> str:
    """Run a program; its failure is told with the end of what it printed."""
    if shutil.which(command[0]) is None:
        message = f"{command[0]} is not installed"
        raise Trouble(message)
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=cwd)
    if done.returncode != 0:
        message = f"{command[0]} failed: {(done.stderr or done.stdout).strip()[-2000:]}"
        raise Trouble(message)
    return done.stdout
