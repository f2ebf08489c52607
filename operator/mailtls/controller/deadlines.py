"""How long each step may last in all: the one table of it, which docs/how-it-works.md shows.

What takes longer than a step may last is no step: it ends, and the work queue looks again later.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mailtls.controller import step


@dataclass(frozen=True, slots=True)
class Deadline:
    """The seconds for all that a step does and waits for; `why` it is not the usual, where it is not."""

    seconds: float = 30.0
    why: str = ""


_USUAL: Final = Deadline()
_FOR_EACH_NAME: Final = "several requests, or lookups for each name"
DEADLINES: Final[Mapping[type, Deadline]] = {
    step.StageKey: _USUAL,
    step.OpenOrder: Deadline(60.0, "after a crash it reads the account's open orders before it makes one"),
    step.SaveOrder: _USUAL,
    step.ResumeOrder: Deadline(60.0, _FOR_EACH_NAME),
    step.AdvanceOrder: Deadline(60.0, _FOR_EACH_NAME),
    step.GiveUp: _USUAL,
    step.StoreCertificate: _USUAL,
    step.RollBack: _USUAL,
    step.AdoptSecret: _USUAL,
    step.PutRight: _USUAL,
    step.KeepCopy: _USUAL,
    step.CloseOrder: Deadline(60.0, _FOR_EACH_NAME),
    step.CloseLeftovers: Deadline(60.0, _FOR_EACH_NAME),
    step.LookAtReferences: _USUAL,
    step.LookAtRoots: _USUAL,
    step.ScheduleRenewal: _USUAL,
    step.LookAtWorkloads: _USUAL,
    step.ProbePods: Deadline(120.0, "a deep probe makes many connections to each port, one after the other"),
    step.ConfirmPods: Deadline(60.0, "pods wait for their turn to be probed"),
    step.FindWays: _USUAL,
    step.ProbeWays: Deadline(120.0, "a deep probe makes many connections to each port, one after the other"),
    step.Roll: Deadline(90.0, "10 seconds for the file, 40 for the reload command, 10 until the server serves it"),
    step.LookAtDomains: Deadline(60.0, "15 seconds are for all lookups, the rest for the pods behind the names"),
}


def deadline_of(taken: step.Step) -> float:
    """Return the seconds that a step may last; raises KeyError for one that is in no table."""
    return DEADLINES[type(taken)].seconds


def table() -> str:
    """Return the table as docs/how-it-works.md has it, the longest first."""
    told = sorted(DEADLINES.items(), key=lambda each: (-each[1].seconds, each[0].__name__))
    unusual = [(each, deadline) for each, deadline in told if deadline != _USUAL]
    rows = [f"| `{each.__name__}` | {deadline.seconds:g} s | {deadline.why} |" for each, deadline in unusual]
    usual = ", ".join(f"`{each.__name__}`" for each, deadline in told if deadline == _USUAL)
    head = ["| step | at most | why not less |", "| --- | --- | --- |"]
    return "\n".join([*head, *rows, f"| {usual} | {_USUAL.seconds:g} s | |"])
