"""Whether this machine can run containers, and the Debian packages that it takes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from testbed.console import Trouble, step

# What a package is known by, and its name.
_PROGRAMS = {
    "containerd": "containerd",
    "runc": "runc",
    "mmdebstrap": "mmdebstrap",
    "buildah": "buildah",
    "named": "bind9",
    "rndc": "bind9-utils",
    "dig": "bind9-dnsutils",
    "nsupdate": "bind9-dnsutils",
    "nft": "nftables",
    "ip": "iproute2",
    "sysctl": "procps",
    "nsenter": "util-linux",
    "mount": "mount",
    "gcc": "gcc",
}
_FILES = {
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
    "/usr/include/stdlib.h": "libc6-dev",
    "/etc/ssl/certs/ca-certificates.crt": "ca-certificates",
}
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


def obstacle() -> str | None:
    """Why this machine cannot run the cluster, in one sentence; None when it can."""
    if sys.platform != "linux":
        return f"the cluster needs Linux, and this is {sys.platform}"
    if os.geteuid() != 0:
        return "the cluster needs root (network namespaces, mounts, cgroups), and this is not root"
    if not _can_unshare():
        return "the cluster needs network namespaces, and this machine does not let us make one"
    if not os.access("/sys/fs/cgroup", os.W_OK) or not _can_make_cgroup():
        return "the cluster needs to make cgroups, and /sys/fs/cgroup is read-only here"
    if _missing() and shutil.which("apt-get") is None:
        return f"the cluster needs {', '.join(_missing())}, and there is no apt-get to install them with"
    return None


def require() -> None:
    """Stop with the obstacle, if there is one."""
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:{_SBIN}"
    if (sentence := obstacle()) is not None:
        raise Trouble(sentence)


def ensure_packages() -> None:
    """Install the Debian packages that are missing."""
    missing = _missing()
    if not missing:
        return
    with step(f"Debian packages: installing {', '.join(missing)}"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *missing]):
            done = subprocess.run(
                ["apt-get", "-qq", *arguments], check=False, capture_output=True, text=True, env=environment
            )
        if done.returncode != 0:
            message = f"apt-get could not install {', '.join(missing)}: {done.stderr.strip()[-500:]}"
            raise Trouble(message)


def _missing() -> list[str]:
    path = f"{os.environ.get('PATH', os.defpath)}:{_SBIN}"
    packages = {package for program, package in _PROGRAMS.items() if shutil.which(program, path=path) is None}
    packages |= {package for file, package in _FILES.items() if not Path(file).exists()}
    if not any(Path(folder, "ptp").exists() for folder in ("/usr/lib/cni", "/opt/cni/bin")):
        packages.add("containernetworking-plugins")
    return sorted(packages)


def _can_unshare() -> bool:
    return subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True).returncode == 0


def _can_make_cgroup() -> bool:
    root = Path("/sys/fs/cgroup")
    group = (root if (root / "cgroup.controllers").exists() else root / "memory") / f"mailtls-try-{os.getpid()}"
    try:
        group.mkdir()
        group.rmdir()
    except OSError:
        return False
    return True
