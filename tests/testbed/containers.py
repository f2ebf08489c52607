"""containerd: its own root, state and socket, the images it knows, and the end of what it ran."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from testbed import processes
from testbed.console import Trouble
from testbed.layout import POD_RANGE

if TYPE_CHECKING:
    from testbed.layout import Layout

# netns_mounts_under_state_dir keeps the pods' namespaces below our folder: nothing of ours in /run/netns but one.
# restrict_oom_score_adj: else runc fails with "can't get final child's PID from pipe" where it may not lower it.
_CONFIG = """\
version = 2
root = "{work}/containerd/root"
state = "{work}/containerd/state"
[grpc]
  address = "{socket}"
[ttrpc]
  address = "{socket}.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
  path = "{work}/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  sandbox_image = "localhost/pause:1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{work}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
"""
_PLUGIN_FOLDERS = ("/usr/lib/cni", "/opt/cni/bin")


def start(layout: Layout) -> None:
    """Write the configuration and start containerd; `await_ready` follows."""
    (layout.work / "cni").mkdir(parents=True, exist_ok=True)
    (layout.work / "cni" / "10-pods.conflist").write_text(json.dumps(_pod_network(layout)), encoding="utf-8")
    config = layout.work / "containerd.toml"
    plugins = next((folder for folder in _PLUGIN_FOLDERS if Path(folder, "bridge").exists()), _PLUGIN_FOLDERS[0])
    config.write_text(
        _CONFIG.format(work=layout.work, socket=layout.containerd_socket, plugins=plugins), encoding="utf-8"
    )
    processes.start(layout, "containerd", ["containerd", f"--config={config}"])


def await_ready(layout: Layout, *, within: float = 120.0) -> None:
    """Wait until containerd answers."""
    deadline = time.monotonic() + within
    while _ctr(layout, "version").returncode != 0:
        if time.monotonic() > deadline or not processes.is_alive(layout, "containerd"):
            message = f"containerd does not come up; see {layout.logs}/containerd.log"
            raise Trouble(message)
        time.sleep(0.05)


def import_image(layout: Layout, archive: Path) -> None:
    """Make an image known to the kubelet; the archive says by which name.

    One at a time: of two tests that begin together, containerd would tell the later that the name exists already.
    """
    with (layout.work / "import.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = _ctr(layout, "images", "import", str(archive))
    if done.returncode != 0:
        message = f"containerd does not take {archive}: {done.stderr.strip()}"
        raise Trouble(message)


def stop_containers(layout: Layout) -> None:
    """Kill the tasks of all containers and delete them, so that their shims end."""
    if not processes.is_alive(layout, "containerd"):
        return
    tasks = _ctr(layout, "tasks", "list", "--quiet").stdout.split()
    for task in tasks:
        _ctr(layout, "tasks", "kill", "--all", "--signal", "SIGKILL", task)
    for task in tasks:
        _ctr(layout, "tasks", "delete", "--force", task)


def unmount_below(folder: Path) -> None:
    """Unmount whatever is mounted below a folder, innermost first."""
    prefix = f"{folder}{os.sep}"
    for mount in sorted(_mount_points(prefix), key=len, reverse=True):
        subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)


def _mount_points(prefix: str) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    points = (line.split()[4].encode().decode("unicode_escape") for line in lines)
    return [point for point in points if point.startswith(prefix)]


def _ctr(layout: Layout, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["ctr", f"--address={layout.containerd_socket}", "--namespace=k8s.io", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def _pod_network(layout: Layout) -> dict[str, object]:
    """Every pod hangs on its own cable to the node.

    Not on a bridge: there a reply between two pods would go straight back, past the translation of the Service's
    address, unless the kernel has br_netfilter; routed, it always comes through the node.
    """
    addresses = {
        "type": "host-local",
        "dataDir": f"{layout.work}/pod-addresses",
        "ranges": [[{"subnet": POD_RANGE}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    return {
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [
            {"type": "ptp", "ipMasq": False, "ipam": addresses},
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }
