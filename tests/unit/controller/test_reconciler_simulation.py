"""Several resources, workers and accidents at once: the real controller in a simulated world, on a clock that it moves.

A run is made of a plan of accidents, each so many effects after the one before, and of a seed that says who of those
that could run does. Both shrink, and a failing run can be repeated. MAILTLS_SIMULATIONS names how many runs are made.
"""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.simulation.accidents import ACTS, BOUGHT, LATE, LISTS, MX, OTHER, act, after, renewals
from fakes.simulation.audit import condition
from fakes.simulation.plan import Disturbance, Fault
from fakes.simulation.run import alive, run
from fakes.simulation.world import World
from mailtls.api.reading.document import Json
from mailtls.api.resource import resource_path
from mailtls.api.spec import Desired, Key, PrivateKeyPolicy
from mailtls.api.workload import UpdateStrategy
from mailtls.context import Context
from mailtls.controller.election import Leadership
from mailtls.controller.observe import Observer
from mailtls.controller.status_writer import Reporter
from mailtls.external import policy as external_policy
from mailtls.issuance import bootstrap
from mailtls.issuance import policy as issuance_policy
from mailtls.issuance.acme.account import Account
from mailtls.issuance.certificates import new_key
from mailtls.kube.secrets import Secrets
from mailtls.kube.snapshot import Staged
from mailtls.kube.workload import WorkloadState
from mailtls.rollout import evict, permission, policy, rollback, waves
from mailtls.rollout.steps import ReloadPod, RestartWorkload, RollStep
from mailtls.rollout.turns import Need, Turn, Turns, _Held
from mailtls.rollout.view import View

FEW = 10
RUNS = int(os.environ.get("MAILTLS_SIMULATIONS", str(FEW)))
pytestmark = pytest.mark.timeout(90 * RUNS)  # seconds of a machine that has much else to do
EVER = datetime(1970, 1, 1, tzinfo=UTC)
SOON = 60.0  # seconds in which a resource is ready that nothing stands in the way of

disturbances = st.builds(
    lambda after, chosen: Disturbance(after, chosen[1], chosen[0]), st.integers(0, 80), st.sampled_from(ACTS)
)
plans = st.lists(disturbances, max_size=12)


@settings(max_examples=RUNS, derandomize=RUNS == FEW)
@given(plans, st.integers(0, 2**16), st.integers(1, 4), st.sampled_from([None, 1, 2]))
def test_whatever_happens_all_ends_well(plan: list[Disturbance], seed: int, workers: int, rollouts: int | None) -> None:
    """Whatever fails and whoever runs first: no rule is broken on the way, and every resource is ready in the end."""
    run(World([MX, LISTS, OTHER, BOUGHT], plan, workers=workers, rollouts=rollouts, seed=seed))


