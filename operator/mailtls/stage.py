"""Stage: what each room offers to the reconciler: a pure decision, and beside it the effect that it asks for.

All stages are in one ordered list, `mailtls.stages.STAGES`; the first that has something to do is the next. Whoever
adds one writes a step, a decision and an executor, and one line in that list.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Event
from typing import Any, ClassVar, Generic, Protocol, Self, TypeAlias, TypeVar

import structlog

from mailtls.api.installation import Features
from mailtls.api.reading.spec import Defaults
from mailtls.context import Context
from mailtls.issuance.acme.accounts import Accounts
from mailtls.issuance.solvers.registry import Solvers
from mailtls.kube.interface import Cluster
from mailtls.kube.references import References
from mailtls.kube.secrets import Secrets
from mailtls.maildomain.facts import DomainFacts, MailDomain
from mailtls.metrics import Metrics
from mailtls.net import tracing
from mailtls.net.addresses import AddressPolicy
from mailtls.net.effects import Interrupted
from mailtls.probe.prober import SupportsExamine, SupportsProbe
from mailtls.rollout.coordinator import Coordinator
from mailtls.step import Rest, Step
from mailtls.times import Clock

log = structlog.get_logger()
FILE_PATIENCE = timedelta(seconds=10)  # a woken kubelet takes one; what takes longer is waited for by the queue


class PodProber(SupportsProbe, SupportsExamine, Protocol):
    """Connects to pods, and to the hosts of mail domains."""


class Domains(Protocol):
    """Looks up what mail domains publish."""

    def read_all(self, domains: Sequence[MailDomain]) -> Sequence[DomainFacts]:
        """Look all up within one limit of time, answer in their order; never raises for what the DNS does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapters:
    """What executors are made of: all that connects to the outside, and what the installation decided.

    `may_act` raises where another replica may lead. `namespaces` are those that resources may be in; empty: all.
    `public_hosts` says which addresses are dialled for a resource. `trust_pem` holds roots besides the system's.
    """

    cluster: Cluster
    secrets: Secrets
    accounts: Accounts
    solvers: Solvers
    references: References
    prober: PodProber
    domains: Domains
    clock: Clock
    metrics: Metrics
    stopping: Event
    defaults: Defaults
    may_act: Callable[[], None]
    features: Features = field(default_factory=Features)
    coordinator: Coordinator = field(default_factory=Coordinator)
    public_hosts: AddressPolicy = field(default_factory=AddressPolicy)
    namespaces: tuple[str, ...] = ()
    trust_pem: str = ""
    file_patience: timedelta = FILE_PATIENCE


class Executor:
    """The base of what performs the steps of a room; one of each kind is made, and shared by all workers.

    `problems` are exceptions that are an outcome of a step, and end no reconcile.
    """

    __slots__ = ()
    problems: ClassVar[tuple[type[Exception], ...]] = ()

    @classmethod
    def of(cls, adapters: Adapters) -> Self:
        """Make one."""
        raise NotImplementedError

    def failed(self, context: Context, step: Step, problem: Exception) -> Context:
        """Remember why a step failed, and when to try again."""
        del context, step
        raise problem


_Executor = TypeVar("_Executor", bound=Executor)
_Step = TypeVar("_Step", bound=Step)
Times: TypeAlias = Callable[[Context, datetime], Iterable[datetime | None]]


def _never(_context: Context, _now: datetime) -> Iterable[datetime | None]:
    return ()


@dataclass(frozen=True, slots=True)
class Gate:
    """Decides that nothing else is done for now, or lets the stages behind it decide."""

    decide: Callable[[Context, datetime], Rest | None]


@dataclass(frozen=True, slots=True)
class Stage(Generic[_Executor, _Step]):
    """One kind of step: when it is due, and who performs it.

    `due_at` are times at which the stage may have something to do though nothing else has changed. `retry_at` are those
    of what failed in this reconcile; one that has passed means at once.
    """

    step: type[_Step]
    decide: Callable[[Context, datetime], _Step | Rest | None]
    by: type[_Executor]
    execute: Callable[[_Executor, Context, _Step], Context]
    due_at: Times = _never
    retry_at: Times = _never


AnyStage: TypeAlias = Stage[Any, Any] | Gate


@dataclass(frozen=True, slots=True)
class Decision:
    """A step, with the stage that knows its executor."""

    step: Step
    stage: Stage[Any, Any]


def next_decision(stages: Sequence[AnyStage], context: Context, now: datetime) -> Decision | Rest:
    """Return the one thing to do now; `Rest` when every stage is content or has to wait."""
    for stage in stages:
        step = stage.decide(context, now)
        if isinstance(step, Rest):
            return step
        if step is not None and isinstance(stage, Stage):
            return Decision(step, stage)
    working = [stage for stage in stages if isinstance(stage, Stage)]
    due = [at for stage in working for at in stage.due_at(context, now) if at is not None and at > now]
    retries = [max(at, now) for stage in working for at in stage.retry_at(context, now) if at is not None]
    return Rest(min([*due, *retries], default=None))


class Plan:
    """The stages with their executors, one of each kind."""

    def __init__(self, stages: Sequence[AnyStage], adapters: Adapters) -> None:
        kinds = {stage.by for stage in stages if isinstance(stage, Stage)}
        self._executors: dict[type[Executor], Executor] = {kind: kind.of(adapters) for kind in kinds}
        self._stages, self._stopping, self._may_act = stages, adapters.stopping, adapters.may_act

    def next(self, context: Context, now: datetime) -> Decision | Rest:
        """Return the one thing to do now."""
        return next_decision(self._stages, context, now)

    def execute(self, decision: Decision, context: Context) -> Context:
        """Perform one step and return what is known then; failures of the outside are part of that.

        Raises `ReconcileEnded` where the process is stopping, or another replica leads.
        """
        if self._stopping.is_set():
            raise Interrupted
        self._may_act()
        executor, step = self._executors[decision.stage.by], decision.step
        with tracing.span(step.name) as span:
            try:
                with structlog.contextvars.bound_contextvars(step=step.name):
                    return decision.stage.execute(executor, context, step)
            except executor.problems as problem:
                span.note(error=type(problem).__name__, reason=_reason_of(problem))
                return executor.failed(context, step, problem)

    def executor(self, kind: type[_Executor]) -> _Executor:
        """Return the executor of a kind that a stage names."""
        found = self._executors[kind]
        if not isinstance(found, kind):
            raise TypeError("executors are filed under their own kind")
        return found


def _reason_of(problem: Exception) -> str | None:
    """Name the reason of a problem that has one."""
    finding = getattr(problem, "finding", None)
    return None if finding is None else str(finding.reason)
