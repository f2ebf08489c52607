"""What is looked at before every effect: whether this process still leads, and whether its work is still wanted.

An effect is a write to the API server, a command in a pod, a DNS update, a request that a CA counts. The adapters that
have effects call `before_effect`; whoever runs a pass says by `guarded` what must hold. A process can be stopped for
a minute between any two lines, so this is looked at right before each effect and not only once for each step.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class PassEnded(Exception):
    """The pass may do nothing more; what it saved is what the next one goes on from."""


class ResourceChanged(PassEnded):
    """The resource was changed, suspended, deleted or asked for something since the pass read it."""


class Interrupted(PassEnded):
    """The operator is stopping; what was begun goes on after its restart."""


Guard = Callable[[], None]
_GUARDS: ContextVar[tuple[Guard, ...]] = ContextVar("guards", default=())


@contextmanager
def guarded(guard: Guard) -> Iterator[None]:
    """Call `guard`, which raises `PassEnded`, before each effect of this thread, besides the guards that stand."""
    token = _GUARDS.set((*_GUARDS.get(), guard))
    try:
        yield
    finally:
        _GUARDS.reset(token)


def before_effect() -> None:
    """Raise `PassEnded` where a guard does; without guards, as on the command line, nothing stands in the way."""
    for guard in _GUARDS.get():
        guard()