@settings(max_examples=max(6, RUNS // 2), derandomize=RUNS == FEW)
@given(
    st.builds(lambda refused, overdue: renewals(refused, overdue=overdue), st.integers(0, 6), st.booleans()),
    plans,
    st.integers(0, 2**16),
    st.integers(1, 4),
    st.sampled_from([None, 1, 2]),
)
def test_whatever_happens_to_renewals_all_ends_well(
    begin: list[Disturbance], plan: list[Disturbance], seed: int, workers: int, rollouts: int | None
) -> None:
    """Each had a certificate that all pods serve; what clients refuse, and whatever else comes, is got over."""
    run(World([MX, LISTS, OTHER, BOUGHT], [*begin, *plan], workers=workers, rollouts=rollouts, seed=seed))


AWAY = Fault("ca", "unreachable", "order", lasts=True)
NEEDY = replace(OTHER, workloads=(("postfix", 2, "Reload"),))
PATIENT = replace(
    BOUGHT,
    workloads=BOUGHT.workloads[:1],
    settle_time="2m",
    daemons=(("postfix", (("postfix", 465), ("dovecot", 993))),),
)
SLOW = after(LATE, *(act(World.slow_pod, which, 40.0) for which in range(2)))
ON_THE_WAY = {
    "a server that takes its time": (PATIENT, [*SLOW, *after(LATE, act(World.supply, 0))]),
    "a placeholder that is made anew": (
        NEEDY,
        [*after(0, act(World.arm, AWAY)), *after(LATE, act(World.sleep_long, 5 * 24 * 3600.0))],
    ),
    "the way back": (replace(MX, workloads=MX.workloads[:1]), renewals(1, overdue=False)[:2]),
    "a certificate of others": (BOUGHT, after(LATE, act(World.supply, 0, "names"), act(World.supply, 0))),
}


@settings(max_examples=6 if RUNS == FEW else RUNS, derandomize=RUNS == FEW)
@given(st.sampled_from(sorted(ON_THE_WAY)), st.integers(0, 120), st.integers(0, 120))
def test_operator_killed_at_any_step_of_what_goes_on_ends_what_it_began(what: str, first: int, second: int) -> None:
    """Right before or right after any of its requests, and once more on the way on: all ends well, and tidily."""
    wanted, plan = ON_THE_WAY[what]
    run(World([wanted], [*plan, *after(first, act(World.crash)), *after(second, act(World.crash))]))


def test_server_within_its_settle_time_is_on_its_way_and_reloaded_once() -> None:
    """Two servers in each of two pods, of which one takes most of its time: nothing is called a failure meanwhile."""
    world = World([PATIENT], ON_THE_WAY["a server that takes its time"][1])
    audit = run(world)
    assert {reason for kind, reason in audit.reasons if kind == "Ready"} <= {"Pending", "Probing", "RollingOut"}
    assert [pod for _, _, pod in world.servers.reloads] == ["postfix-0", "postfix-0", "postfix-1", "postfix-1"]


ITS_OWN = [
    *(Fault("exec", kind, "a/", lasts=True) for kind in ("hangs", "server error", "unreachable", "slow")),
    *(Fault("api", kind, "/namespaces/a/", lasts=True) for kind in ("unreachable", "slow", "forbidden", "conflict")),
    *(Fault("ca", kind, ".a.test", lasts=True) for kind in ("server error", "rate limited", "slow")),
]


@settings(max_examples=max(4, RUNS // 3), derandomize=RUNS == FEW)
@given(st.lists(st.sampled_from(ITS_OWN), max_size=3, unique=True), st.integers(0, 2**16), st.integers(3, 5))
def test_faults_of_one_namespace_delay_no_other(faults: list[Fault], seed: int, workers: int) -> None:
    """However the pods, the objects or the orders of one namespace fail: the resource of another one is ready soon.

    There is a worker more than resources that fail: pods whose probes were answered may hold all workers for one step.
    """
    world = World([MX, LISTS, OTHER], workers=workers, seed=seed)
    with alive(world):
        for each in faults:
            world.arm(each)
        world.begin()
        world.runtime.sleep(SOON)
        assert condition(world.api.objects[OTHER.path], "Ready").get("status") == "True", faults


def _saves_another_key(self: Secrets, wanted: Desired, staged: Staged, resource: Any) -> Staged:
    saved = _STAGE(self, wanted, replace(staged, key=new_key(PrivateKeyPolicy())), resource)
    return replace(saved, key=staged.key)


def _tells_all(view: View) -> RollStep | None:
    """Tell each pod that is stale, whatever those serve that were told before."""
    stale = (
        ReloadPod(state.workload, pod)
        for state in view.states
        for pod in state.living_pods
        if state.workload.reloaded and view.pod_flaws(state, pod) and pod.uid not in view.progress.acted_at
    )
    return next(stale, None)


def _restarts_late(view: View) -> RollStep | None:
    """Restart a workload five minutes after the certificate was stored, whatever other pods show of it."""
    is_late = view.progress.stored_at is not None and view.now > view.progress.stored_at + timedelta(minutes=5)
    restarted = [state for state in view.states if state.workload.update_strategy is UpdateStrategy.RESTART]
    stale = (
        RestartWorkload(state.workload) for state in restarted if view.may_restart(state) and any(view.flaws(state))
    )
    return next(stale, None) if is_late else None


def _writes_always(self: Reporter, resource: Json, status: Json) -> Json:
    meta = resource["metadata"]
    self.cluster.merge(f"{resource_path(Key(meta['namespace'], meta['name']))}/status", {"status": status})
    return _WRITE(self, resource, status)


def _of_certificates(context: Context) -> datetime | None:
    """Have a placeholder take the place of what is none."""
    secret = context.snapshot.secret
    return EVER if secret.exists and not secret.is_placeholder else None


def _grants_all(self: Turns, key: Key, _need: Need, now: datetime) -> tuple[Turn, list[Key]]:
    self._holders[key] = _Held(now)
    return Turn(is_granted=True), []


def _has_room(view: View, state: WorkloadState, in_flight: int) -> waves.Wave:
    return replace(_WAVE(view, state, in_flight), canary=99, most=99)


def _backwards(self: ReloadPod) -> Any:
    every = zip(self.workload.daemons, self.pod.readers, strict=True)
    return tuple(each for place, each in enumerate(every) if self.only is None or place in self.only)[::-1]


_STAGE, _WRITE, _WAVE = Secrets.stage, Reporter._write, waves.wave
_UNCAREFUL = tuple(_tells_all if check is waves.reloaded_pod_is_unverified else check for check in policy.CHECKS)
_MISISSUED = renewals(3, overdue=True)
_HELD_BACK = tuple(check for check in policy.CHECKS if check is not policy.next_is_held_back)
_SHUT = {"windows": [{"schedule": "0 0 29 2 *", "duration": "5m"}]}
_LOST = Fault("ca", "lost answer", "order https://ca.test/order ")

DEFECTS = {
    "beside the open": (Account, "find_open", lambda *_, **__: None, after(0, act(World.arm, _LOST))),
    "is reloaded while": (
        policy,
        "CHECKS",
        _UNCAREFUL,
        after(0, *(act(World.slow_pod, which, 40.0) for which in range(9))),
    ),
    "known to be suspended": (
        Observer,
        "require_unchanged",
        lambda *_: None,
        after(200, *(act(World.spec, which, suspend=True) for which in range(3))),
    ),
    "known to be paused": (
        policy,
        "CHECKS",
        _HELD_BACK,
        after(30, *(act(World.pause, which) for which in range(3))),
    ),
    "does not lead": (Leadership, "require", lambda _: None, after(20, act(World.lose_leadership))),
    "is saved nowhere": (Secrets, "stage", _saves_another_key, []),
    "what clients refuse at": (policy, "clients_refuse", lambda *_: False, _MISISSUED),
    "though clients refuse the certificate": (
        policy,
        "CHECKS",
        (_restarts_late, *policy.CHECKS),
        [
            *after(LATE, *(act(World.spec, which, rollout={"onFailure": "Hold"}) for which in range(3))),
            *renewals(3, overdue=False),
            *after(LATE, act(World.sleep_long, 600.0)),
        ],
    ),
    "outside of the windows": (
        policy,
        "CHECKS",
        _HELD_BACK,
        [*after(LATE, *(act(World.spec, which, rollout=_SHUT) for which in range(3))), *renewals(0, overdue=False)],
    ),
    "is begun without approval": (
        policy,
        "CHECKS",
        _HELD_BACK,
        [
            *after(LATE, *(act(World.spec, which, rollout={"approval": "Required"}) for which in range(3))),
            *renewals(0, overdue=False),
        ],
    ),
    "is reloaded before port": (ReloadPod, "due", property(_backwards), []),
    "that is for other names": (
        external_policy,
        "CHECKS",
        tuple(check for check in external_policy.CHECKS if check is not external_policy.names_are_missing),
        after(LATE, act(World.supply, 3, "names")),
    ),
    "the one before was young": (
        bootstrap,
        "REMADE_BEFORE",
        bootstrap.LIFETIME * 0.9,
        [*after(0, act(World.arm, AWAY)), *after(LATE, act(World.sleep_long, 24 * 3600.0))],
    ),
    "gets a placeholder in the place of a certificate": (bootstrap, "_remade_at", _of_certificates, []),
    "has no turn": (permission, "_queued", lambda _: None, []),
    "roll out at once": (Turns, "request", _grants_all, []),
    "is restarted twice": (
        View,
        "was_reverted",
        lambda *_: False,
        after(LATE, act(World.keep_template, 0), act(World.request, 0, "renew")),
    ),
    "is evicted while": (evict, "wave", _has_room, renewals(0, overdue=False)),
    "though nothing happens": (Reporter, "_write", _writes_always, []),
}
ONE_AT_A_TIME = {"has no turn", "roll out at once"}


def test_refused_renewal_is_rolled_back_in_every_resource() -> None:
    """Where nothing else happens: one pod of each workload ever had it, and no other order follows."""
    world = World([MX, LISTS, OTHER], _MISISSUED)
    run(world)
    assert {condition(world.api.objects[each.path], "Ready")["reason"] for each in world.wanted} == {"RolledBack"}
    assert len(world.ca.orders) == 2 * len(world.wanted)
    assert len(world.ca.refused) == len(world.wanted)


@pytest.mark.parametrize("rule", DEFECTS)
def test_simulation_finds_a_defect(rule: str) -> None:
    """A test that cannot fail is a defect itself: for each rule there is a defect here that breaks it."""
    where, name, instead, plan = DEFECTS[rule]
    other = replace(OTHER, has_placeholder="placeholder" in rule or "young" in rule)
    with patch.object(where, name, instead), pytest.raises(AssertionError, match=rule):
        run(World([MX, LISTS, other, BOUGHT], plan, rollouts=1 if rule in ONE_AT_A_TIME else None), patience=600.0)


def test_simulation_finds_an_order_that_comes_too_soon_after_a_rollback() -> None:
    """Two places keep the CA from being asked: the defect is in both."""
    at_once = patch.object(rollback, "held", lambda picked, _: picked)
    never_held = patch.object(issuance_policy, "renewal_is_held", lambda *_: False)
    with at_once, never_held, pytest.raises(AssertionError, match="holds it"):
        run(World([MX, LISTS, OTHER], _MISISSUED), patience=600.0)
