"""The operator's image, built from the project's own Dockerfile on a base that no registry has to give.

The context is a folder of its own: the Dockerfile, the lock, the package, and the wheels that the lock names, fetched
by the host's pip. So the build asks no network, and a change of code rebuilds only the last layer.
"""

from __future__ import annotations

import os
import platform
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from testbed import images
from testbed.console import Trouble, step
from testbed.layout import cache_folder, project_folder
from testbed.tools import content_hash

if TYPE_CHECKING:
    from testbed.layout import Layout

NAME = "localhost/mailtls:dev"
_PYTHON = "3.13"  # of the base image
_PLATFORMS = ("manylinux_2_39", "manylinux_2_34", "manylinux_2_28", "manylinux_2_17", "manylinux2014")


def ensure() -> Path:
    """The image's archive for the code as it is now."""
    return ensure_of(project_folder(), "operator", NAME)


def ensure_of(project: Path, kind: str, name: str) -> Path:
    """The archive of an image of this name, by the Dockerfile, the lock and the package of any checkout."""
    package, lock, recipe = project / "operator" / "mailtls", project / "requirements.lock", project / "Dockerfile"
    base = images.ensure_base()
    wheels = ensure_wheels(lock)
    made = f"{kind}-{content_hash(package, lock, recipe, base)}"
    return images.cached(made, lambda folder: _build(folder, project, wheels, name))


def is_news(layout: Layout, archive: Path) -> bool:
    """Whether the running cluster has another build of the operator than this one."""
    note = layout.work / "operator-image"
    return not note.exists() or note.read_text(encoding="utf-8") != archive.name


def remember(layout: Layout, archive: Path) -> None:
    """Write down which build of the operator the cluster has."""
    (layout.work / "operator-image").write_text(archive.name, encoding="utf-8")


def _build(folder: Path, project: Path, wheels: Path, name: str) -> Path:
    context = lay_context(folder, project, wheels)
    ensure_base_known(images.ensure_base())
    buildah(
        "build", "--isolation=chroot", *own_limits(), "--pull-never", "--layers", "--format=docker",
        f"--build-arg=BASE={images.BASE}", f"--build-arg=TARGETARCH={platform.machine()}", f"--tag={name}",
        str(context),
    )  # fmt: skip
    archive = folder / "image.tar"
    buildah("push", "--quiet", name, f"docker-archive:{archive}:{name}")
    return archive


def lay_context(folder: Path, project: Path, wheels: Path) -> Path:
    """Lay out what the Dockerfile takes, and nothing else, in a folder in this one."""
    context = folder / "context"
    context.mkdir()
    for name in ("Dockerfile", "requirements.lock"):
        shutil.copy2(project / name, context / name)
    shutil.copytree(project / "operator", context / "operator", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(wheels, context / "wheels")
    return context


def own_limits() -> list[str]:
    """Keep the limits as they are: newer buildahs would raise them, which not every machine allows even root.

    Older ones first lower the number of processes to the kernel's greatest process id, and so cannot go back above it.
    """
    most = int(Path("/proc/sys/kernel/pid_max").read_text(encoding="ascii"))
    files, processes = resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(resource.RLIMIT_NPROC)
    fitting = [most if limit == resource.RLIM_INFINITY else min(limit, most) for limit in processes]
    return ["--ulimit=nofile={}:{}".format(*files), "--ulimit=nproc={}:{}".format(*fitting)]


def ensure_base_known(base: Path) -> None:
    """Load the base into the builder's own storage, once for each content."""
    note = _storage() / f"loaded-{base.stem}"
    if not note.exists():
        buildah("pull", "--quiet", f"docker-archive:{base}")
        note.touch()


def ensure_wheels(lock: Path, machine: str = platform.machine()) -> Path:
    """A folder of the wheels that the lock names, for the image's Python on a kind of machine (`x86_64`)."""
    folder = cache_folder() / "wheels" / f"{content_hash(lock)}-{machine}"
    if not folder.exists():
        partial = folder.with_name(f".{folder.name}-{os.getpid()}")
        with step(f"image operator: fetching its Python packages for {machine}"):
            _download(lock, partial, machine)
        partial.rename(folder)
    return folder


def _download(lock: Path, folder: Path, machine: str) -> None:
    tags = [f"--platform={name}_{machine}" for name in _PLATFORMS]
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--require-hashes", "--only-binary=:all:", "--no-deps",
        f"--python-version={_PYTHON}", "--implementation=cp", *tags, f"--dest={folder}", f"--requirement={lock}",
    ]  # fmt: skip
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        message = f"pip could not fetch the operator's packages: {done.stderr.strip()[-1000:]}"
        raise Trouble(message)


def _storage() -> Path:
    folder = cache_folder() / "buildah"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def buildah(command: str, *arguments: str) -> str:
    """Run the builder with a storage of its own; return what it prints."""
    storage = _storage()
    return images.run("buildah", f"--root={storage}/root", f"--runroot={storage}/run", command, *arguments)
