"""How far the operator has come with a wish that an annotation told it: a renewal, a rollback, a probe."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from mailtls.model.reason import Reason
from mailtls.model.resource_view import ResourceView
from mailtls.model.status import ConditionType, HistoryEntry, Truth

_ENDINGS: Final = frozenset({Reason.ISSUED, Reason.ROLLED_BACK, Reason.ROLLBACK_REFUSED})


class Wish(StrEnum):
    """What can be wished for; the annotation is `mailtls.dev/` and this, and the status has `lastHandledRenew` etc."""

    RENEW = "renew"
    ROLLBACK = "rollback"
    PROBE = "probe"

    @property
    def annotation(self) -> str:
        """The annotation that tells it."""
        return f"mailtls.dev/{self}"


@dataclass(frozen=True, slots=True)
class Progress:
    """`came_true` None: not yet decided. `sentence` says where things stand."""

    came_true: bool | None
    sentence: str


def progress(view: ResourceView, wish: Wish, value: str) -> Progress:
    """Say how far the wish of this value is."""
    if view.is_suspended:
        return Progress(came_true=False, sentence=suspended(view))
    if view.handled.get(wish) != value:
        return _waiting(view, wish, value)
    if wish is Wish.PROBE:
        return _verified(view)
    refusal = _refusal(view) if wish is Wish.ROLLBACK else None
    if refusal is not None:
        return Progress(came_true=False, sentence=f"{refusal.event}: {refusal.message}")
    if view.is_ready:
        return Progress(came_true=True, sentence=f"{view.key} is Ready: every probed port serves the certificate.")
    return Progress(came_true=None, sentence=_story(view))


def suspended(view: ResourceView) -> str:
    """Say that a request has to wait, and for what."""
    return f"{view.key} is suspended: the operator handles the request when spec.suspend is false."


def _waiting(view: ResourceView, wish: Wish, value: str) -> Progress:
    attempts = view.status.attempts
    failed = attempts is not None and wish is Wish.RENEW and attempts.observed_renew == value
    if attempts is None or not failed:
        return Progress(came_true=None, sentence=_story(view))
    sentence = f"{attempts.reason}: {attempts.message}"
    return Progress(came_true=None if attempts.next_attempt_at else False, sentence=sentence)


def _refusal(view: ResourceView) -> HistoryEntry | None:
    """What became of a rollback that was heeded: a refusal leaves the resource as Ready as it was."""
    last = next((each for each in reversed(view.status.history) if each.event in _ENDINGS), None)
    return last if last is not None and last.event is Reason.ROLLBACK_REFUSED else None


def _verified(view: ResourceView) -> Progress:
    verified = view.status.condition(ConditionType.VERIFIED)
    if verified is None or verified.status is Truth.UNKNOWN:
        return Progress(came_true=None, sentence=_story(view))
    return Progress(came_true=verified.status is Truth.TRUE, sentence=f"{verified.reason}: {verified.message}")


def _story(view: ResourceView) -> str:
    obstacle = view.obstacle
    if obstacle is None:
        return "The operator has not taken up the request yet."
    return f"{obstacle.type}: {obstacle.reason}: {obstacle.message}"
