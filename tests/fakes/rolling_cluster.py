"""A workload in a simulated cluster: pods on nodes that are reloaded or evicted, and what happens to them meanwhile."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from itertools import count

from builders.rolling import NEW, NOW, OLD, SMTP, evidence, pod, seen, state, workload
from mailtls.api.spec import Amount
from mailtls.api.workload import UpdateStrategy
from mailtls.kube.workload import PodState, WorkloadState
from mailtls.reasons.reason import Finding, Reason
from mailtls.rollout.policy import next_roll
from mailtls.rollout.steps import (
    Action,
    EvictPod,
    Held,
    ReloadPod,
    RolledOut,
    RolloutFailed,
    RollProgress,
    RollStep,
    WaitForPods,
)

SECOND = timedelta(seconds=1)
STORED = NOW - 30 * SECOND
MANY_STEPS = 20_000


class Trouble(Enum):
    """What comes between the operator and an effect of its."""

    NONE = auto()
    CONFLICT = auto()
    DIES_BEFORE = auto()
    DIES_AFTER = auto()


@dataclass
class SimulatedPod:
    """A pod; `loads_at` is when its server has the certificate that it was told of, `gone_at` when it is gone."""

    name: str
    uid: str
    node: str
    made_at: datetime
    ready_at: datetime
    served: str
    told: str | None = None
    loads_at: datetime | None = None
    gone_at: datetime | None = None


@dataclass
class RollingCluster:
    """One workload, of `wanted` pods on `nodes`, and the plan of its rollout.

    `loads` says how many seconds a server takes to load, by the pod's name; None: it never does. `needs` is how many
    pods a PodDisruptionBudget wants ready. `trouble` says for each effect what comes between, `disturb` what happens
    besides.
    """

    strategy: UpdateStrategy
    wanted: int
    canary: Amount
    most: Amount
    nodes: int = 3
    loads: Callable[[str], int | None] = lambda _name: 2
    needs: int | None = None
    min_ready: int = 0
    trouble: Callable[[], Trouble] = lambda: Trouble.NONE
    disturb: Callable[["RollingCluster"], None] = lambda _cluster: None
    now: datetime = NOW
    down: set[str] = field(default_factory=set)
    pods: list[SimulatedPod] = field(default_factory=list)
    actions: list[tuple[Action, WorkloadState]] = field(default_factory=list)
    most_at_once: int = 0
    _uids: "count[int]" = field(default_factory=count)

    def __post_init__(self) -> None:
        """Fill it with pods that serve the old certificate."""
        for number in range(self.wanted):
            self._make(number, NOW - timedelta(hours=1), OLD)

    def _make(self, number: int, at: datetime, served: str, starting: int = 0) -> None:
        uid = next(self._uids)
        name, node = f"p-{number}", f"n{uid % self.nodes}"
        self.pods.append(SimulatedPod(name, f"uid-{uid}", node, at, at + starting * SECOND, served))

    # what happens

    def tick(self) -> None:
        """Let the cluster do what it does by itself: what terminates is gone, and what is missing is made."""
        self.pods = [each for each in self.pods if each.gone_at is None or each.gone_at > self.now]
        for each in self.pods:
            if each.loads_at is not None and each.loads_at <= self.now:
                each.served = NEW
        there = {each.name for each in self.pods}
        for number in range(self.wanted):
            if f"p-{number}" not in there:
                self._make(number, self.now.replace(microsecond=0), NEW, starting=4)

    def remove(self, name: str) -> None:
        """Delete a pod; it takes a few seconds to end."""
        for each in self.pods:
            if each.name == name and each.gone_at is None:
                each.gone_at = self.now + 3 * SECOND

    def scale(self, by: int) -> None:
        """Want more pods, or fewer and at least one."""
        self.wanted = max(1, self.wanted + by)
        for each in self.pods:
            if int(each.name.removeprefix("p-")) >= self.wanted:
                self.remove(each.name)

    def is_ready(self, each: SimulatedPod) -> bool:
        """Whether the pod is ready: it has started, and its node is well."""
        return each.gone_at is None and each.ready_at <= self.now and each.node not in self.down

    # what the operator sees and does

    def observe(self) -> WorkloadState:
        """Return the workload with its pods."""
        found = state(*map(self._seen, self.pods), of=workload(self.strategy, ports=(SMTP,)), wanted=self.wanted)
        return replace(found, min_ready_seconds=self.min_ready)

    def _seen(self, each: SimulatedPod) -> PodState:
        return replace(
            pod(each.name, told=each.told, ready=self.is_ready(each), ready_at=each.ready_at),
            uid=each.uid,
            node=each.node,
            made_at=each.made_at,
            started_at=each.made_at,
            terminating=each.gone_at is not None,
        )

    def next_step(self, progress: RollProgress) -> RollStep:
        """Observe, probe and decide, as a reconcile does."""
        self.tick()
        found = self.observe()
        probes = evidence([seen(each.name, SMTP, each.served) for each in self.pods if self.is_ready(each)])
        step = next_roll([found], probes, NEW, progress, self.now)
        if isinstance(step, Action):
            self.actions.append((step, found))
        return step

    def perform(self, step: Action) -> Finding | None:
        """Do what the step says."""
        assert isinstance(step, ReloadPod | EvictPod), step
        found = next((each for each in self.pods if each.uid == step.pod.uid), None)
        if found is None:
            return None
        if isinstance(step, EvictPod):
            return self._evict(found)
        found.told = NEW
        seconds = self.loads(found.name)
        found.loads_at = None if seconds is None else self.now + seconds * SECOND
        return None

    def _evict(self, found: SimulatedPod) -> Finding | None:
        ready = sum(map(self.is_ready, self.pods))
        if self.needs is not None and self.is_ready(found) and ready <= self.needs:
            return Finding(Reason.EVICTION_BLOCKED, "The disruption budget mail needs more healthy pods.")
        self.remove(found.name)
        return None

    def begin(self, started_at: datetime | None = None) -> RollProgress:
        """Begin an attempt."""
        return RollProgress(
            started_at or self.now,
            timedelta(minutes=2),
            retry=True,
            stored_at=STORED,
            certified_at=STORED,
            canary=self.canary,
            max_unavailable=self.most,
        )

    def attempt(self) -> RolledOut | RolloutFailed:
        """Run one attempt to its end, begun anew after each death of the operator."""
        progress = self.begin()
        for _ in range(MANY_STEPS):
            self.disturb(self)
            step = self.next_step(progress)
            self.most_at_once = max(self.most_at_once, self.untested())
            assert not isinstance(step, Held), "nothing holds it back here"
            if isinstance(step, RolledOut | RolloutFailed):
                return step
            progress = self._take(step, progress)
        raise AssertionError(f"no end after {MANY_STEPS} steps")

    def _take(self, step: Action | WaitForPods, progress: RollProgress) -> RollProgress:
        if isinstance(step, WaitForPods):
            assert step.until > self.now
            self.now = step.until
            return progress
        trouble = self.trouble()
        fault = self.perform(step) if trouble in {Trouble.NONE, Trouble.DIES_AFTER} else None
        if trouble is Trouble.CONFLICT:
            return progress  # the next reconcile begins with what this one knew
        if trouble is not Trouble.NONE:
            self.now += 20 * SECOND
            return self.begin()
        return progress.after(step, fault, self.now)

    def untested(self) -> int:
        """How many pods were reloaded and do not serve the new certificate."""
        return sum(each.told == NEW and each.served != NEW for each in self.pods if each.gone_at is None)

    def serving(self) -> Mapping[str, str]:
        """Return what each living pod serves."""
        return {each.name: each.served for each in self.pods if each.gone_at is None}
