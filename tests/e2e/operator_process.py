"""The operator as a process beside the cluster: what a pod runs, but started, stopped and killed at a test's will."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.layout import project_folder
from testbed.sandbox import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Mapping

MODULE = "mailtls"
_GRACE = 30.0  # what a pod has
_WORKERS = 16  # at most, of the tests that run beside each other
_WORKER = int(re.sub(r"\D", "", os.environ.get("PYTEST_XDIST_WORKER", "")) or 0) % _WORKERS
_PORTS = range(16_000 + _WORKER, 24_000, _WORKERS)
"""Between those of Pebble (14000 on) and those of its management (24000 on); each worker of the tests has its own."""
_NEXT_PORT = cycle(random.sample(_PORTS, len(_PORTS)))

# A mount namespace of its own gives the process the resolver that a pod has.
_BIND = 'while [ "$1" != -- ]; do mount --bind "$1" "$2"; shift 2; done; shift; exec "$@"'
_IN_A_POD = ("unshare", "--mount", "sh", "-ec", _BIND, "sh")


@dataclass
class OperatorProcess:
    """One replica, configured by `environment` alone; `log` collects what it says over all of its lives."""

    environment: Mapping[str, str]
    resolver: Path
    log: Path
    module: str = MODULE
    mounts: Mapping[str, Path] = field(default_factory=dict)
    """What it sees in place of files of the machine, by their path."""
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self, *, module: str | None = None, **extra: str) -> OperatorProcess:
        """Start it, or the program given by `module` in its place; returns at once."""
        source = project_folder()
        environment = {**os.environ, **self.environment, **extra}
        environment["PYTHONPATH"] = f"{source / 'operator'}{os.pathsep}{source / 'tests'}"
        mounts = {"/etc/resolv.conf": self.resolver, **self.mounts}
        places = [place for target, source in mounts.items() for place in (str(source), target)]
        command = [*_IN_A_POD, *places, "--", sys.executable, "-m", module or self.module, "run"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        return self

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def memory(self) -> float:
        """How much memory is resident, in MiB."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="utf-8")
        return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) / 1024

    def stop(self) -> float:
        """Ask it to end as a kubelet does (SIGTERM); gives the seconds that it took."""
        begun = time.monotonic()
        self._signal(signal.SIGTERM)
        assert self.wait(_GRACE) == 0, f"it ended badly; see {self.log}"
        return time.monotonic() - begun

    def kill(self) -> None:
        """End it without a chance to say good-bye (SIGKILL)."""
        if self.is_alive:
            self._signal(signal.SIGKILL)
            self.wait(_GRACE)

    def pause(self) -> None:
        """Stop it where it stands (SIGSTOP), as a frozen machine does."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on (SIGCONT), as if no time had passed."""
        self._signal(signal.SIGCONT)

    def wait(self, within: float) -> int:
        """Wait until it has ended by itself; gives the exit code, the negated number where a signal ended it."""
        assert self._process is not None
        return self._process.wait(within)

    def text(self) -> str:
        """Everything that it has said."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def await_text(self, wanted: str, *, within: float = PATIENCE) -> None:
        """Wait until it has said something."""
        deadline = time.monotonic() + within
        while wanted not in self.text():
            assert self.is_alive, f"it ended before it said {wanted!r}:\n{self.text()}"
            assert time.monotonic() < deadline, f"it did not say {wanted!r}:\n{self.text()}"
            time.sleep(0.05)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


def free_port() -> int:
    """A port that nobody listens on, and that no other worker of the tests gives out."""
    while True:
        port = next(_NEXT_PORT)  # none is given twice before somebody listens there
        with socket.socket() as listener:
            try:
                listener.bind(("", port))
            except OSError:
                continue
            return port
