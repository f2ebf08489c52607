"""Whole Debian trees of mail servers, each made once by content, and how to run a program in one.

Debian's mail servers exclude each other as packages, and their configuration changes between releases: so each kind
gets a tree of its own, of one release, whatever the machine itself runs. Nothing of them is installed on the machine.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbed import host
from testbed.archive import ImageSpec, write_archive
from testbed.console import step
from testbed.images import cached, run
from testbed.layout import cache_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

SERVERS = "servers"  # Dovecot 2.4, Exim, haproxy and nginx, and testssl.sh to compare with
OPENSMTPD = "opensmtpd"  # and Cyrus
COURIER = "courier"  # and chasquid
BOOKWORM = "bookworm"  # Debian 12, with Dovecot 2.3 and sendmail
NAMESERVERS = "nameservers"  # Knot DNS and PowerDNS
TOOLS = "tools"  # Python and curl, for stand-ins, and BusyBox
MACHINE = "machine"  # no tree, but the machine itself, with the Postfix that tests install
IMAGE = "localhost/servers:1"
BUSYBOX = "localhost/busybox:1"
_RECIPE = Path(__file__).with_name("trees.json")
# A program sees the machine's devices, processes and /tmp, and has folders of its own for what it runs with: two of a
# kind never meet. The shell becomes the program, so that ending the process ends the program.
_ENTER = """
tree=$1; shift
for folder in dev proc tmp; do mount --rbind "/$folder" "$tree/$folder" || exit 125; done
for folder in run var/spool var/log; do mount -t tmpfs -o mode=755 none "$tree/$folder" || exit 125; done
exec chroot "$tree" "$@"
"""


def obstacle() -> str | None:
    """Why a program cannot be run in a tree here, in one sentence; None when it can."""
    return host.obstacle()


def ensure_all() -> None:
    """Make every tree."""
    for name in (SERVERS, OPENSMTPD, COURIER, BOOKWORM, NAMESERVERS, TOOLS):
        ensure(name)


def ensure(name: str) -> Path:
    """The tree of this name; made beside its place and renamed when whole, by one process at a time."""
    if name == MACHINE:
        host.ensure_packages(for_tests=True)
        return Path("/")
    folder = cache_folder() / "trees"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name}-{_key(name)}"
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            host.ensure_packages()
            with step(f"tree {name}: making it (once)"):
                _make(name, target)
            _forget_others(name, target)
    return target


def ensure_image() -> Path:
    """The tree with Exim and haproxy as an image, for pods; made only when a test asks for it."""
    tree = ensure(SERVERS)

    def make(folder: Path) -> Path:
        run("tar", "--create", "--one-file-system", "--exclude=./dev/*", f"--directory={tree}",
            f"--file={folder / 'layer.tar'}", ".")  # fmt: skip
        write_archive(ImageSpec(IMAGE, command=("sh",)), folder / "layer.tar", folder / "image.tar")
        return folder / "image.tar"

    return cached(f"servers-{_key(SERVERS)}", make)


def ensure_lean_image(name: str) -> Path:
    """A tree as an image for pods of this machine, all but /usr: `run_from` mounts that, so nothing large is copied."""
    tree = ensure(name)

    def make(folder: Path) -> Path:
        run("tar", "--create", "--one-file-system", "--exclude=./dev/*", "--exclude=./usr/*", f"--directory={tree}",
            f"--file={folder / 'layer.tar'}", ".")  # fmt: skip
        write_archive(ImageSpec(lean_image(name), command=("sh",)), folder / "layer.tar", folder / "image.tar")
        return folder / "image.tar"

    return cached(f"lean_{name}-{_key(name)}", make)


def ensure_busybox() -> Path:
    """An image of BusyBox alone, as small pods beside a server have it."""
    program = ensure(TOOLS) / "usr" / "bin" / "busybox"

    def make(folder: Path) -> Path:
        (folder / "root" / "bin").mkdir(parents=True)
        shutil.copy(program, folder / "root" / "bin")
        run("chroot", str(folder / "root"), "/bin/busybox", "--install", "-s", "/bin")
        run("tar", "--create", f"--directory={folder / 'root'}", f"--file={folder / 'layer.tar'}", ".")
        write_archive(ImageSpec(BUSYBOX, command=("sh",)), folder / "layer.tar", folder / "image.tar")
        return folder / "image.tar"

    return cached(f"busybox-{_key(TOOLS)}", make)


def lean_image(name: str) -> str:
    """What the image of a tree without /usr is called."""
    return f"localhost/{name}-lean:1"


def run_from(name: str, pod: dict[str, Any], container: dict[str, Any]) -> None:
    """Let a container of a pod run the programs of a tree."""
    container["image"] = lean_image(name)
    mount_folder(pod, container, ensure(name) / "usr", "/usr")


def mount_folder(pod: dict[str, Any], container: dict[str, Any], folder: Path, path: str) -> None:
    """Mount a folder of the machine in a container, read-only."""
    name = f"folder-{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"
    volume = {"name": name, "hostPath": {"path": str(folder), "type": "Directory"}}
    if volume not in pod["volumes"]:
        pod["volumes"].append(volume)
    container["volumeMounts"].append({"name": name, "mountPath": path, "readOnly": True})


def inside(tree: Path, command: Sequence[str]) -> list[str]:
    """The command, run in a tree: it shares the network, /tmp and the process ids with whoever starts it."""
    return ["unshare", "--mount", "--propagation=private", "sh", "-c", _ENTER, "sh", str(tree), *command]


def _recipe(name: str) -> dict[str, Any]:
    whole = json.loads(_RECIPE.read_text(encoding="utf-8"))
    return {**whole["trees"][name], "left_out": whole["left_out"]}


def _key(name: str) -> str:
    """A name for what a tree is made of: a change of one tree makes no other again."""
    return hashlib.sha256(json.dumps(_recipe(name), sort_keys=True).encode()).hexdigest()[:16]


def _make(name: str, target: Path) -> None:
    recipe = _recipe(name)
    left_out = [f"--dpkgopt=path-exclude={path}" for path in recipe["left_out"]]
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".making-") as made:
        tree = Path(made) / "tree"
        run(
            "mmdebstrap", "--variant=essential", "--quiet", *left_out,
            f"--include={','.join(recipe['packages'])}", recipe["suite"], str(tree),
        )  # fmt: skip
        tree.rename(target)


def _forget_others(name: str, kept: Path) -> None:
    """A tree is some hundred megabytes: only the newest of a kind stays, unless a program still runs in it."""
    for other in kept.parent.glob(f"{name}-*"):
        if other != kept and not _is_in_use(other):
            shutil.rmtree(other, ignore_errors=True)


def _is_in_use(tree: Path) -> bool:
    return any(_root(process) == tree or _mounts(process, tree) for process in Path("/proc").glob("[0-9]*"))


def _mounts(process: Path, tree: Path) -> bool:
    try:
        return f"/{tree.name}/usr " in (process / "mountinfo").read_text(encoding="utf-8")
    except OSError:  # it has ended meanwhile
        return False


def _root(process: Path) -> Path | None:
    try:
        return (process / "root").readlink()
    except OSError:  # it has ended meanwhile
        return None
