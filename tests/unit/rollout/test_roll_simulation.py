"""Rollouts of random workloads in a simulated cluster, with an operator that may die at any line."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum, auto

from hypothesis import given, settings
from hypothesis import strategies as st

from builders.rolling import NEW, NOW, OLD, SMTP, evidence, pod, seen, state, workload
from mailtls.api.spec import ONE, Amount, Approval, Rollout
from mailtls.api.windows import Window
from mailtls.api.workload import UpdateStrategy
from mailtls.kube.workload import WorkloadState
from mailtls.probe.target import Endpoint
from mailtls.reasons.reason import Finding, Reason
from mailtls.rollout.policy import next_roll
from mailtls.rollout.steps import (
    Action,
    Held,
    ReloadPod,
    ReplacePod,
    RestartWorkload,
    RolledOut,
    RolloutFailed,
    RollProgress,
    RollStep,
    WaitForPods,
)
from mailtls.rollout.view import Terms

TIMEOUT = timedelta(minutes=1)
SIMULATED = (UpdateStrategy.RELOAD, UpdateStrategy.RESTART, UpdateStrategy.NONE)
MANY_STEPS = 2000


class Temper(Enum):
    """How a simulated server takes being told."""

    LOADS = auto()
    LOADS_SLOWLY = auto()
    IGNORES = auto()
    COMMAND_FAILS = auto()
    DIES = auto()
    BREAKS_TLS = auto()
    NEVER_READY = auto()
    REFUSES_CONNECTIONS = auto()
    UNTRUSTED = auto()  # it loads the certificate, and clients refuse it


@dataclass
class Server:
    """A mail server in a pod."""

    name: str
    temper: Temper
    served: str
    told: str | None = None
    loads_at: datetime | None = None
    dead: bool = False

    def load(self, now: datetime) -> Finding | None:
        """Run the reload command."""
        if self.temper is Temper.COMMAND_FAILS:
            return Finding(Reason.RELOAD_FAILED, "exit code 1")
        if self.temper in {Temper.LOADS, Temper.LOADS_SLOWLY, Temper.UNTRUSTED}:
            self.loads_at = now + timedelta(seconds=3 if self.temper is Temper.LOADS_SLOWLY else 0)
        self.dead = self.temper in {Temper.DIES, Temper.BREAKS_TLS}
        return None

    def look(self, now: datetime) -> Endpoint:
        """Probe its port."""
        if self.loads_at is not None and now >= self.loads_at:
            self.served = NEW
        if self.temper is Temper.REFUSES_CONNECTIONS:
            return seen(self.name, SMTP, None, Reason.CONNECTION_REFUSED)
        if self.dead and self.temper is Temper.BREAKS_TLS:
            return seen(self.name, SMTP, None, Reason.STARTTLS_UNAVAILABLE)
        is_refused = self.temper is Temper.UNTRUSTED and self.served == NEW
        return seen(self.name, SMTP, self.served, Reason.UNTRUSTED_ROOT if is_refused else None)

    @property
    def is_ready(self) -> bool:
        """Whether its pod is ready."""
        return self.temper is not Temper.NEVER_READY and not (self.dead and self.temper is Temper.DIES)

    @property
    def is_untested(self) -> bool:
        """Whether it was told, and nothing proves that it took it."""
        return self.told == NEW and (self.served != NEW or self.dead)


@dataclass
class Group:
    """A workload."""

    strategy: UpdateStrategy
    servers: list[Server]
    template: str | None = None
    restarted_at: datetime | None = None

    def observe(self, index: int, now: datetime) -> WorkloadState:
        """Return its state; a restart takes 30 seconds, and ends only if all servers come up."""
        up = all(server.is_ready for server in self.servers)
        if self.restarted_at is not None and now >= self.restarted_at + timedelta(seconds=30) and up:
            for server in self.servers:
                server.served = OLD if server.temper is Temper.IGNORES else NEW
            self.restarted_at = None
        pods = [pod(server.name, told=server.told, ready=server.is_ready) for server in self.servers]
        wanted = workload(self.strategy, f"w{index}", ports=(SMTP,))
        if self.restarted_at is None:
            pods = [replace(each, template_sha256=self.template) for each in pods]
        return state(*pods, of=wanted, template=self.template, rolled=up and self.restarted_at is None)


@dataclass
class People:
    """Who decides when pods may be begun: by a window of five minutes in each hour, a pause, and an approval."""

    has_window: bool
    approval: Approval
    pauses: Iterator[bool]
    is_paused: bool = False
    approved: str = OLD
    waits: int = 0

    @property
    def terms(self) -> Terms:
        """What they have decided so far."""
        windows = (Window("0 * * * *", timedelta(minutes=5)),) if self.has_window else ()
        return Terms(Rollout(TIMEOUT, windows=windows, approval=self.approval), self.is_paused, self.approved)

    def permit(self, now: datetime, *, is_canary: bool) -> bool:
        """Whether something may be begun now, by other words than the operator's."""
        is_approved = self.approval is Approval.NONE or self.approved == NEW or is_canary
        return not self.is_paused and is_approved and (not self.has_window or now.minute < 5)

    def interfere(self) -> None:
        """Pause the rollout at this very moment, perhaps."""
        self.is_paused = self.is_paused or next(self.pauses, False)

    def decide(self, reason: Reason) -> None:
        """Do what the rollout waits for, in hours."""
        self.waits += 1
        if reason is Reason.ROLLOUT_PAUSED:
            self.is_paused = False
        if reason is Reason.WAITING_FOR_APPROVAL:
            self.approved = NEW


