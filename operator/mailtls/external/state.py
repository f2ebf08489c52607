"""What is remembered of a pair that somebody else wrote: what the gate said, for this version of the Secret."""

from dataclasses import dataclass, field
from datetime import datetime

from mailtls.api.state import Same, carry, kept
from mailtls.reasons.reason import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalState:
    """What the gate said of the Secret as it is; all times are UTC.

    `examined_at` None: it was not asked yet. `refusal` says why what is in the Secret is brought into no pod.
    `again_at` is when time alone may have the gate say something else. `is_trial`: the chain leads to a root of Let's
    Encrypt's staging CA.
    """

    examined_at: datetime | None = field(default=None, metadata=kept(Same.SECRET, Same.SPEC))
    refusal: Finding | None = field(default=None, metadata=kept(Same.SECRET, Same.SPEC))
    again_at: datetime | None = field(default=None, metadata=kept(Same.SECRET, Same.SPEC))
    is_trial: bool = field(default=False, metadata=kept(Same.SECRET, Same.SPEC))


def carry_external(before: ExternalState, fresh: ExternalState, same: frozenset[Same]) -> ExternalState:
    """Return what the next reconcile knows."""
    return carry(before, fresh, same)
