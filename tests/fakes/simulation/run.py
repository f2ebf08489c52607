"""Runs a simulated world from its beginning until all is well, and says what went wrong on the way."""

import logging
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import structlog

from fakes.simulation.audit import LONGEST_PASS, Audit, condition, is_fit, refused, unfinished
from fakes.simulation.primitives import installed
from fakes.simulation.world import World

PATIENCE: Final = 3 * 24 * 3600.0  # seconds of the simulation: four failed attempts in a row wait for a day
QUIET: Final = 30.0
COMES_TO_REST: Final = 300.0
RESTS: Final = 600.0


def run(world: World, patience: float = PATIENCE) -> Audit:
    """Let everything happen that is planned, then let all faults end and wait until all is well.

    Raises AssertionError with the story where a rule was broken, or something is not well after `patience` seconds.
    """
    with alive(world):
        audit = Audit(world)
        world.begin()
        _live_through(world)
        _calm(world)
        end = world.runtime.monotonic() + patience
        while (left := unfinished(world)) and world.runtime.monotonic() < end and not audit.breaches:
            _decide(world)
            world.runtime.sleep(QUIET)
        assert not audit.breaches, _story(world, audit.breaches)
        assert not left, _story(world, left)
        _rest(world, audit)
        longest = max(each.longest for each in (*world.retired, world.process) if each is not None)
        assert longest < LONGEST_PASS, _story(world, [f"a reconcile took {longest} s"])
        return audit


@contextmanager
def alive(world: World) -> Iterator[None]:
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
    world.servers.kept.clear()
    for which, wanted in enumerate(world.wanted):
        spec = world.api.objects.get(wanted.path, {}).get("spec", {})
        if spec.get("suspend") or spec.get("rollout"):  # a changed spec would end what a rollback holds back
            world.spec(which, suspend=False, rollout={})
        if spec:
            world.resume(which)
            _put_right(world, which)


def _put_right(world: World, which: int) -> None:
    """Have others write a certificate that can serve, where theirs cannot."""
    wanted = world.wanted[which]
    if wanted.is_external and not is_fit(world, wanted):
        world.supply(which)


def _rest(world: World, audit: Audit) -> None:
    """Once all is well, nothing is written any more, though every resource is reconciled again."""
    world.runtime.sleep(COMES_TO_REST)
    since = world.runtime.monotonic()
    for wanted in world.wanted:
        if world.process is not None:
            world.process.controller._hint(wanted.key)
    world.runtime.sleep(RESTS)
    late = [f"{at:.2f}: {path} is written, though nothing happens" for at, path in audit.writes if at >= since]
    assert not late, _story(world, late)


def _decide(world: World) -> None:
    """Request another certificate where one stays that clients refuse, as nothing else is there to go back to."""
    for wanted in world.wanted:
        if condition(world.api.objects.get(wanted.path, {}), "Ready").get("reason") == "TemplateReverted":
            world.restart_rollouts(wanted)
    for which in refused(world):
        body = world.api.objects.get(world.wanted[which].path)
        if body is not None and condition(body, "Ready").get("reason") in {"CanaryFailed", "UntrustedRoot"}:
            world.request(which, "renew")


def _story(world: World, faults: Sequence[str]) -> str:
    return "\n".join(["", *world.log, "", *faults])
