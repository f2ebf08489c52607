"""Whether this machine can run containers, and the Debian packages that it takes."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from testbed import cgroups
from testbed.console import Trouble, step
from testbed.layout import cache_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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
# What only tests run.
_OF_TESTS = {
    "promtool": "prometheus",
    "prometheus": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "postfix": "postfix",
    "dovecot": "dovecot-core",
    "certbot": "certbot",
    "curl": "curl",
    "chromium": "chromium",
    "w3m": "w3m",
}
_FILES = {
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
    "/usr/include/stdlib.h": "libc6-dev",
    "/usr/lib/podman/netavark": "netavark",  # newer buildahs will not start without, whatever network is asked for
    "/etc/ssl/certs/ca-certificates.crt": "ca-certificates",
}
_FILES_OF_TESTS = {
    "/usr/lib/dovecot/imap-login": "dovecot-imapd",
    "/usr/lib/dovecot/pop3-login": "dovecot-pop3d",
    "/usr/lib/dovecot/lmtp": "dovecot-lmtpd",
    "/usr/lib/dovecot/managesieve-login": "dovecot-managesieved",
}
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


def obstacle() -> str | None:
    """Why this machine cannot run the cluster, in one sentence; None when it can."""
    return next((sentence for check in _CHECKS if (sentence := check()) is not None), None)


def _is_no_linux() -> str | None:
    return None if sys.platform == "linux" else f"the cluster needs Linux, and this is {sys.platform}"


def _is_not_root() -> str | None:
    if os.geteuid() == 0:
        return None
    return "the cluster needs root (network namespaces, mounts, cgroups), and this is not root"


def _makes_no_namespaces() -> str | None:
    if subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True).returncode == 0:
        return None
    return "the cluster needs network namespaces, and this machine does not let us make one"


def _makes_no_cgroups() -> str | None:
    root = Path("/sys/fs/cgroup")
    group = (root if (root / "cgroup.controllers").exists() else root / "memory") / f"mailtls-try-{os.getpid()}"
    try:
        group.mkdir()
        group.rmdir()
    except OSError:
        return "the cluster needs to make cgroups, and this machine does not let us make one"
    return None


def _keeps_controllers_back() -> str | None:
    missing = cgroups.missing_controllers()
    if not missing:
        return None
    return f"the cluster needs the cgroup controllers {', '.join(missing)}, and this machine does not pass them on"


def _has_no_kernel_log() -> str | None:
    return None if Path("/dev/kmsg").exists() else "the cluster's kubelet needs /dev/kmsg, and there is none here"


def _has_no_packages() -> str | None:
    missing = _missing()
    if not missing or shutil.which("apt-get") is not None:
        return None
    return f"the cluster needs {', '.join(missing)}, and there is no apt-get to install them with"


_CHECKS = (
    _is_no_linux,
    _is_not_root,
    _makes_no_namespaces,
    _makes_no_cgroups,
    _keeps_controllers_back,
    _has_no_kernel_log,
    _has_no_packages,
)


def require() -> None:
    """Stop with the obstacle, if there is one."""
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:{_SBIN}"
    if (sentence := obstacle()) is not None:
        raise Trouble(sentence)


def ensure_packages(*, for_tests: bool = False, more: Mapping[str, str] = MappingProxyType({})) -> None:
    """Install the Debian packages that are missing, by one process at a time; `more` maps programs to packages."""
    with (cache_folder() / "packages.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        programs = {**_PROGRAMS, **(_OF_TESTS if for_tests else {}), **more}
        missing = _missing(programs, {**_FILES, **_FILES_OF_TESTS} if for_tests else _FILES)
        if missing:
            with step(f"Debian packages: installing {', '.join(missing)}"), _without_starting_services():
                _install(missing)


def _install(packages: list[str]) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        done = subprocess.run([*command, *arguments], check=False, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        message = f"apt-get could not install {', '.join(packages)}: {done.stderr.strip()[-500:]}"
        raise Trouble(message)


@contextmanager
def _without_starting_services() -> Iterator[None]:
    """Tell Debian's packages not to start their services: BIND, containerd and Postfix are wanted as programs only."""
    policy = Path("/usr/sbin/policy-rc.d")
    if policy.exists():
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n", encoding="utf-8")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink(missing_ok=True)


def _missing(programs: dict[str, str] = _PROGRAMS, files: dict[str, str] = _FILES) -> list[str]:
    path = f"{os.environ.get('PATH', os.defpath)}:{_SBIN}"
    packages = {package for program, package in programs.items() if shutil.which(program, path=path) is None}
    packages |= {package for file, package in files.items() if not Path(file).exists()}
    if not any(Path(folder, "ptp").exists() for folder in ("/usr/lib/cni", "/opt/cni/bin")):
        packages.add("containernetworking-plugins")
    return sorted(packages)
