"""Several resources, workers and accidents at once: the real controller in a simulated world, on a clock that it moves.

A run is made of a plan of accidents, each so many effects after the one before, and of a seed that says who of those
that could run does. Both shrink, and a failing run can be repeated. MAILTLS_SIMULATIONS names how many runs are made.
"""

import logging
import os
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.simulation.audit import LONGEST_PASS, Audit, unfinished
from fakes.simulation.primitives import installed
from fakes.simulation.world import Disturbance, Fault, Wanted, World

FEW = 25
RUNS = int(os.environ.get("MAILTLS_SIMULATIONS", str(FEW)))
PATIENCE = 3 * 24 * 3600.0  # seconds of the simulation: four failed attempts in a row wait for a day
QUIET = 30.0

MX = Wanted("a", "mx", (("postfix", 2, "Reload"), ("dovecot", 2, "Restart")))
LISTS = Wanted("a", "lists", (("exim", 2, "Reload"), ("cyrus", 1, "Reload")))
OTHER = Wanted("b", "mx", (("postfix", 3, "Reload"), ("haproxy", 1, "Restart")))

FAULTS = [
    *(Fault("api", kind) for kind in ("conflict", "server error", "unreachable", "slow", "lost answer")),
    *(Fault("api", kind, "-next") for kind in ("conflict", "unreachable", "lost answer")),
    *(Fault("api", kind, "-tls") for kind in ("conflict", "unreachable", "lost answer")),
    *(Fault("exec", kind) for kind in ("server error", "unreachable", "slow", "lost answer")),
    *(Fault("ca", kind) for kind in ("server error", "bad nonce", "unreachable", "slow", "lost answer")),
    *(Fault("ca", kind, "order https://ca.test/order") for kind in ("rate limited", "lost answer", "server error")),
    *(Fault("watch", kind) for kind in ("lost", "late")),
]


Act = tuple[str, Callable[[World], object]]


def act(what: Callable[..., object], *given: object, **named: object) -> Act:
    """Name what happens."""
    words = [what.__name__, *map(str, given), *(f"{name}={value}" for name, value in named.items())]
    return " ".join(words), partial(_do, what, given, named)


def _do(what: Callable[..., object], given: Sequence[object], named: dict[str, object], world: World) -> None:
    what(world, *given, **named)


def of_resource(which: int) -> list[Act]:
    """What users do with one of the resources, and accidents that happen to it."""
    return [
        act(World.spec, which, suspend=True),
        act(World.spec, which, suspend=False),
        act(World.rename, which, "more"),
        act(World.rename, which, ""),
        *(act(World.request, which, name) for name in ("renew", "rollback", "probe")),
        act(World.delete, which),
        act(World.create, which),
        act(World.spoil_secret, which),
        act(World.delete_secret, which),
        act(World.scale, which, 1),
        act(World.scale, which, -1),
    ]


ACTS = [
    *(act(World.arm, each) for each in FAULTS),
    *(each for which in range(3) for each in of_resource(which)),
    *(act(World.kill_pod, which) for which in range(8)),
    *(act(World.slow_pod, which) for which in range(4)),
    *[act(World.crash)] * 6,
    *[act(World.lose_leadership)] * 3,
    *[act(World.sweep)] * 2,
    act(World.sleep_long),
]

disturbances = st.builds(
    lambda after, chosen: Disturbance(after, chosen[1], chosen[0]), st.integers(0, 80), st.sampled_from(ACTS)
)
plans = st.lists(disturbances, max_size=12)


def run(world: World) -> None:
    """Let everything happen that is planned, then let all faults end and wait until all is well."""
    with _alive(world):
        audit = Audit(world)
        world.begin()
        _live_through(world)
        _calm(world)
        end = world.runtime.monotonic() + PATIENCE
        while (left := unfinished(world)) and world.runtime.monotonic() < end and not audit.breaches:
            world.runtime.sleep(QUIET)
        assert not audit.breaches, _story(world, audit.breaches)
        assert not left, _story(world, left)
        longest = max(each.longest for each in (*world.retired, world.process) if each is not None)
        assert longest < LONGEST_PASS, _story(world, [f"a reconcile took {longest} s"])


@contextmanager
def _alive(world: World) -> Iterator[None]:
    """Run the operator on simulated threads meanwhile, and in silence."""
    random.seed(0)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        with installed(world.runtime):
            try:
                yield
            finally:
                world.runtime.end()
    finally:
        structlog.reset_defaults()


def _live_through(world: World) -> None:
    """Wait until the whole plan has happened; where nothing happens any more, the next accident does."""
    while world.plan:
        before = world.steps
        world.runtime.sleep(QUIET)
        if world.steps == before and world.plan:
            world.disturb()


def _calm(world: World) -> None:
    """End what users and accidents keep from being well."""
    world.faults.clear()
    world.runtime.sleep(QUIET)
    for which, wanted in enumerate(world.wanted):
        if wanted.path in world.api.objects:
            world.spec(which, suspend=False)


def _story(world: World, faults: Sequence[str]) -> str:
    return "\n".join(["", *world.log, "", *faults])


@settings(max_examples=RUNS, derandomize=RUNS == FEW)
@given(plans, st.integers(0, 2**16), st.integers(1, 4))
def test_whatever_happens_all_ends_well(plan: list[Disturbance], seed: int, workers: int) -> None:
    """Whatever fails and whoever runs first: no rule is broken on the way, and every resource is ready in the end."""
    run(World([MX, LISTS, OTHER], plan, workers=workers, seed=seed))
