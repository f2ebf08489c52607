"""Canary, waves and evictions in a simulated cluster where pods, nodes, numbers and the operator itself come and go."""

from collections.abc import Callable
from itertools import chain, repeat

from hypothesis import given, settings
from hypothesis import strategies as st

from builders.rolling import NEW, OLD
from fakes.rolling_cluster import SECOND, STORED, RollingCluster, Trouble
from mailtls.api.spec import Amount
from mailtls.api.workload import UpdateStrategy
from mailtls.kube.workload import PodState, WorkloadState
from mailtls.reasons.reason import Reason
from mailtls.rollout.steps import Action, EvictPod, ReloadPod, RolledOut, RolloutFailed

STRATEGIES = (UpdateStrategy.RELOAD, UpdateStrategy.EVICT)
AMOUNTS = st.one_of(
    st.integers(1, 4).map(Amount), st.integers(1, 100).map(lambda number: Amount(number, is_share=True))
)
Accident = Callable[[RollingCluster], None]


def nothing(_cluster: RollingCluster) -> None:
    """Nothing happens."""


def delete(which: int) -> Accident:
    """Somebody deletes a pod."""

    def happen(cluster: RollingCluster) -> None:
        cluster.remove(f"p-{which % cluster.wanted}")

    return happen


def fail_node(which: int) -> Accident:
    """A node is NotReady, and its pods with it; it is well again when it fails the next time."""

    def happen(cluster: RollingCluster) -> None:
        cluster.down ^= {f"n{which % cluster.nodes}"}

    return happen


def scale(by: int) -> Accident:
    """Somebody scales the workload."""

    def happen(cluster: RollingCluster) -> None:
        cluster.scale(by)

    return happen


def all_is_well_again(cluster: RollingCluster) -> None:
    """The nodes are back."""
    cluster.down = set()


ACCIDENTS = st.one_of(
    st.just(nothing),
    st.integers(0, 20).map(delete),
    st.integers(0, 4).map(fail_node),
    st.sampled_from([-2, -1, 1, 3]).map(scale),
)


def is_in_flight(strategy: UpdateStrategy, pod: PodState, served: dict[str, str]) -> bool:
    """Whether a pod was acted on, or took the place of one that was, and has not proven the certificate."""
    is_proven = pod.ready and served.get(pod.uid) == NEW
    if strategy is UpdateStrategy.RELOAD:
        return pod.reloaded_sha256 == NEW and not is_proven
    return pod.made_at is not None and pod.made_at > STORED and not is_proven


class Judge:
    """Checks at each action that the plan is kept; `served` is what each pod serves, by its uid."""

    def __init__(self, cluster: RollingCluster, accidents: list[Accident]) -> None:
        self.cluster, self._accidents = cluster, chain(accidents, [all_is_well_again], repeat(nothing))
        self._seen = 0
        cluster.disturb = self.disturb

    def disturb(self, cluster: RollingCluster) -> None:
        """Judge what was done since, and let something happen."""
        next(self._accidents)(cluster)

    def judge(self, step: Action, found: WorkloadState, served: dict[str, str]) -> None:
        """Check one action by what was there when it was decided on."""
        assert hasattr(step, "pod")
        target: PodState = step.pod
        living = found.living_pods
        total = max(len(living), found.replicas_wanted)
        strategy = found.workload.update_strategy
        flying = [each for each in living if is_in_flight(strategy, each, served) and each.uid != target.uid]
        missing = max(0, found.replicas_wanted - len(living)) if isinstance(step, EvictPod) else 0
        proven = sum(each.ready and served.get(each.uid) == NEW for each in living)
        assert len(flying) + missing < self.cluster.most.of(total), "more than a wave"
        if proven < (canary := min(total, self.cluster.canary.of(total))):
            assert proven + len(flying) + missing < canary, "beside an unproven canary"
        assert served.get(target.uid) != NEW or not target.ready, "what is proven is left alone"
        if isinstance(step, EvictPod):
            assert target.made_at is not None
            assert target.made_at <= STORED, "what is new is evicted"


