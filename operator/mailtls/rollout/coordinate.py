"""Requests a turn before a rollout begins, and gives it back when it has ended or failed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Self

from mailtls.context import Context
from mailtls.rollout.coordinator import Coordinator
from mailtls.rollout.decide import next_step
from mailtls.rollout.steps import Action, WaitForPods
from mailtls.rollout.turns import Need
from mailtls.stage import Adapters, Executor
from mailtls.step import Step
from mailtls.verification.evidence import PASSING, UNREACHABLE, evidence, serves


@dataclass(frozen=True, slots=True)
class RequestTurn(Step):
    """Request that the rollout may begin, or go on, beside those of other resources."""

    need: Need


@dataclass(frozen=True, slots=True)
class EndTurn(Step):
    """Let another resource roll out."""


def request_turn(context: Context, now: datetime) -> RequestTurn | None:
    """Once in each reconcile that acts, or waits for pods that it has acted on."""
    if context.rollout.turn is not None or not _wants_turn(context, now):
        return None
    return RequestTurn(need_of(context))


def end_turn(context: Context, now: datetime) -> EndTurn | None:
    """As soon as no step is left, or none that may be taken now."""
    turn = context.rollout.turn
    return EndTurn() if turn is not None and turn.is_granted and not _wants_turn(context, now) else None


def _wants_turn(context: Context, now: datetime) -> bool:
    progress = context.rollout.progress
    if context.rollout.failure is not None or progress is None:
        return False
    step = next_step(context, now)
    return isinstance(step, Action) or (isinstance(step, WaitForPods) and bool(progress.acted_at or progress.put_off))


def need_of(context: Context) -> Need:
    """Say whether pods have the certificate already, and when what the others serve is about to expire.

    One that is brought back in the place of another counts as begun: it has no time to lose.
    """
    wanted = context.leaf.sha256 if context.leaf else ""
    endpoints = evidence(context).values()
    others = [each for each in endpoints if not serves(each, wanted)]
    expiry = min((each.served_not_after for each in others if each.served_not_after is not None), default=None)
    urgent_at = expiry - context.desired.rollout.urgent_before if expiry is not None else None
    turned_away = [
        each.checked_at
        for each in others
        if each.served_sha256 is None and each.failure and each.failure.reason not in UNREACHABLE | PASSING
    ]
    times = [*turned_away, *([urgent_at] if urgent_at is not None else [])]
    has_begun = context.snapshot.secret.hold is not None or len(others) < len(endpoints)
    return Need(has_begun, urgent_at=min(times, default=None), left=len(others))


@dataclass(frozen=True, slots=True)
class Coordinating(Executor):
    """Requests turns of the coordinator of the installation."""

    coordinator: Coordinator

    @classmethod
    def of(cls, adapters: Adapters) -> Self:
        """Make one."""
        return cls(adapters.coordinator)

    def request(self, context: Context, step: RequestTurn) -> Context:
        """Know whether it is the resource's turn."""
        return context.with_rollout(turn=self.coordinator.request(context.desired.key, step.need))

    def end(self, context: Context, _step: EndTurn) -> Context:
        """Give the turn back."""
        self.coordinator.give_back(context.desired.key)
        return context.with_rollout(turn=None)
