"""Decides on the steps of a rollout: read the workloads once in a reconcile, then one action after the other."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar, Final

from mailtls.api.spec import Desired, Place
from mailtls.context import Context
from mailtls.issuance.policy import is_readable, usable
from mailtls.rollout.permission import terms_of
from mailtls.rollout.policy import next_roll
from mailtls.rollout.steps import Action, Held, RolloutFailed, RollStep, WaitForPods
from mailtls.step import Deadline, Step, pods_in
from mailtls.verification.evidence import evidence

LONG_SILENCE: Final = timedelta(seconds=1)
"""Of a rollout that is quick not every pod is reported."""


@dataclass(frozen=True, slots=True)
class ReadWorkloads(Step):
    """Read the workloads and their pods."""

    def is_reported_before(self, context: Context, silence: timedelta) -> bool:
        """A certificate is reported before its rollout."""
        del silence
        return context.issuance.issued is not None


@dataclass(frozen=True, slots=True)
class Roll(Step):
    """Perform one step of the rollout."""

    step: Action | RolloutFailed

    deadline: ClassVar[Deadline] = Deadline(
        90.0, "10 seconds for the file, 40 for the reload command, 30 until the server serves it"
    )
    gets_on: ClassVar[bool] = True
    is_rollout: ClassVar[bool] = True

    def places(self, desired: Desired) -> Iterable[Place]:
        """The pods."""
        return (pods_in(desired.key.namespace),)

    def is_reported_before(self, context: Context, silence: timedelta) -> bool:
        """The first pod may take long itself, so it is reported, and those that follow after a while."""
        del context
        return silence >= LONG_SILENCE


def read_workloads(context: Context, _now: datetime) -> ReadWorkloads | None:
    """The pods are read once in a reconcile, whatever is stored: an expired certificate is seen where it serves."""
    is_nothing_known = not is_readable(context) and not context.desired.is_external
    if not context.desired.workloads or context.snapshot.workloads is not None or is_nothing_known:
        return None
    return ReadWorkloads()


def roll(context: Context, now: datetime) -> Roll | None:
    """One pod after the other; waiting and failing are not steps but what the report says."""
    if context.rollout.failure is not None:
        return None
    step = next_step(context, now)
    return Roll(step) if isinstance(step, Action | RolloutFailed) else None


def pods_expected_at(context: Context, now: datetime) -> datetime | None:
    """When pods are read again that are waited for."""
    step = next_step(context, now)
    return step.until if isinstance(step, WaitForPods) and context.rollout.failure is None else None


def held(context: Context, now: datetime) -> Held | None:
    """What keeps the next pod from being begun; None where nothing does, and where all pods are done."""
    step = next_step(context, now) if context.rollout.failure is None else None
    return step if isinstance(step, Held) else None


def roll_due_at(context: Context, now: datetime) -> Iterable[datetime | None]:
    """When pods are read again that are waited for, and when the next pod may be begun."""
    yield pods_expected_at(context, now)
    if (waiting := held(context, now)) is not None:
        yield waiting.until


def roll_retry_at(context: Context, _now: datetime) -> Iterable[datetime | None]:
    """When a rollout that failed is tried again."""
    yield context.rollout.failure.retry_at if context.rollout.failure is not None else None


def next_step(context: Context, now: datetime) -> RollStep | None:
    """What the rollout does next; nothing is rolled out that no client would accept, such as an expired certificate."""
    certificate, workloads, progress = (
        context.snapshot.secret.certificate,
        context.snapshot.workloads,
        context.rollout.progress,
    )
    if workloads is None or certificate is None or progress is None or not usable(context, now):
        return None
    return next_roll(workloads, evidence(context), certificate.sha256, progress, now, terms=terms_of(context))
