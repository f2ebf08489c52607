"""What stands in the way of proving a name to a CA, as one exception for DNS-01 and HTTP-01."""

from datetime import datetime
from typing import Final

from mailtls.model.reason import Finding


class ProofProblem(Exception):
    """A proof could not be published or looked at; `finding` says why and what to do.

    `transient`: a server was away or overloaded, so the open order lives on and the same call may succeed later.
    Otherwise the settings are wrong: the order lives on too, but pauses grow until a person mends them. Nobody but the
    operator's own backoff decides when to try again, which `retry_at` and `needs_person` say in the words of
    `AcmeProblem`.
    """

    retry_at: Final[datetime | None] = None
    needs_person: Final = False

    def __init__(self, finding: Finding, transient: bool) -> None:
        super().__init__(finding.message)
        self.finding, self.transient = finding, transient
