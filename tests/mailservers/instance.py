"""A server program on loopback: a folder of its own, its ports, its log, and its end."""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import cycle
from pathlib import Path

LOOPBACK = "127.0.0.1"
START_PATIENCE = 120  # seconds; on a busy machine a server takes a while to read its configuration
END_PATIENCE = 10  # seconds that a server gets to end by itself
_PORTS = 10240, 32768  # below those that the kernel gives to clients
_BLOCK = 1024
LOG_SHOWN = 4000  # characters of the end of a log that a failed start tells


@dataclass(frozen=True, slots=True)
class Instance:
    """A running program; `addresses` and `ports` by service name, an address that is not named is 127.0.0.1."""

    home: Path
    ports: Mapping[str, int] = field(default_factory=dict)
    addresses: Mapping[str, str] = field(default_factory=dict)

    def where(self, name: str) -> tuple[str, int]:
        """Address and port of a service."""
        return self.addresses.get(name, LOOPBACK), self.ports[name]

    def log(self) -> str:
        """Everything logged so far."""
        file = self.home / "log"
        return file.read_text(errors="replace") if file.exists() else ""


@contextmanager
def folder(program: str) -> Iterator[Path]:
    """A folder that the users of a server may enter, unlike pytest's own; it is gone afterwards."""
    home = Path(tempfile.mkdtemp(prefix=f"{program}-", dir="/tmp"))
    home.chmod(0o755)
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def running(instance: Instance, command: list[str]) -> Iterator[Instance]:
    """Run the program until the block ends; it must stay in the foreground, and log there or into `home/log`."""
    with (instance.home / "log").open("ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=instance.home, start_new_session=True
        )
    try:
        _wait(process, instance)
        yield instance
    finally:
        end(process)


def free_ports(names: Iterable[str], address: str = LOOPBACK) -> dict[str, int]:
    """Find a port for each name, of those that no other process of the tests and no client is given meanwhile."""
    return {name: next(port for port in _own_ports() if _is_free(address, port)) for name in names}


def _is_free(address: str, port: int) -> bool:
    try:
        with socket.create_server((address, port)):
            return True
    except OSError:
        return False


@cache
def _own_ports() -> Iterator[int]:
    """Give the ports of a block that is this process's own for as long as it lives, round and round."""
    for first in range(*_PORTS, _BLOCK):
        lock = os.open(f"/tmp/mailtls-ports-{first}.lock", os.O_CREAT | os.O_RDWR, 0o666)
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return cycle(range(first, first + _BLOCK))
        os.close(lock)
    raise AssertionError("too many test runs share this machine's ports")


def _wait(process: subprocess.Popen[bytes], instance: Instance) -> None:
    """Wait until all services listen: some servers open them one after the other."""
    deadline = time.monotonic() + START_PATIENCE
    ahead = list(instance.ports)
    while ahead and time.monotonic() < deadline and process.poll() is None:
        if _listens(instance.where(ahead[0])):
            ahead.pop(0)
        else:
            time.sleep(0.05)
    if ahead:
        raise AssertionError(f"{ahead[0]} does not listen: {instance.log()[-LOG_SHOWN:]}")


def _listens(where: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(where, timeout=1):
            return True
    except OSError:
        return False


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask, wait, then insist, with all the program started; it may have left the session, but not its master."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(END_PATIENCE)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(START_PATIENCE)
