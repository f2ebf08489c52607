"""What the states of all rooms share: for how long the process remembers each field, and failures.

A room keeps its memory between two reconciles of a resource in one small frozen dataclass. Each field declares, in its
metadata, what has to be the same in the next reconcile for its value to count there. A field that declares nothing is
an error, so that none is carried over, or forgotten, by accident.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, TypeVar

from mailtls.reasons.reason import Finding

_METADATA: Final = "kept_while_same"
State = TypeVar("State")


class Same(StrEnum):
    """What may be the same in the next reconcile of a resource."""

    SPEC = "the generation of the spec"
    CERTIFICATE = "the certificate in the Secret"
    SECRET = "the version of the Secret"  # noqa: S105 - what may be the same, no password
    REQUEST = "the request for a renewal"
    STAGED_KEY = "the staged key"
    ORDER = "the open order"
    ROLLOUT = "the rollout, which has not ended"
    REPORT = "the status, which does not have yet what is known"


def kept(*same: Same) -> Mapping[str, frozenset[Same] | None]:
    """Say that a field is kept while all these are the same; without any, as long as the process lives."""
    return {_METADATA: frozenset(same)}


RESET: Final[Mapping[str, frozenset[Same] | None]] = {_METADATA: None}
"""Says that a field belongs to one reconcile alone."""


def kept_while(state: object, name: str) -> frozenset[Same] | None:
    """Return what has to be the same for a field to be kept, None where it never is; KeyError if it does not say."""
    declared = next(each.metadata for each in fields(state) if each.name == name)  # type: ignore[arg-type]
    found: frozenset[Same] | None = declared[_METADATA]
    return found


def carry(before: State, fresh: State, same: frozenset[Same]) -> State:
    """Return `fresh` with those fields of `before` that are kept while these are the same."""
    return _with(fresh, before, lambda needed: needed is not None and needed <= same)


def forget(state: State, changed: Same) -> State:
    """Return the state with all fields at their defaults that are kept only while `changed` is the same."""
    return _with(state, type(state)(), lambda needed: needed is not None and changed in needed)


def _with(state: State, source: State, is_meant: Any) -> State:
    names = [each.name for each in fields(state)]  # type: ignore[arg-type]
    taken = {name: getattr(source, name) for name in names if is_meant(kept_while(state, name))}
    return replace(state, **taken)  # type: ignore[type-var]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a stage cannot go on in this reconcile, and when to try again (None: a person is needed).

    `is_final`: the order is over. `lasts`: it goes on, but later reconciles wait for `retry_at` as well.
    """

    finding: Finding
    retry_at: datetime | None
    is_final: bool = False
    lasts: bool = False
