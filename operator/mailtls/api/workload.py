"""What serves the Secret: a workload, and the daemons in its pods."""

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Final

from mailtls.probe.target import Port
from mailtls.reasons.quoting import printable
from mailtls.reasons.software import Software


class WorkloadKind(StrEnum):
    """Workload kinds that can serve the Secret: of apps/v1, and Argo's Rollout."""

    STATEFUL_SET = "StatefulSet"
    DEPLOYMENT = "Deployment"
    DAEMON_SET = "DaemonSet"
    ROLLOUT = "Rollout"


class UpdateStrategy(StrEnum):
    """How a new certificate reaches the pods of a workload."""

    RELOAD = "Reload"
    RESTART = "Restart"
    EVICT = "Evict"
    NONE = "None"


SETTLE_TIME: Final = timedelta(seconds=10)
LONGEST_COMMAND: Final = 80
"""Characters of a reload command that messages show."""


class SignalName(StrEnum):
    """Signals by which servers read their settings again; one that a server does not know ends it."""

    HUP = "HUP"
    USR1 = "USR1"
    USR2 = "USR2"


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal to the process of this name, as `ps -o comm` shows it."""

    name: SignalName
    process: str

    def __str__(self) -> str:
        return f"SIG{self.name} to {self.process}"


@dataclass(frozen=True, slots=True)
class Daemon:
    """One server in the pods of a workload; its preset has filled in at parsing what the spec leaves out.

    `command` makes it read its certificate again, or `signal` does; neither: nothing is run. Both are run by exec in
    `container`; None means: the first container that mounts the Secret. `name` is what messages call the daemon.
    `software` is the server of its preset, None where that is generic.
    """

    name: str
    ports: tuple[Port, ...]
    command: tuple[str, ...] = ()
    container: str | None = None
    signal: Signal | None = None
    software: Software | None = field(default=None, compare=False)

    @property
    def reload_words(self) -> str:
        """What reloads it, for messages: a script that is longer than a line says less than its name."""
        if self.signal is not None:
            return str(self.signal)
        line = printable(" ".join(self.command))
        return f"`{line}`" if len(line) <= LONGEST_COMMAND else f"the reload command of {self.name}"


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload that serves the Secret, and the daemons in each of its pods, in the order of their reloads.

    `settle_time` is how long a pod's servers may take from a reload, or from ready, until they serve the certificate.
    """

    kind: WorkloadKind
    name: str
    update_strategy: UpdateStrategy
    daemons: tuple[Daemon, ...]
    settle_time: timedelta = SETTLE_TIME

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"

    @property
    def ports(self) -> tuple[Port, ...]:
        """The ports of all daemons: no two have one in common."""
        return tuple(port for daemon in self.daemons for port in daemon.ports)

    def software_at(self, port: Port) -> Software | None:
        """The server that listens on one of the ports, by its preset."""
        return next((daemon.software for daemon in self.daemons if port in daemon.ports), None)

    @property
    def reloaded(self) -> tuple[Daemon, ...]:
        """The daemons that are reloaded, in their order; none where they watch their files, or are restarted."""
        return tuple(daemon for daemon in self.daemons if daemon.command or daemon.signal)
