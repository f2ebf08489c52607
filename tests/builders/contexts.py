"""Contexts for tests: one whose certificate is fine, to be bent by the plain names of fields wherever they are."""

from collections import Counter
from dataclasses import fields, replace
from datetime import datetime
from typing import Any, Final

from builders.stories import desired, schedule, secret
from mailtls.api.spec import Desired
from mailtls.api.status import Status
from mailtls.api.status_json import read
from mailtls.context import Context
from mailtls.domains.state import DomainsState
from mailtls.external.state import ExternalState
from mailtls.issuance.state import IssuanceState
from mailtls.kube.snapshot import Snapshot
from mailtls.probe.target import Depth
from mailtls.rollout.state import RolloutState
from mailtls.stage import next_decision
from mailtls.stages import STAGES
from mailtls.step import Rest, Step
from mailtls.verification.state import VerificationState

PARTS: Final[dict[str, type]] = {
    "snapshot": Snapshot,
    "issuance": IssuanceState,
    "rollout": RolloutState,
    "verification": VerificationState,
    "domains": DomainsState,
    "external": ExternalState,
}
_EVERY: Final = [(part, each.name) for part, kind in PARTS.items() for each in fields(kind)]
_COUNT: Final = Counter(name for _, name in _EVERY)
PLACES: Final = {name if _COUNT[name] == 1 else f"{part}_{name}": (part, name) for part, name in _EVERY}
"""Where each field is; one whose name is in several parts is called by its part, too, such as `rollout_failure`."""


def a_context(wanted: Desired | None = None, **changes: Any) -> Context:
    """All is well and nothing is staged, but for these changes."""
    fine = changed(
        Context(wanted or desired()),
        status=Status(schedule=schedule()),
        secret=secret(),
        schedule=schedule(),
        probed_depth=Depth.FULL,
    )
    return changed(fine, **changes)


def changed(context: Context, **changes: Any) -> Context:
    """Change fields by name; what is reported follows the resource."""
    if "resource" in changes:
        changes = {"reported": read(changes["resource"].get("status") or {})} | changes
    for name, value in changes.items():
        part, field = PLACES[name]
        context = replace(context, **{part: replace(getattr(context, part), **{field: value})})
    return context


def wanting(wanted: Desired, context: Context) -> Context:
    """Have the context be about this resource."""
    return replace(context, desired=wanted)


def next_step(context: Context, now: datetime) -> Step | Rest:
    """The one thing that the stages decide on."""
    decided = next_decision(STAGES, context, now)
    return decided if isinstance(decided, Rest) else decided.step
