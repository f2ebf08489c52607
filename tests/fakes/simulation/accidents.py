"""What can happen to a simulated world: faults of each part, and what users do."""

from collections.abc import Callable, Sequence
from functools import partial

from fakes.simulation.plan import Disturbance, Fault, Wanted
from fakes.simulation.world import World

MX = Wanted("a", "mx", (("postfix", 2, "Reload"), ("dovecot", 2, "Restart")))
LISTS = Wanted("a", "lists", (("exim", 2, "Reload"), ("cyrus", 2, "Evict")))
OTHER = Wanted("b", "mx", (("postfix", 3, "Reload"), ("haproxy", 2, "Evict")), by_dns=True, has_placeholder=True)

FAULTS = [
    *(Fault("api", kind) for kind in ("conflict", "server error", "unreachable", "slow", "lost answer")),
    *(Fault("api", kind, "-next") for kind in ("conflict", "unreachable", "lost answer")),
    *(Fault("api", kind, "-tls") for kind in ("conflict", "unreachable", "lost answer")),
    *(Fault("exec", kind) for kind in ("server error", "unreachable", "slow", "lost answer", "forbidden")),
    *(Fault("ca", kind) for kind in ("server error", "bad nonce", "unreachable", "slow", "lost answer")),
    *(Fault("ca", kind, "order https://ca.test/order") for kind in ("rate limited", "lost answer", "server error")),
    *(Fault("ca", "another root", "finalize") for _ in range(2)),
    *(Fault("dns", kind) for kind in ("unreachable", "refused", "slow")),
    *(Fault("watch", kind) for kind in ("lost", "late")),
]


Act = tuple[str, Callable[[World], object]]
LATE = 10**6  # steps, so once nothing is left to do


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
        act(World.spec, which, rollout={"approval": "Required"}),
        act(World.spec, which, rollout={"windows": [{"schedule": "0 0 29 2 *", "duration": "5m"}]}),
        act(World.spec, which, rollout={"onFailure": "Hold"}),
        act(World.spec, which, rollout={}),
        act(World.spec, which, bootstrap="SelfSigned"),
        *(act(done, which) for done in (World.pause, World.resume, World.approve)),
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
    *(act(World.slow_pod, which, seconds) for which in range(4) for seconds in (3.0, 40.0)),
    *(act(World.lose_node, which, seconds) for which in range(2) for seconds in (20.0, 200.0)),
    *(act(World.keep_template, 3) for _ in range(3)),  # of the workload that is restarted
    *(act(World.take_workload_away, which, 60.0) for which in range(6)),
    *[act(World.crash)] * 6,
    *[act(World.lose_leadership)] * 3,
    *[act(World.sweep)] * 2,
    act(World.sleep_long),
]


def after(steps: int, *chosen: Act) -> list[Disturbance]:
    """Let all this happen at once, so many steps after what came before."""
    return [Disturbance(0 if number else steps, do, what) for number, (what, do) in enumerate(chosen)]


def renewals(refused: int, *, overdue: bool) -> list[Disturbance]:
    """Renew everything once all serve; of the next certificates so many are ones that clients refuse.

    `overdue`: the machines have slept for as long as it took; if not, users request it.
    """
    bad = [act(World.arm, Fault("ca", "another root", "finalize"))] * refused
    if overdue:
        return [*after(LATE, *bad, act(World.sleep_long)), *after(LATE, act(World.sweep))]
    return after(LATE, *bad, *(act(World.request, which, "renew") for which in range(3)))
