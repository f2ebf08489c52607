"""Build Kubernetes, Helm and Pebble once; keep them under the cache by the content of what pins them."""

from __future__ import annotations

import fcntl
import hashlib
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from testbed import kubernetes
from testbed.console import step
from testbed.golang import go_build
from testbed.kubernetes import MODULE, Release
from testbed.layout import cache_folder

KUBERNETES_PARTS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
)
HELM = "helm.sh/helm/v4/cmd/helm"
PEBBLE = "github.com/letsencrypt/pebble/v2/cmd/pebble"


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
    folder = _folder(kubernetes.chosen())
    return Tools(folder) if folder.exists() else None


def ensure_tools() -> Tools:
    """The programs; built first if they are not. Of callers at the same time one builds and the others wait."""
    release = kubernetes.chosen()
    if (tools := built()) is not None:
        return tools  # nobody waits for a build of another version
    with (cache_folder() / "tools.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (tools := built()) is None:
            with step(f"Go: building Kubernetes {release.version}, Helm and Pebble (once)"):
                tools = _build(release)
    return tools


def _folder(release: Release) -> Path:
    return cache_folder() / "tools" / content_hash(*release.sources)


def _build(release: Release) -> Tools:
    """Build beside the target and rename: there is never half of it."""
    target = _folder(release)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".building-") as name:
        folder = Path(name) / "bin"
        folder.mkdir()
        _compile(release, folder)
        for part in KUBERNETES_PARTS:
            (folder / part).symlink_to("kubernetes")
        folder.rename(target)
    return Tools(target)


def _compile(release: Release, folder: Path) -> None:
    """Build all at once where one module has all: so nothing that two programs share is compiled twice."""
    stamp = " ".join(f"-X k8s.io/component-base/version.{key}={value}" for key, value in release.stamp.items())
    arguments = (f"-ldflags=-s -w {stamp}", f"-o={folder}/")
    if release.is_newest:
        go_build(MODULE, *arguments, *release.program, HELM, PEBBLE)
    else:
        go_build(MODULE, *arguments, *release.program)
        go_build(MODULE, *arguments, HELM, PEBBLE)


def build_static(package: str, target: Path) -> None:
    """Build one program that needs no library: it runs in an image with nothing else in it."""
    go_build(MODULE, "-ldflags=-s -w", f"-o={target}", package, CGO_ENABLED="0")


if __name__ == "__main__":
    print(ensure_tools().folder, file=sys.stdout)
