"""Step: one thing to do for a resource, as a value that can be compared, tested and printed.

A stage decides on a step by the context alone; its executor performs it. What the reconciler has to know of a step
besides, such as how long it may last and what it waits on, the step says itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar, Final
from urllib.parse import urlsplit

from mailtls.api.spec import Desired, Place, PlaceKind
from mailtls.context import Context


@dataclass(frozen=True, slots=True)
class Deadline:
    """The seconds for all that a step does and waits for; `why` it is not the usual, where it is not."""

    seconds: float = 30.0
    why: str = ""


USUAL: Final = Deadline()


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to do before `until`; None: until something changes."""

    until: datetime | None


class Step:
    """The base of all steps, which are frozen dataclasses; one effect each.

    `gets_on`: the next reconcile goes on from what it has done, so that one that has lasted long may end after it.
    `is_record`: it writes down what was done, whatever a user decided since. `is_rollout`: a pod is reloaded by it.
    """

    __slots__ = ()
    deadline: ClassVar[Deadline] = USUAL
    gets_on: ClassVar[bool] = False
    is_record: ClassVar[bool] = False
    is_rollout: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """What it is called in logs and in the documentation."""
        return type(self).__name__

    def places(self, desired: Desired) -> Iterable[Place]:
        """Return what it waits on that may be dead; nothing where it only computes, or reads the API server."""
        del desired
        return ()

    def was_answered(self, context: Context) -> bool:
        """Whether the context after it proves that all its places answered, however slowly."""
        del context
        return False

    def is_reported_before(self, context: Context, silence: timedelta) -> bool:
        """Whether users learn what is known before it is taken; `silence` is the time since they last did."""
        del context, silence
        return False


class NoPlace(Exception):
    """Too many wait on the same already: the reconcile ends, and its resource is woken when it is its turn."""


def ca_of(server: str) -> Place:
    """Return the place of a CA by the URL of its directory: host and port, as one server may have many directories."""
    return Place(PlaceKind.CA, urlsplit(server).netloc.lower())


def objects_in(namespace: str) -> Place:
    """Return the place of the objects in a namespace."""
    return Place(PlaceKind.OBJECTS, namespace)


def pods_in(namespace: str) -> Place:
    """Return the place of the pods in a namespace."""
    return Place(PlaceKind.PODS, namespace)
