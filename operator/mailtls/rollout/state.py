"""What a rollout remembers between reconciles: how far it is, and how often it has failed."""

from dataclasses import dataclass, field, replace
from datetime import datetime

from mailtls.api.state import RESET, Failure, Same, carry, forget, kept
from mailtls.reasons.reason import Finding
from mailtls.rollout.steps import RollProgress
from mailtls.rollout.turns import Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutState:
    """`progress` is None before the workloads were read. `failures` counts attempts in a row for one certificate.

    `reverted` are the workloads whose pod template somebody put back after it was annotated for the certificate.
    `turn` says whether the installation lets it act beside other rollouts; None: it was not asked in this reconcile.
    `no_way_back` says why the pair before cannot take the place of a certificate that fails, looked up in this attempt.

    A rollout that has ended, or was for another spec or certificate, leaves nothing behind.
    """

    progress: RollProgress | None = field(default=None, metadata=kept(Same.SPEC, Same.CERTIFICATE, Same.ROLLOUT))
    failure: Failure | None = field(default=None, metadata=kept(Same.SPEC, Same.CERTIFICATE, Same.ROLLOUT))
    failures: int = field(default=0, metadata=kept(Same.SPEC, Same.CERTIFICATE, Same.ROLLOUT))
    reverted: frozenset[str] = field(default=frozenset(), metadata=kept(Same.SPEC, Same.CERTIFICATE))
    turn: Turn | None = field(default=None, metadata=RESET)
    no_way_back: Finding | None = field(default=None, metadata=kept(Same.SPEC, Same.CERTIFICATE))

    def about_another_certificate(self) -> "RolloutState":
        """Forget whom the certificate before was brought to."""
        return forget(self, Same.CERTIFICATE)

    def tried_anew(self) -> "RolloutState":
        """Begin a new attempt where the last one failed; what is under way goes on."""
        return self if self.failure is None else replace(self, progress=None, failure=None, no_way_back=None)


def carry_rollout(before: RolloutState, fresh: RolloutState, same: frozenset[Same], now: datetime) -> RolloutState:
    """Return what the next reconcile knows; an attempt whose time has come begins with a clean sheet."""
    failure = before.failure
    waits = failure is None or (failure.retry_at is not None and now < failure.retry_at)
    return carry(before if waits else before.tried_anew(), fresh, same)
