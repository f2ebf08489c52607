"""A mail server as process 1 of a container: a root, process ids and a network of its own, and a mounted Secret.

So the ports are the server's usual ones, and a preset's command runs as `kubectl exec` runs it: word for word.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from socket import AF_UNIX, SHUT_RDWR, SOCK_DGRAM, socket
from threading import Thread

from mailservers.case import PATIENT
from mailservers.certificates import HOST, Served
from mailservers.instance import LOG_SHOWN, LOOPBACK, START_PATIENCE, end, folder
from mailservers.stock import AUTHORITY
from mailtls.probe.conversation import Limits
from mailtls.probe.prober import Prober
from mailtls.probe.target import Depth, Endpoint, Expected, Port, Target
from mailtls.reasons.software import Software
from testbed import gomail, network, trees

SECRET = "/etc/mail-tls"
# The tree itself stays as it is: what the server writes goes into a layer that ends with it.
_ENTER = """
set -e
home=$1 tree=$2 programs=$3; shift 3
mount -t tmpfs none "$home/layer"
mkdir "$home/layer/upper" "$home/layer/work"
mount -t overlay -o "lowerdir=$tree,upperdir=$home/layer/upper,workdir=$home/layer/work" none "$home/root"
mount -t proc none "$home/root/proc"
mount -t tmpfs -o mode=755 none "$home/root/dev"
for device in null zero full random urandom tty; do
  touch "$home/root/dev/$device"
  mount --bind "/dev/$device" "$home/root/dev/$device"
done
ln -s /proc/self/fd "$home/root/dev/fd"
ln -s /proc/self/fd/1 "$home/root/dev/stdout"
ln -s /proc/self/fd/2 "$home/root/dev/stderr"
mkdir "$home/root/dev/shm" "$home/root/dev/pts"
touch "$home/root/dev/log"
mount --bind "$home/syslog" "$home/root/dev/log"
for folder in run tmp; do mount -t tmpfs -o mode=1777 none "$home/root/$folder"; done
cp -rT "$home/files" "$home/root"
mkdir -p "$home/root/opt"
mount --bind "$programs" "$home/root/opt"
mkdir -p "$home/root/etc/mail-tls"
mount --bind "$home/secret" "$home/root/etc/mail-tls"
hostname mx1.example.com
ip link set lo up
exec chroot "$home/root" "$@"
"""
_UNSHARE = ("unshare", "--mount", "--propagation=private", "--net", "--uts", "--pid", "--fork", "--kill-child")
_LIMITS = Limits(connect=PATIENT, dialog=PATIENT, handshake=PATIENT, overall=3 * PATIENT)


@dataclass(frozen=True, slots=True)
class Setup:
    """How a server is started in a container; `mode` is the mounted Secret's `defaultMode`.

    `keeps` says that a certificate which was served once is served until something is done; None where that is so for
    seconds only. `ports` are further ones than those of the preset. `in_vain` is what one might think of, and does not
    help.
    """

    software: Software
    tree: str
    command: tuple[str, ...]
    files: Mapping[str, str] = field(default_factory=dict)
    mode: int = 0o644
    keeps: bool | None = True
    ports: tuple[Port, ...] = ()
    in_vain: tuple[str, ...] = ()
    needs_go: bool = False  # the programs that are no Debian packages, in /opt

    def __str__(self) -> str:
        return f"{self.software}-{self.tree}"


@dataclass(frozen=True, slots=True)
class Container:
    """A running container."""

    home: Path
    process: subprocess.Popen[bytes]
    pid: int  # the server's process id, as the machine sees it
    generations: Iterator[int] = field(default_factory=lambda: count(1))
    mode: int = 0o644

    def write_secret(self, served: Served) -> None:
        """Write the mounted Secret as the kubelet does: all files at once, by one symbolic link."""
        write_secret(self.home / "secret", served, next(self.generations), self.mode)

    def execute(self, command: tuple[str, ...]) -> str:
        """Run a command beside the server, which must succeed; return what it printed."""
        enter = ("nsenter", f"--target={self.pid}", "--mount", "--uts", "--net", "--pid", "--root", "--wd=/")
        done = subprocess.run((*enter, *command), check=False, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr or done.stdout}{self.log()}"
        return done.stdout

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server from outside: a command inside would end with a server that ends."""
        os.kill(self.pid, number)

    def probe(self, ports: tuple[Port, ...]) -> tuple[Endpoint, ...]:
        """Probe the ports from within the container's network."""
        targets = [Target(LOOPBACK, port, HOST, pod="mx-0", workload="StatefulSet/mx") for port in ports]
        expected = Expected(extra_roots_pem=AUTHORITY.roots_pem)
        with network.outside(Path(f"/proc/{self.pid}/ns/net")):
            return tuple(Prober(_LIMITS).probe(targets, expected, Depth.QUICK))

    def log(self) -> str:
        """The end of what the server printed."""
        return (self.home / "log").read_text(errors="replace")[-LOG_SHOWN:]


