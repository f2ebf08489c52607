"""What can happen to a simulated world: faults of each part, and what users do."""

from collections.abc import Callable, Sequence
from functools import partial

from fakes.simulation.plan import Disturbance, Fault, Wanted
from fakes.simulation.world import World

MX = Wanted(
    "a",
    "mx",
    (("postfix", 2, "Reload"), ("dovecot", 2, "Restart")),
    daemons=(("postfix", (("postfix", 465), ("dovecot", 993))),),
)
LISTS = Wanted(
    "a",
    "lists",
    (("exim", 2, "Reload"), ("cyrus", 2, "Evict")),
    daemons=(("exim", (("mail", 465), ("mail", 993))), ("cyrus", (("cyrus", 993), ("sieve", 4190)))),
)
OTHER = Wanted("b", "mx", (("postfix", 3, "Reload"), ("haproxy", 2, "Evict")), by_dns=True, has_placeholder=True)
BOUGHT = Wanted("c", "mx", (("postfix", 2, "Reload"), ("dovecot", 1, "Restart")), is_external=True, settle_time="1m")

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
        *(act(done, which) for done in (World.pause, World.resume, World.approve)),
        act(World.rename, which, "more"),
        act(World.rename, which, ""),
        act(World.request, which, "probe"),
        act(World.delete, which),
        act(World.create, which),
        act(World.spoil_secret, which),
        act(World.delete_secret, which),
        act(World.scale, which, 1),
        act(World.scale, which, -1),
    ]


OF_ISSUING = [
    *(act(World.request, which, name) for which in range(3) for name in ("renew", "rollback")),
    *(act(World.spec, which, bootstrap="SelfSigned") for which in range(3)),
]
OF_OTHERS = [act(World.supply, 3, *flaw) for flaw in ((), (), ("names",), ("root",))]
ACTS = [
    *(act(World.arm, each) for each in FAULTS),
    *(each for which in range(4) for each in of_resource(which)),
    *OF_ISSUING,
    *OF_OTHERS,
    *(act(World.kill_pod, which) for which in range(8)),
    *(act(World.slow_pod, which, seconds) for which in range(4) for seconds in (3.0, 40.0)),
    *(act(World.lose_node, which, seconds) for which in range(2) for seconds in (20.0, 200.0)),
    *(act(World.keep_template, which) for which in (0, 0, 3)),
    *(act(World.take_workload_away, which, 60.0) for which in range(8)),
    *[act(World.crash)] * 6,
    *[act(World.lose_leadership)] * 3,
    *[act(World.sweep)] * 2,
    act(World.sleep_long),
    act(World.sleep_long, 5 * 24 * 3600.0),  # a placeholder is about to expire
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