class Killed(Exception):
    """The operator died."""


@dataclass
class Simulation:
    """The cluster, its clock, and when the operator dies."""

    groups: list[Group]
    deaths: Iterator[bool]
    now: datetime = NOW
    told_at_once: int = 0
    people: People | None = None
    canary: Amount = ONE
    most: Amount = ONE
    is_canary: bool = False
    restarts: list[str] = field(default_factory=list)

    def servers(self) -> list[Server]:
        """Return all servers."""
        return [server for group in self.groups for server in group.servers]

    def next_step(self, progress: RollProgress) -> RollStep:
        """Observe, probe and decide, as reconcile does."""
        states = [group.observe(index, self.now) for index, group in enumerate(self.groups)]
        probes = evidence([server.look(self.now) for server in self.servers() if server.is_ready])
        reloaded = [
            server for group in self.groups if group.strategy is UpdateStrategy.RELOAD for server in group.servers
        ]
        self.told_at_once = max(self.told_at_once, sum(server.is_untested for server in reloaded))
        begun = {
            group: sum(NEW in {each.told, each.served} for each in of.servers) for group, of in enumerate(self.groups)
        }
        first = [group for group, number in begun.items() if number]
        self.is_canary = not first or (len(first) == 1 and begun[first[0]] < self.canary.number)
        return next_roll(states, probes, NEW, progress, self.now, terms=self.people.terms if self.people else None)

    def perform(self, step: Action) -> Finding | None:
        """Do what the step says; the operator may die before, between and after the effects."""
        if self.people is not None and self.begins(step):
            assert self.people.permit(self.now, is_canary=self.is_canary and not isinstance(step, RestartWorkload))
        self.may_die()
        if isinstance(step, RestartWorkload):
            self.restart(step)
            self.may_die()
            return None
        if isinstance(step, ReplacePod):
            return None  # what was deleted comes back as it was
        assert isinstance(step, ReloadPod)
        server = next(server for server in self.servers() if server.name == step.pod.name)
        server.told = NEW
        self.may_die()
        fault = server.load(self.now)
        self.may_die()
        return fault

    def begins(self, step: Action) -> bool:
        """Whether the step touches what was not touched before with this certificate."""
        if isinstance(step, RestartWorkload):
            group = self.groups[int(step.workload.name.removeprefix("w"))]
            return group.template != NEW and not any(server.told == NEW for server in group.servers)
        return not any(server.name == step.pod.name and server.told == NEW for server in self.servers())

    def restart(self, step: RestartWorkload) -> None:
        """Patch the template; the same value again changes nothing."""
        group = self.groups[int(step.workload.name.removeprefix("w"))]
        if group.template != NEW:
            group.template, group.restarted_at = NEW, self.now
            self.restarts.append(step.workload.name)

    def may_die(self) -> None:
        """Raise if it is the operator's time."""
        if next(self.deaths, False):
            raise Killed

    def attempt(self) -> RolledOut | RolloutFailed:
        """Run one attempt, restarted after each death, to its end."""
        progress = self.begin()
        for _ in range(MANY_STEPS):
            if self.people is not None:
                self.people.interfere()
            step = self.next_step(progress)
            if isinstance(step, RolledOut | RolloutFailed):
                return step
            if isinstance(step, WaitForPods):
                assert step.until > self.now
                self.now = step.until
                continue
            if isinstance(step, Held):
                progress = self.wait(step)
                continue
            try:
                progress = progress.after(step, self.perform(step), self.now)
            except Killed:
                self.now += timedelta(seconds=20)
                progress = self.begin()
        raise AssertionError(f"no end after {MANY_STEPS} steps")

    def wait(self, step: Held) -> RollProgress:
        """Let the window open, or a person decide; an attempt begins anew then."""
        assert self.people is not None
        assert step.until is None or step.until > self.now
        assert not any(server.is_untested for server in self.servers())
        assert not any(group.restarted_at for group in self.groups)
        self.now = step.until or self.now + timedelta(hours=3)
        self.people.decide(step.finding.reason)
        return self.begin()

    def begin(self) -> RollProgress:
        """Begin an attempt; nothing is known of a failure, so pods may be told again."""
        return RollProgress(self.now, TIMEOUT, retry=True, canary=self.canary, max_unavailable=self.most)


