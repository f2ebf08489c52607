"""Stages: one ordered list; a room and a line in it are all that a new one takes."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import ClassVar, Final, Self

import pytest

from builders.contexts import a_context
from builders.stories import NOW
from builders.whole_reconcile import MX, WholeReconcile
from mailtls.context import Context
from mailtls.kube.interface import Cluster, Executed
from mailtls.net.effects import Interrupted
from mailtls.stage import Adapters, Decision, Executor, Gate, Stage, next_decision
from mailtls.stages import STAGES
from mailtls.step import Deadline, Rest, Step

GREETINGS: Final = "/api/v1/namespaces/mail/configmaps"
GREETED: Final = "example.test/greeted"
HOUR: Final = timedelta(hours=1)


# a toy room: a step, a decision and an executor


@dataclass(frozen=True, slots=True)
class Greet(Step):
    """Greet the owner of a resource."""

    name_of_owner: str

    deadline: ClassVar[Deadline] = Deadline(5.0, "a greeting is short")


class Unheard(Exception):
    """Nobody heard the greeting."""


def greet(context: Context, _now: datetime) -> Greet | None:
    """Every resource is greeted once."""
    annotations = context.snapshot.resource["metadata"].get("annotations") or {}
    return None if GREETED in annotations else Greet(context.desired.key.name)


def greets_again_at(_context: Context, now: datetime) -> Iterable[datetime | None]:
    """When the next greeting is due."""
    yield None
    yield now + HOUR


@dataclass(frozen=True, slots=True)
class Greeter(Executor):
    """Writes greetings down."""

    cluster: Cluster

    problems: ClassVar[tuple[type[Exception], ...]] = (Unheard,)

    @classmethod
    def of(cls, adapters: Adapters) -> Self:
        """Make one."""
        return cls(adapters.cluster)

    def greet(self, context: Context, step: Greet) -> Context:
        """Greet one."""
        self.cluster.create(GREETINGS, {"metadata": {"namespace": "mail", "name": f"hello-{step.name_of_owner}"}})
        return greeted(context)

    def greet_in_vain(self, _context: Context, _step: Greet) -> Context:
        """Greet whom nobody hears."""
        raise Unheard

    def failed(self, context: Context, step: Step, problem: Exception) -> Context:
        """Greet nobody twice, heard or not."""
        assert isinstance(step, Greet)
        assert isinstance(problem, Unheard)
        return greeted(context)


def greeted(context: Context) -> Context:
    """Know that a resource was greeted."""
    resource = context.snapshot.resource
    metadata = resource["metadata"] | {"annotations": {GREETED: "true"}}
    return context.with_snapshot(resource=resource | {"metadata": metadata})


GREETING: Final = Stage(Greet, greet, Greeter, Greeter.greet, greets_again_at)


def test_stage_is_added_by_one_line_and_carried_out_by_the_reconciler() -> None:
    """Nothing else names it: no table, no union, and not the composition."""
    passes = WholeReconcile(pods=1, stages=(*STAGES, GREETING))
    delay = passes.run()
    assert f"{GREETINGS}/hello-{MX.name}" in passes.cluster.objects
    assert passes.condition("Ready")["status"] == "True", "the other stages are as before"
    assert delay is not None
    assert delay <= HOUR.total_seconds()


def test_stage_that_is_first_goes_first() -> None:
    """The order of the list is the order of the work."""
    passes = WholeReconcile(pods=1, stages=(GREETING, *STAGES))
    was_greeted = list[bool]()

    def note(_pod: str) -> Executed:
        was_greeted.append(f"{GREETINGS}/hello-{MX.name}" in passes.cluster.objects)
        return Executed(0, "", "")

    passes.cluster.on_reload = note
    passes.run()
    assert was_greeted == [True]


def test_problem_of_an_executor_is_an_outcome_and_ends_no_reconcile() -> None:
    """Its room remembers it; the stages behind go on."""
    unheard = Stage(Greet, greet, Greeter, Greeter.greet_in_vain)
    passes = WholeReconcile(pods=1, stages=(unheard, *STAGES))
    passes.run()
    assert passes.condition("Ready")["status"] == "True"


def test_step_is_taken_by_nobody_who_is_stopping() -> None:
    """What was begun goes on after the restart."""
    passes = WholeReconcile(pods=1, stages=(GREETING,))
    passes.stopping.set()
    with pytest.raises(Interrupted):
        passes.run()
    assert not [name for name in passes.cluster.objects if name.startswith(GREETINGS)]


def test_gate_keeps_the_stages_behind_it_from_deciding() -> None:
    """Until it lets them, or its time has come."""
    context = replace_resource(a_context())
    shut = Gate(lambda _context, now: Rest(now + HOUR))
    ajar = Gate(lambda _context, _now: None)
    assert next_decision((shut, GREETING), context, NOW) == Rest(NOW + HOUR)
    assert next_decision((ajar, GREETING), context, NOW) == Decision(Greet("mx"), GREETING)


def test_rest_lasts_until_the_first_time_that_any_stage_names() -> None:
    """A time that has passed says nothing, but for what failed in this very reconcile: that is tried at once."""
    context = greeted(replace_resource(a_context()))
    past = replace(GREETING, due_at=lambda _context, now: [now - HOUR, None])
    failed = replace(GREETING, retry_at=lambda _context, now: [now - HOUR, None])
    assert next_decision((GREETING,), context, NOW) == Rest(NOW + HOUR)
    assert next_decision((past,), context, NOW) == Rest(None)
    assert next_decision((past, GREETING), context, NOW) == Rest(NOW + HOUR)
    assert next_decision((failed,), context, NOW) == Rest(NOW)


def replace_resource(context: Context) -> Context:
    """A context of a resource without annotations."""
    return context.with_snapshot(resource={"metadata": {}})


def test_every_stage_of_the_operator_has_a_step_of_its_own() -> None:
    """So a step tells which stage it is of, in logs, metrics and the table of deadlines."""
    steps = [stage.step for stage in STAGES if isinstance(stage, Stage)]
    assert len(steps) == len(set(steps))
    assert all(issubclass(step, Step) and step.__doc__ for step in steps)