@contextmanager
def contained(setup: Setup, served: Served) -> Iterator[Container]:
    """Run a server in a container, with a certificate, until the block ends."""
    tree = trees.ensure(setup.tree)
    with folder("contained") as home, _syslog(home):
        for name in ("layer", "root", "files", "secret", "programs"):
            (home / name).mkdir()
        for name, text in setup.files.items():
            file = home / "files" / name.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        write_secret(home / "secret", served, 0, setup.mode)
        programs = gomail.ensure() if setup.needs_go else home / "programs"
        with (home / "log").open("ab") as log:
            process = subprocess.Popen(
                [*_UNSHARE, "sh", "-c", _ENTER, "sh", str(home), str(tree), str(programs), *setup.command],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        try:
            yield Container(home, process, _entered(home, process), mode=setup.mode)
        finally:
            end(process)


@contextmanager
def _syslog(home: Path) -> Iterator[None]:
    """Add to the log what the server says by syslog, where many say why they have no TLS."""
    with socket(AF_UNIX, SOCK_DGRAM) as listener:
        listener.bind(str(home / "syslog"))
        (home / "syslog").chmod(0o666)
        thread = Thread(target=_write_down, args=(listener, home / "log"))
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(SHUT_RDWR)
            thread.join()


def _write_down(listener: socket, log: Path) -> None:
    while line := listener.recv(LOG_SHOWN):
        with log.open("ab") as file:
            file.write(line + b"\n")


def _entered(home: Path, process: subprocess.Popen[bytes]) -> int:
    """Wait until process 1 of the container has its own root, so that nothing enters a half-made one."""
    deadline = time.monotonic() + START_PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        if children and Path(f"/proc/{children[0]}/root").readlink() == home / "root":
            return int(children[0])
        time.sleep(0.01)
    raise AssertionError(f"the container did not start: {(home / 'log').read_text(errors='replace')}")


def write_secret(place: Path, served: Served, generation: int, mode: int) -> None:
    """Write the files beside the old ones, then let `..data` point there (Kubernetes' AtomicWriter)."""
    new, old = place / f"..{generation}", place / "..data"
    new.mkdir()
    for name, content in {"tls.crt": served.chain_pem, "tls.key": served.key_pem}.items():
        (new / name).write_bytes(content)
        (new / name).chmod(mode)
        if not (place / name).is_symlink():
            (place / name).symlink_to(f"..data/{name}")
    before = old.readlink() if old.is_symlink() else None
    (place / "..data_tmp").symlink_to(new.name)
    (place / "..data_tmp").rename(old)
    if before is not None:
        shutil.rmtree(place / before)


def await_served(container: Container, ports: tuple[Port, ...], served: Served, within: float = START_PATIENCE) -> None:
    """Wait until every port serves exactly this certificate; fails with what was seen instead."""
    deadline = time.monotonic() + within
    while True:
        assert container.process.poll() is None, f"the server ended: {container.log()}"
        seen = container.probe(ports)
        if all(endpoint.served_sha256 == served.sha256 for endpoint in seen):
            return
        assert time.monotonic() < deadline, f"{seen}\n{container.log()}"
        time.sleep(0.1)
