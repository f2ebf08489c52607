"""A real Postfix on loopback: one instance, one service per way to configure it."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mailservers.certificates import HOST

START_PATIENCE = 30  # seconds; `postfix check` walks the queue first

MAIN_CF = """
compatibility_level = 3.6
queue_directory = {home}/queue
data_directory = {home}/data
mail_owner = postfix
myhostname = {host}
mydestination =
local_recipient_maps =
alias_maps =
mynetworks = 127.0.0.0/8
maillog_file_prefixes = {home}
maillog_file = {home}/log
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_tls_security_level = may
smtpd_tls_loglevel = 1
"""
SUPPORT = """
postlog unix-dgram n - n - 1 postlogd
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
"""


def missing() -> str:
    """Say why Postfix cannot be run here, empty when it can."""
    if shutil.which("postfix") is None:
        return "postfix is not installed (Debian package postfix)"
    return "" if os.geteuid() == 0 else "postfix's master must be started by root"


@dataclass(frozen=True, slots=True)
class Postfix:
    """A running instance; `ports` by service name."""

    home: Path
    ports: Mapping[str, int] = field(default_factory=dict)

    def certificate(self, name: str, pem: bytes) -> None:
        """Put key and chain where the service of this name reads them."""
        (self.home / f"{name}.pem").write_bytes(pem)

    def reload(self) -> None:
        """Let new smtpd processes read the files again, as the preset of the operator does."""
        subprocess.run(["postfix", "-c", str(self.home / "etc"), "reload"], check=True, capture_output=True)

    def log(self) -> str:
        """Everything logged so far."""
        file = self.home / "log"
        return file.read_text() if file.exists() else ""


@contextmanager
def postfix(services: Mapping[str, tuple[str, ...]]) -> Iterator[Postfix]:
    """Run Postfix with one smtpd per name, each with its own `-o` options; `{pem}` is its certificate file."""
    home = Path(tempfile.mkdtemp(prefix="postfix-", dir="/tmp"))  # Postfix's own user must get there: not pytest's
    home.chmod(0o755)
    server = Postfix(home, _free_ports(services))
    try:
        _configure(server, services)
        master = subprocess.Popen(
            ["postfix", "-c", str(home / "etc"), "start-fg"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            _wait(master, server)
            yield server
        finally:
            os.killpg(master.pid, signal.SIGTERM)
            master.communicate(timeout=START_PATIENCE)
    finally:
        shutil.rmtree(home)


def _configure(server: Postfix, services: Mapping[str, tuple[str, ...]]) -> None:
    home = server.home
    (home / "etc").mkdir()
    (home / "queue").mkdir()
    (home / "data").mkdir()
    os.chown(home / "data", pwd.getpwnam("postfix").pw_uid, 0)
    (home / "etc" / "main.cf").write_text(MAIN_CF.format(home=home, host=HOST))
    lines = [_service(name, server, options) for name, options in services.items()]
    (home / "etc" / "master.cf").write_text("\n".join([SUPPORT, *lines, ""]))


def _service(name: str, server: Postfix, options: tuple[str, ...]) -> str:
    pem = server.home / f"{name}.pem"
    chosen = [f"smtpd_tls_chain_files={pem}", f"syslog_name={name}", *options]
    arguments = "".join(f"\n  -o {{ {option.format(pem=pem)} }}" for option in chosen)
    return f"127.0.0.1:{server.ports[name]} inet n - n - - smtpd{arguments}"


def _free_ports(services: Mapping[str, tuple[str, ...]]) -> dict[str, int]:
    """Find ports all at once, so that no two are the same."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in services]
    try:
        return {name: listener.getsockname()[1] for name, listener in zip(services, listeners, strict=True)}
    finally:
        for listener in listeners:
            listener.close()


def _wait(master: subprocess.Popen[bytes], server: Postfix) -> None:
    deadline = time.monotonic() + START_PATIENCE
    while time.monotonic() < deadline and master.poll() is None:
        if "daemon started" in server.log():  # knocking would leave a lost connection in the log
            return
        time.sleep(0.05)
    raise AssertionError(f"postfix did not start: {server.log()}")
