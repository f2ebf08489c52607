"""How thorough a probe is."""

from enum import StrEnum


class Depth(StrEnum):
    """`QUICK` holds one conversation, after each pod; `FULL` also asks what else a client may meet; `DEEP` tries more.

    `FULL` is for after a rollout and on the interval, `DEEP` for what a server may resent, on demand or by schedule.
    """

    QUICK = "Quick"
    FULL = "Full"
    DEEP = "Deep"

    def reaches(self, other: "Depth") -> bool:
        """Whether this asks at least as much as `other`."""
        depths = list(Depth)
        return depths.index(self) >= depths.index(other)
