"""What to do next: one frozen value per effect, so that a decision can be compared, tested and printed."""

from dataclasses import dataclass
from datetime import datetime

from mailtls.issuance.order import Action, Fail
from mailtls.probe.target import Depth, Target
from mailtls.reasons.reason import Finding
from mailtls.rollout.steps import Action as RollAction
from mailtls.rollout.steps import RolloutFailed


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to do before `until`; None: until something changes."""

    until: datetime | None


@dataclass(frozen=True, slots=True)
class StageKey:
    """Make the next private key and its CSR and save both, with the intent to order, because of `due`."""

    due: Finding


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """Order from the CA, or find the order a crash has left there."""


@dataclass(frozen=True, slots=True)
class SaveOrder:
    """Save the order's URL before anything is done with it."""


@dataclass(frozen=True, slots=True)
class ResumeOrder:
    """Read the order again from its saved URL."""

    url: str


@dataclass(frozen=True, slots=True)
class AdvanceOrder:
    """Perform one action of the order's own state machine."""

    action: Action


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The order cannot succeed: remember the failure."""

    fail: Fail


@dataclass(frozen=True, slots=True)
class StoreCertificate:
    """Write chain and key into the Secret, the old pair into the previous one."""


@dataclass(frozen=True, slots=True)
class RollBack:
    """Exchange the pair in the Secret for the one before it, where that one can serve; heed the wish either way."""


@dataclass(frozen=True, slots=True)
class AdoptSecret:
    """Take over a Secret that somebody asked us to take, and let its certificate serve on."""


@dataclass(frozen=True, slots=True)
class PutRight:
    """Write what was stored, and our labels, into a Secret that somebody changed."""


@dataclass(frozen=True, slots=True)
class KeepCopy:
    """Save our own copy of the pair that serves, where there is none."""


@dataclass(frozen=True, slots=True)
class CloseOrder:
    """Remove the challenges, let go of pending authorizations, and mark the journal closed."""


@dataclass(frozen=True, slots=True)
class CloseLeftovers:
    """Close the orders that stand open under a secretName that the spec no longer has."""


@dataclass(frozen=True, slots=True)
class LookAtReferences:
    """Look whether a Secret or ConfigMap that the resource refers to was changed since an attempt failed."""


@dataclass(frozen=True, slots=True)
class LookAtRoots:
    """Look whether the roots to trust were changed since a served chain was not trusted."""


@dataclass(frozen=True, slots=True)
class ScheduleRenewal:
    """Ask the CA for its renewal window where it has one, and draw the time of renewal."""


@dataclass(frozen=True, slots=True)
class LookAtWorkloads:
    """Read the workloads and their pods."""


@dataclass(frozen=True, slots=True)
class ProbePods:
    """Connect to these targets as a mail client would, and look as deep as `depth` says."""

    targets: tuple[Target, ...]
    depth: Depth = Depth.QUICK


@dataclass(frozen=True, slots=True)
class ConfirmPods:
    """Glance at targets that were unready for a while: what was learned of the same run may still stand."""

    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class FindWays:
    """Look how clients come to the pods: by which Services, and at which addresses from outside."""


@dataclass(frozen=True, slots=True)
class ProbeWays:
    """Connect to these Services or public addresses; they prove nothing about single pods."""

    targets: tuple[Target, ...]
    depth: Depth


@dataclass(frozen=True, slots=True)
class Roll:
    """Perform one step of the rollout."""

    step: RollAction | RolloutFailed


@dataclass(frozen=True, slots=True)
class LookAtDomains:
    """Look up what the mail domains publish, and hold it against what the pods serve."""


Step = (
    Rest
    | StageKey
    | OpenOrder
    | SaveOrder
    | ResumeOrder
    | AdvanceOrder
    | GiveUp
    | StoreCertificate
    | RollBack
    | AdoptSecret
    | PutRight
    | KeepCopy
    | CloseOrder
    | CloseLeftovers
    | LookAtReferences
    | LookAtRoots
    | ScheduleRenewal
    | LookAtWorkloads
    | ProbePods
    | ConfirmPods
    | FindWays
    | ProbeWays
    | Roll
    | LookAtDomains
)