@st.composite
def groups(draw: st.DrawFn, tempers: st.SearchStrategy[Temper]) -> list[Group]:
    """Draw up to three workloads of up to four servers."""
    drawn: list[Group] = []
    for index in range(draw(st.integers(1, 3))):
        servers = [
            Server(f"w{index}-{ordinal}", draw(tempers), draw(st.sampled_from([OLD, OLD, NEW])))
            for ordinal in range(draw(st.integers(0, 4)))
        ]
        drawn.append(Group(draw(st.sampled_from(SIMULATED)), servers))
    return drawn


deaths = st.lists(st.booleans(), max_size=8)


@settings(max_examples=200, deadline=None)
@given(groups(st.sampled_from(Temper)), deaths)
def test_any_rollout_ends_with_at_most_one_untested_pod(drawn: list[Group], dying: list[bool]) -> None:
    """Whatever servers do and whenever the operator dies, harm stays at one pod and success is proven."""
    simulation = Simulation(drawn, iter(dying))
    end = simulation.attempt()
    assert simulation.told_at_once <= 1
    proven = all(server.served == NEW and server.is_ready for server in simulation.servers())
    refusing = any(server.temper is Temper.REFUSES_CONNECTIONS for server in simulation.servers())
    if isinstance(end, RolledOut):
        assert proven
        assert not refusing
    elif simulation.servers():
        assert not proven or refusing


@settings(max_examples=200, deadline=None)
@given(groups(st.just(Temper.UNTRUSTED)), deaths)
def test_certificate_that_clients_refuse_reaches_one_pod(drawn: list[Group], dying: list[bool]) -> None:
    """One pod or workload is begun at most, and none where a pod has it already, whenever the operator dies."""
    has_one = any(server.served == NEW for group in drawn for server in group.servers)
    simulation = Simulation(drawn, iter(dying))
    simulation.attempt()
    begun = {server.name for server in simulation.servers() if server.told == NEW} | set(simulation.restarts)
    assert len(begun) <= (0 if has_one else 1)


@settings(max_examples=200, deadline=None)
@given(groups(st.sampled_from([Temper.LOADS, Temper.LOADS_SLOWLY])), deaths)
def test_rollout_of_sound_servers_always_succeeds(drawn: list[Group], dying: list[bool]) -> None:
    """No death of the operator makes a rollout of sound servers fail, and no workload is restarted twice."""
    sound = [
        replace(group, strategy=UpdateStrategy.RELOAD) if group.strategy is UpdateStrategy.NONE else group
        for group in drawn
    ]
    simulation = Simulation(sound, iter(dying))
    assert isinstance(simulation.attempt(), RolledOut)
    assert len(simulation.restarts) == len(set(simulation.restarts))


@settings(max_examples=200, deadline=None)
@given(groups(st.sampled_from([Temper.IGNORES, Temper.COMMAND_FAILS, Temper.BREAKS_TLS, Temper.DIES])))
def test_failed_attempt_without_retry_tells_no_further_pod(drawn: list[Group]) -> None:
    """As long as the back-off lasts, looking again changes nothing."""
    simulation = Simulation(drawn, iter(()))
    if isinstance(simulation.attempt(), RolledOut):
        return
    told = [server.told for server in simulation.servers()]
    step = simulation.next_step(RollProgress(simulation.now, timedelta(0)))
    assert isinstance(step, RolloutFailed)
    assert [server.told for server in simulation.servers()] == told


@settings(max_examples=200, deadline=None)
@given(
    groups(st.sampled_from([Temper.LOADS, Temper.LOADS_SLOWLY])),
    deaths,
    st.booleans(),
    st.sampled_from(Approval),
    st.lists(st.booleans(), max_size=20),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
)
def test_nothing_is_begun_that_people_hold_back_and_all_is_proven_when_they_let_it(
    drawn: list[Group],
    dying: list[bool],
    has_window: bool,
    approval: Approval,
    pauses: list[bool],
    plan: tuple[int, int],
) -> None:
    """Whenever windows close and people pause, what is in flight is seen through, and no wait makes a rollout fail."""
    sound = [
        replace(group, strategy=UpdateStrategy.RELOAD) if group.strategy is UpdateStrategy.NONE else group
        for group in drawn
    ]
    people = People(has_window, approval, iter(pauses))
    canary, most = map(Amount, plan)
    half_past = NOW + timedelta(minutes=30)
    simulation = Simulation(sound, iter(dying), now=half_past, people=people, canary=canary, most=most)
    assert isinstance(simulation.attempt(), RolledOut)
    assert all(server.served == NEW for server in simulation.servers())
    assert simulation.told_at_once <= max(plan)
    stale = any(server.told == NEW for server in simulation.servers()) or simulation.restarts
    assert people.waits or not (has_window and stale)
