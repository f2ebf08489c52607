"""One server in the pods of a workload, and how it is made to read its certificate again."""

from dataclasses import dataclass
from enum import StrEnum

from mailtls.probe.target import Port


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
    """

    name: str
    ports: tuple[Port, ...]
    command: tuple[str, ...] = ()
    container: str | None = None
    signal: Signal | None = None
