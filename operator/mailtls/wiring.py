"""Puts the real adapters together; nothing else constructs them."""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Event

from mailtls.election import Leadership
from mailtls.model.spec import Key
from mailtls.settings import Settings
from mailtls.world.claims import Claims
from mailtls.world.http01 import Tokens
from mailtls.world.metrics import Metrics
from mailtls.world.ports import Cluster, Json


@dataclass(frozen=True, slots=True)
class Parts:
    """What the process has made before any work begins. `stopping` is set once and ends all waits."""

    settings: Settings
    cluster: Cluster
    metrics: Metrics
    leadership: Leadership
    tokens: Tokens
    claims: Claims
    stopping: Event


@dataclass(frozen=True, slots=True)
class Work:
    """What the process does once it leads.

    `begin` is called once, before all; it may raise `Unreachable` and is called again then. `restore` is called with
    each resource that exists, before the first pass. `reconcile` is what the queue runs.
    """

    begin: Callable[[], None]
    restore: Callable[[Json], None]
    reconcile: Callable[[Key], float | None]


def build(parts: Parts) -> Work:
    """Wire the operator; raises `InvalidSettings` where settings that are well-formed make no sense together."""
    raise NotImplementedError(parts)
