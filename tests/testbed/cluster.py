"""Bring the cluster up, take it down, and leave nothing behind."""

from __future__ import annotations

import fcntl
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from testbed import cgroups, containers, controlplane, network, processes
from testbed.console import say, step
from testbed.images import run
from testbed.layout import NODE_ADDRESS, cache_folder
from testbed.pebble import Pebble
from testbed.tools import Tools
from testbed.zones import NameServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from testbed.layout import Layout

# The API server before etcd: without its store it hangs. Pebble and BIND wait for nobody.
_STOPPING_ORDER = ("kube-proxy", "kube-scheduler", "kube-controller-manager", "containerd", "kube-apiserver", "etcd")


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster on this machine, up or down."""

    layout: Layout

    @property
    def tools(self) -> Tools:
        """The programs that it was started with."""
        return Tools(self.layout.bin)

    @property
    def is_up(self) -> bool:
        """Whether it came up whole and every part still runs."""
        parts = (*_STOPPING_ORDER, "kubelet", "named")
        return self._marker.exists() and all(processes.is_alive(self.layout, part) for part in parts)

    @property
    def recipe(self) -> str | None:
        """What the programs and images of the running cluster were made from."""
        return self._marker.read_text(encoding="utf-8") if self._marker.exists() else None

    def up(self, tools: Tools, images: Sequence[Path], *, recipe: str = "") -> None:
        """Start everything; whatever an earlier run left goes first. One that somebody just started is kept."""
        with self._locked():
            if self.is_up:
                return
            self._take_down()
            with step(f"cluster {self.layout.name}: starting"):
                self._start(tools, images)
            self._marker.write_text(recipe, encoding="utf-8")

    def down(self) -> None:
        """End every process, unmount, and delete the namespace, the link, the groups and the work folder."""
        with self._locked(), step(f"cluster {self.layout.name}: taking it down"):
            self._take_down()

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl and give what it prints."""
        return controlplane.patient_kubectl(self.layout, self.tools, *arguments, stdin=stdin)

    def helm(self, *arguments: str) -> str:
        """Run Helm in the namespace and give what it prints."""
        command = [self.tools.path("helm"), f"--kubeconfig={self.layout.kubeconfig}", *arguments]
        return run(*processes.inside(self.layout, command))

    def restart_apiserver(self, *, down_for: float = 0.0) -> None:
        """Stop the API server, leave it so for a while, start it again and wait until it is ready."""
        with self._locked():  # else another test run would take the cluster for a dead one and start it anew
            processes.stop(self.layout, "kube-apiserver", grace=2.0)
            time.sleep(down_for)
            controlplane.start_apiserver(self.layout, self.tools)
            controlplane.await_apiserver(self.layout, self.tools)

    @property
    def _marker(self) -> Path:
        return self.layout.work / "up"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        folder = cache_folder() / "locks"
        folder.mkdir(exist_ok=True)
        with (folder / self.layout.name).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _start(self, tools: Tools, images: Sequence[Path]) -> None:
        layout = self.layout
        layout.logs.mkdir(parents=True)
        shutil.copytree(tools.folder, layout.bin, symlinks=True, copy_function=_link_or_copy)
        cgroups.create(layout)
        address = network.create(layout)
        own = self.tools
        controlplane.start_etcd(layout, own)
        containers.start(layout)
        identities = controlplane.Identities.make(layout, address)
        hosts = (NODE_ADDRESS, address, "127.0.0.1", "localhost", "pebble")
        identities.authority.issue("pebble", "pebble", hosts=hosts)
        controlplane.start_apiserver(layout, own)
        with ThreadPoolExecutor(max_workers=2) as pool:
            imports = pool.submit(self._import, images)
            names = NameServer(layout)
            names.start()
            controlplane.await_apiserver(layout, own)
            controlplane.start_controllers(layout, own)
            names.await_ready()
            names.publish_service("default", "kubernetes", "10.96.0.1")
            Pebble.launch(layout, port=14000)
            containers.await_ready(layout)
            controlplane.start_node(layout, own)
            imports.result()
        controlplane.await_node(layout, own)

    def _import(self, images: Sequence[Path]) -> None:
        containers.await_ready(self.layout)
        for image in images:
            containers.import_image(self.layout, image)

    def _take_down(self) -> None:
        """Also the way to begin: every part of it finds nothing to do on a clean machine."""
        layout = self.layout
        self._marker.unlink(missing_ok=True)
        processes.stop(layout, "kubelet")
        containers.stop_containers(layout)
        others = [name for name in processes.names(layout) if name not in _STOPPING_ORDER]
        for name in (*others, *_STOPPING_ORDER):
            processes.stop(layout, name, grace=3.0)
        cgroups.kill_members(layout)
        containers.unmount_below(layout.work)
        network.delete(layout)
        cgroups.remove(layout)
        if layout.work.exists():
            shutil.rmtree(layout.work, ignore_errors=True)
            if layout.work.exists():
                say(f"something is left in {layout.work}")


def _link_or_copy(source: str, target: str) -> str:
    """A hard link costs nothing; another file system gets a copy."""
    try:
        Path(target).hardlink_to(source)
    except OSError:
        shutil.copy2(source, target)
    return target