def watched(cluster: RollingCluster, accidents: list[Accident] | None = None) -> RollingCluster:
    """Have each action judged before it is performed."""
    judge = Judge(cluster, accidents or [])
    perform = cluster.perform

    def judged(step: Action) -> object:
        served = {each.uid: each.served for each in cluster.pods}
        judge.judge(step, cluster.actions[-1][1], served)
        return perform(step)

    cluster.perform = judged  # type: ignore[method-assign, assignment]
    return cluster


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(STRATEGIES),
    st.integers(1, 12),
    AMOUNTS,
    AMOUNTS,
    st.lists(ACCIDENTS, max_size=12),
    st.lists(st.sampled_from(Trouble), max_size=8),
    st.integers(0, 8),
)
def test_plan_is_kept_whatever_happens_and_all_pods_serve_the_certificate_in_the_end(
    strategy: UpdateStrategy,
    pods: int,
    canary: Amount,
    most: Amount,
    accidents: list[Accident],
    troubles: list[Trouble],
    min_ready: int,
) -> None:
    """Pods and nodes fail, numbers change, writes conflict, the operator dies: a wave at most, and the canary first."""
    coming = iter(troubles)
    cluster = RollingCluster(
        strategy, pods, canary, most, min_ready=min_ready, trouble=lambda: next(coming, Trouble.NONE)
    )
    watched(cluster, accidents)
    ends = (cluster.attempt() for _ in range(4))
    assert any(isinstance(end, RolledOut) for end in ends)
    assert set(cluster.serving().values()) == {NEW}


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 10), st.integers(1, 3), st.integers(1, 5))
def test_servers_that_ignore_their_reload_are_no_more_than_the_canary(pods: int, canary: int, most: int) -> None:
    """The others keep the old certificate, and nobody has touched them."""
    cluster = RollingCluster(UpdateStrategy.RELOAD, pods, Amount(canary), Amount(most), loads=lambda _name: None)
    end = watched(cluster).attempt()
    assert isinstance(end, RolloutFailed)
    assert end.finding.reason is Reason.CANARY_FAILED
    assert sum(each.told == NEW for each in cluster.pods) <= min(canary, most)


def test_two_hundred_pods_go_in_waves_over_all_nodes() -> None:
    """A wave is used to the full, and takes about as many pods of each node."""
    for strategy in STRATEGIES:
        cluster = watched(RollingCluster(strategy, 200, Amount(2), Amount(10, is_share=True), nodes=20))
        assert isinstance(cluster.attempt(), RolledOut)
        assert set(cluster.serving().values()) == {NEW}
        assert len(cluster.actions) == 200
        if strategy is UpdateStrategy.RELOAD:
            assert cluster.most_at_once == 20
        first_wave = [step.pod.node for step, _ in cluster.actions[2:22] if isinstance(step, ReloadPod | EvictPod)]
        assert len(set(first_wave)) > 15


def test_eviction_waits_for_its_budget_and_names_it_when_the_time_is_over() -> None:
    """A budget that wants all pods ready lets none go; lowered by one, the rollout goes on."""
    cluster = watched(RollingCluster(UpdateStrategy.EVICT, 3, Amount(1), Amount(2), needs=3))
    end = cluster.attempt()
    assert isinstance(end, RolloutFailed)
    assert end.finding.reason is Reason.ROLLOUT_TIMEOUT
    assert "The disruption budget mail needs more healthy pods." in end.finding.message
    assert set(cluster.serving().values()) == {OLD}
    assert 3 < len(cluster.actions) < 12, "it is tried with growing pauses"
    cluster.needs = 2
    assert isinstance(cluster.attempt(), RolledOut)


def test_next_eviction_waits_until_the_one_before_was_ready_for_long_enough() -> None:
    """`minReadySeconds` counts between two waves, and not after the last one."""
    cluster = watched(RollingCluster(UpdateStrategy.EVICT, 2, Amount(1), Amount(1), min_ready=30))
    times = []
    perform = cluster.perform
    cluster.perform = lambda step: (times.append(cluster.now), perform(step))[1]  # type: ignore[method-assign, func-returns-value]
    assert isinstance(cluster.attempt(), RolledOut)
    first, second = times
    assert second - first >= 37 * SECOND
    assert cluster.now - second < 30 * SECOND


def test_pod_that_is_not_ready_is_evicted_first() -> None:
    """It takes nothing from anybody; the others go only when its successor has proven the certificate."""
    cluster = watched(RollingCluster(UpdateStrategy.EVICT, 4, Amount(1), Amount(1), nodes=9))
    cluster.disturb, cluster.down = nothing, {"n2"}
    assert isinstance(cluster.attempt(), RolledOut)
    assert [step.pod.name for step, _ in cluster.actions if isinstance(step, EvictPod)] == ["p-2", "p-0", "p-1", "p-3"]
