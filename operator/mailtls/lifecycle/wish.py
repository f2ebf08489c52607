"""How far the operator has come with a wish that an annotation told it: a renewal, a rollback, a probe."""

from dataclasses import dataclass
from enum import StrEnum

from mailtls.model.resource_view import ResourceView
from mailtls.model.status import ConditionType, Truth


class Wish(StrEnum):
    """What can be wished for; the annotation is `mailtls.dev/` and this, and `status.handled` has it by the same."""

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
    if view.handled.get(wish) != value:
        return _waiting(view, wish, value)
    if wish is Wish.PROBE:
        return _verified(view)
    if view.is_ready:
        return Progress(came_true=True, sentence=f"{view.key} is Ready: every probed port serves the certificate.")
    return Progress(came_true=None, sentence=_story(view))


def _waiting(view: ResourceView, wish: Wish, value: str) -> Progress:
    attempts = view.status.attempts
    failed = attempts is not None and wish is Wish.RENEW and attempts.observed_renew == value
    if attempts is None or not failed:
        return Progress(came_true=None, sentence=_story(view))
    sentence = f"{attempts.reason}: {attempts.message}"
    return Progress(came_true=None if attempts.next_attempt_at else False, sentence=sentence)


def _verified(view: ResourceView) -> Progress:
    verified = view.status.condition(ConditionType.VERIFIED)
    if verified is None or verified.status is Truth.UNKNOWN:
        return Progress(came_true=None, sentence=_story(view))
    return Progress(came_true=verified.status is Truth.TRUE, sentence=f"{verified.reason}: {verified.message}")


def _story(view: ResourceView) -> str:
    obstacle = view.obstacle
    if obstacle is None:
        return "The operator has not taken up the wish yet."
    return f"{obstacle.type}: {obstacle.reason}: {obstacle.message}"
