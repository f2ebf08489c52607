"""A real Postfix on loopback: one instance, one service per way to configure it."""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from mailservers.certificates import HOST
from mailservers.instance import Instance, end, folder, free_ports

START_PATIENCE = 120  # seconds; `postfix check` walks the queue first

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
POSTSCREEN = "postscreen"  # no option: postscreen stands before smtpd, and lets clients wait
_SCREEN = """
  -o {{ smtpd_service_name = {name} }}
  -o {{ postscreen_access_list = }}
  -o {{ postscreen_cache_map = }}
  -o {{ postscreen_greet_wait = 4s }}
  -o {{ postscreen_greet_action = enforce }}"""
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
class Postfix(Instance):
    """A running instance; `ports` by service name."""

    def certificate(self, name: str, pem: bytes) -> None:
        """Put key and chain where the service of this name reads them."""
        (self.home / f"{name}.pem").write_bytes(pem)

    def certificate_by_name(self, name: str, pem: bytes) -> None:
        """Put key and chain into the map `sni`, for services whose `tls_server_sni_maps` is that."""
        (self.home / "by-name.pem").write_bytes(pem)
        (self.home / "sni").write_text(f"{name} {self.home / 'by-name.pem'}\n")
        subprocess.run(["postmap", "-F", f"hash:{self.home / 'sni'}"], check=True, capture_output=True)

    def reload(self) -> None:
        """Let new smtpd processes read the files again, as the preset of the operator does."""
        subprocess.run(["postfix", "-c", str(self.home / "etc"), "reload"], check=True, capture_output=True)

    def talks(self, name: str) -> list[str]:
        """How each connection to a service ended, as the log says it, once it has the end of each that began.

        A service sends what it logs to another process, and before it greets: what is sent later is written later.
        """
        mark, deadline = f"mark {secrets.token_hex(8)}", time.monotonic() + START_PATIENCE
        subprocess.run(["postlog", "-c", str(self.home / "etc"), mark], check=True, capture_output=True)
        while time.monotonic() < deadline:
            lines = (log := self.log()).splitlines()
            of_service = [line for line in lines if f"{name}/smtpd" in line]
            ended = [line for line in of_service if ": disconnect from" in line]
            if mark in log and len(ended) == sum(": connect from" in line for line in of_service):
                return ended
            time.sleep(0.05)
        raise AssertionError(f"the log does not say how connections to {name} ended: {self.log()}")


@contextmanager
def postfix(services: Mapping[str, tuple[str, ...]], over_ipv6: Iterable[str] = ()) -> Iterator[Postfix]:
    """Run Postfix with one smtpd per name, each with its own `-o` options; `{pem}` is its certificate file."""
    with folder("postfix") as home:
        server = Postfix(home, free_ports(services), dict.fromkeys(over_ipv6, "::1"))
        _configure(server, services)
        script = subprocess.Popen(
            ["postfix", "-c", str(home / "etc"), "start-fg"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            _wait(script, server)
            yield server
        finally:
            _end(server, script)


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
    words = [option for option in options if option != POSTSCREEN]
    chosen = [f"smtpd_tls_chain_files={pem}", f"syslog_name={name}", *words]
    arguments = "".join(f"\n  -o {{ {option.format(pem=pem, home=server.home)} }}" for option in chosen)
    address, port = server.where(name)
    if POSTSCREEN in options:
        screen = f"[{address}]:{port} inet n - n - 1 postscreen{_SCREEN.format(name=name)}"
        return f"{screen}\n{name} pass - - n - - smtpd{arguments}"
    return f"[{address}]:{port} inet n - n - - smtpd{arguments}"


def _wait(script: subprocess.Popen[bytes], server: Postfix) -> None:
    deadline = time.monotonic() + START_PATIENCE
    while time.monotonic() < deadline and script.poll() is None:
        if "daemon started" in server.log():  # knocking would leave a lost connection in the log
            return
        time.sleep(0.05)
    raise AssertionError(f"postfix did not start: {server.log()}")


def _end(server: Postfix, script: subprocess.Popen[bytes]) -> None:
    """End the master, which left the script's process group for one of its own, and all its services with it."""
    with suppress(FileNotFoundError, ProcessLookupError):
        os.killpg(int((server.home / "queue" / "pid" / "master.pid").read_text()), signal.SIGTERM)
        script.wait(START_PATIENCE)  # it waits for its master
    end(script)
