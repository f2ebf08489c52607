"""What one probe saw and heard, before anybody judged it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from mailtls.model.probe.endpoint import Endpoint, Expected, Target
from mailtls.model.probe.inspection import Inspection
from mailtls.model.probe.talk import Phase, Reply, Session, Stop


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything one probe learned; `stop` is None when the conversation reached its end.

    `tls_first` says that a STARTTLS port which sent no greeting answered a ClientHello. `inspection` is what a probe
    of more depth asked besides.
    """

    stop: Stop | None = None
    replies: tuple[Reply, ...] = ()
    session: Session | None = None
    tls_first: bool = False
    inspection: Inspection | None = None

    def reply(self, phase: Phase) -> Reply | None:
        """What the server answered in a phase, the last time after XCLIENT; None when it was not reached."""
        return next((reply for reply in reversed(self.replies) if reply.phase is phase), None)

    def stopped(self, *phases: Phase) -> Stop | None:
        """The stop, if it was in one of `phases`."""
        return self.stop if self.stop is not None and self.stop.phase in phases else None


Judge: TypeAlias = Callable[[Target, Expected, Facts, datetime], Endpoint]
