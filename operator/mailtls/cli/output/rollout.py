"""What `mailtls rollout` prints, and which certificate an approval is for."""

from collections.abc import Iterator
from typing import Final

from mailtls.api.resource_view import ResourceView
from mailtls.api.status import Condition, ConditionType, Truth
from mailtls.cli.output.resources import table
from mailtls.cli.output.words import safe
from mailtls.reasons.reason import Reason
from mailtls.rollout.permission import SHORTEST_APPROVAL
from mailtls.times import format_minute

_COLUMNS: Final = ("WORKLOAD", "PODS", "PROVEN", "IN FLIGHT", "WAITING")


def is_done(view: ResourceView) -> bool:
    """Whether every pod has the certificate."""
    said = _rolled_out(view)
    return said is not None and said.status is Truth.TRUE


def rollout_story(view: ResourceView) -> str:
    """List the pods of each workload in numbers, then say what the rollout waits for, and until when."""
    rollout = view.status.rollout
    rows = [
        (each.workload, str(each.pods), str(each.proven), str(each.in_flight), str(each.waiting))
        for each in (rollout.workloads if rollout is not None else ())
    ]
    lines = [*table([_COLUMNS, *rows]), ""] if rows else []
    return "\n".join([*lines, *_words(view)]) + "\n"


def _words(view: ResourceView) -> Iterator[str]:
    said, rollout = _rolled_out(view), view.status.rollout
    if view.is_suspended:
        yield "The resource is suspended: nothing is rolled out until spec.suspend is false."
    if said is None:
        yield "The operator has not reported anything yet."
    else:
        yield f"RolledOut is {said.status} ({said.reason}): {safe(said.message)}"
    if rollout is not None and rollout.waiting_until is not None:
        yield f"It goes on by itself at {format_minute(rollout.waiting_until)}."
    if view.is_paused and (said is None or said.reason is not Reason.ROLLOUT_PAUSED):
        yield "Rollouts are paused: the next certificate will wait until mailtls rollout resume."


def to_approve(view: ResourceView, fingerprint: str | None) -> str:
    """Return the SHA-256 of the certificate to approve; raises ValueError where there is none, or it is another one."""
    stored, said = view.status.stored, _rolled_out(view)
    if stored is None:
        raise ValueError(f"{view.key} has no certificate yet.")
    if fingerprint is None:
        if said is None or said.reason is not Reason.WAITING_FOR_APPROVAL:
            raise ValueError(
                f"{view.key} waits for no approval; to approve its certificate all the same, write how its fingerprint "
                f"begins: {stored.sha256}"
            )
        return stored.sha256
    given = fingerprint.replace(":", "").strip().lower()
    if len(given) < SHORTEST_APPROVAL or not stored.sha256.startswith(given):
        raise ValueError(
            f"The certificate of {view.key} is another one, or fewer than {SHORTEST_APPROVAL} digits are given; it is "
            f"{stored.sha256}"
        )
    return stored.sha256


def _rolled_out(view: ResourceView) -> Condition | None:
    return view.status.condition(ConditionType.ROLLED_OUT)
