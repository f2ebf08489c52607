"""Ways to the pods of a cluster whose network this machine is not in: `kubectl port-forward`, one for each pod."""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from demo.client import PORTS
from testbed.console import Trouble

if TYPE_CHECKING:
    from collections.abc import Sequence

_READY = re.compile(r"^Forwarding from 127\.0\.0\.1:(\d+) -> (\d+)$", re.MULTILINE)
_WITHIN = 20.0


@dataclass
class Forwards:
    """The open ways; ended by `close`."""

    kubectl: Sequence[str]
    namespace: str
    _open: dict[str, dict[int, int]] = field(default_factory=dict)
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def to(self, pod: str) -> dict[int, int]:
        """The local port for each mail port of a pod."""
        if pod not in self._open:
            self._open[pod] = self._forward(pod)
        return self._open[pod]

    def close(self) -> None:
        """End every kubectl that was started here."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait()

    def _forward(self, pod: str) -> dict[int, int]:
        """Start a kubectl that writes to a file: it tells of each connection, and a pipe would fill."""
        command = [*self.kubectl, "port-forward", "--address=127.0.0.1", f"--namespace={self.namespace}", f"pod/{pod}"]
        with tempfile.NamedTemporaryFile() as said:
            process = subprocess.Popen([*command, *(f":{port}" for port in PORTS)], stdout=said, stderr=said)
            self._processes.append(process)
            deadline = time.monotonic() + _WITHIN
            while True:
                text = Path(said.name).read_text(encoding="utf-8")
                ports = {int(remote): int(local) for local, remote in _READY.findall(text)}
                if len(ports) == len(PORTS):
                    return ports
                if process.poll() is not None or time.monotonic() > deadline:
                    message = f"kubectl port-forward to {pod} does not work: {text.strip()}"
                    raise Trouble(message)
                time.sleep(0.05)
