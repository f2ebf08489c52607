"""What bounds effects: a deadline for all that is under way, and a last check before each of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from time import monotonic

_DEADLINE: ContextVar[float | None] = ContextVar("deadline", default=None)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Let all that the block waits for end within `seconds`, or within those that a block around it has left."""
    before, mine = _DEADLINE.get(), monotonic() + seconds
    token = _DEADLINE.set(mine if before is None else min(before, mine))
    try:
        yield
    finally:
        _DEADLINE.reset(token)


def seconds_left() -> float | None:
    """How long the block of `within` may still last, None outside of one; raises TimeoutError when it is over."""
    deadline = _DEADLINE.get()
    if deadline is None:
        return None
    left = deadline - monotonic()
    if left <= 0:
        raise TimeoutError("the deadline has passed")
    return left


def bounded(seconds: float) -> float:
    """Return `seconds`, or those that are left where these are fewer; raises TimeoutError when none are."""
    left = seconds_left()
    return seconds if left is None else min(seconds, left)


def end_of(seconds: float) -> float:
    """Return the monotonic time in `seconds` from now, or that of the deadline where it comes first."""
    deadline, mine = _DEADLINE.get(), monotonic() + seconds
    return mine if deadline is None else min(deadline, mine)


class SystemClock:
    """Implements `ports.Clock`."""

    def now(self) -> datetime:
        """Return the time in UTC, with time zone."""
        return datetime.now(UTC)


class ReconcileEnded(Exception):
    """The reconcile may do nothing more; what it saved is what the next one goes on from."""


class ResourceChanged(ReconcileEnded):
    """The resource was changed, suspended, deleted or asked for something since the reconcile read it."""


class Interrupted(ReconcileEnded):
    """The operator is stopping; what was begun goes on after its restart."""


Guard = Callable[[], None]
_GUARDS: ContextVar[tuple[Guard, ...]] = ContextVar("guards", default=())


@contextmanager
def guarded(guard: Guard) -> Iterator[None]:
    """Call `guard`, which raises `ReconcileEnded`, before each effect of this thread, besides the guards that stand."""
    token = _GUARDS.set((*_GUARDS.get(), guard))
    try:
        yield
    finally:
        _GUARDS.reset(token)


def before_effect() -> None:
    """Raise `ReconcileEnded` where a guard does; without guards, as on the command line, nothing stands in the way."""
    for guard in _GUARDS.get():
        guard()
