"""Where a cluster keeps what it has: every path and address in one place."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

NODE_ADDRESS = "198.18.0.1"
NODE_NAME = "node1"
POD_RANGE = "198.18.1.0/24"
SERVICE_RANGE = "10.96.0.0/16"
DEFAULT_NAME = "mailtls"
KUBERNETES = "MAILTLS_KUBERNETES"  # the variable that names another minor version than the newest, as 1.36
# Names of links hold 15 characters, and ours end in "-host".
_NAME = re.compile(r"[a-z][a-z0-9-]{0,9}")
_LONGEST_SOCKET_PATH = 107


def cache_folder() -> Path:
    """The folder of everything that is built once: `${XDG_CACHE_HOME:-~/.cache}/mailtls`."""
    root = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(root).expanduser() / "mailtls"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def chosen_name() -> str:
    """The cluster's name: the one that MAILTLS_TESTBED says, else one for each Kubernetes that is asked for."""
    version = os.environ.get(KUBERNETES, "").replace(".", "")
    return os.environ.get("MAILTLS_TESTBED") or f"{DEFAULT_NAME}{version}"


def project_folder() -> Path:
    """The top of the checkout."""
    return Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths and names of one cluster; two clusters share none of them."""

    name: str
    work: Path

    @classmethod
    def of(cls, name: str = "", work: Path | None = None) -> Layout:
        """Check the name, the chosen one unless another is given, and settle where the cluster's work folder is."""
        name = name or chosen_name()
        if not _NAME.fullmatch(name):
            message = f"a cluster's name is up to ten of a-z, 0-9 and '-', beginning with a letter: {name!r} is not"
            raise ValueError(message)
        layout = cls(name, (work or cache_folder() / "clusters" / name).resolve())
        if len(str(layout.work / "kubelet/device-plugins/kubelet.sock")) > _LONGEST_SOCKET_PATH:
            message = (
                f"{layout.work} is too long: names of sockets below it would pass {_LONGEST_SOCKET_PATH} characters"
            )
            raise ValueError(message)
        return layout

    @property
    def namespace(self) -> Path:
        """The network namespace that everything of the cluster lives in."""
        return Path("/run/netns") / self.name

    @property
    def host_link(self) -> str:
        """The host's end of the cable into the namespace."""
        return f"{self.name}-host"

    @property
    def cgroup(self) -> str:
        """The cgroup of every process of the cluster, pods included."""
        return f"mailtls-{self.name}"

    @property
    def records(self) -> Path:
        """One file for each process that was started: its id and when it began."""
        return self.work / "processes"

    @property
    def logs(self) -> Path:
        """One log for each process."""
        return self.work / "logs"

    @property
    def pki(self) -> Path:
        """The cluster's certificate authority and what it signed."""
        return self.work / "pki"

    @property
    def authority(self) -> Path:
        """The CA behind the API server's and Pebble's HTTPS."""
        return self.pki / "ca.crt"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's; it works inside the namespace and on the host."""
        return self.work / "kubeconfig"

    @property
    def containerd_socket(self) -> Path:
        """Where containerd listens."""
        return self.work / "containerd.sock"

    @property
    def audit_log(self) -> Path:
        """What the API server was asked, by whom."""
        return self.logs / "audit.jsonl"

    @property
    def dns(self) -> Path:
        """BIND's configuration, keys and zones."""
        return self.work / "dns"

    @property
    def pebbles(self) -> Path:
        """One folder for each Pebble."""
        return self.work / "pebble"

    @property
    def bin(self) -> Path:
        """The programs that this cluster was started with."""
        return self.work / "bin"
