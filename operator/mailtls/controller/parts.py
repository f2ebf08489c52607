"""What the composition is made from, and what comes of it: the edges, the parts of the process, and its work."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Event

from mailtls.api.reading.document import Json
from mailtls.api.spec import Key
from mailtls.controller.bulkheads import Bulkheads
from mailtls.controller.election import Leadership
from mailtls.issuance.acme.transport import MakeTransport, Transport
from mailtls.issuance.leftovers import DESCRIBING
from mailtls.issuance.solvers.http01_check import Http01Check
from mailtls.issuance.solvers.http01_server import Tokens
from mailtls.issuance.solvers.propagation import Names
from mailtls.issuance.solvers.registry import SOLVERS, Registry
from mailtls.kube.claims import Claims
from mailtls.kube.interface import Cluster
from mailtls.metrics import Metrics
from mailtls.net.effects import SystemClock
from mailtls.rollout.coordinator import Coordinator
from mailtls.settings import Settings
from mailtls.stage import FILE_PATIENCE, Domains, PodProber
from mailtls.times import Clock


@dataclass(frozen=True, slots=True)
class Edges:
    """What connects to the outside besides the API server, and the clocks; None: made from the settings.

    `names` finds the servers of DNS zones. `monotonic` counts seconds, for what no adjusted clock may shorten. A worker
    waits as long as `file_patience` itself for a pod to see a new file.
    """

    clock: Clock = field(default_factory=SystemClock)
    monotonic: Callable[[], float] = time.monotonic
    transport: MakeTransport = Transport
    registry: Registry = SOLVERS
    http01_check: Http01Check | None = None
    names: Names | None = None
    prober: PodProber | None = None
    domains: Domains | None = None
    file_patience: timedelta = FILE_PATIENCE


@dataclass(frozen=True, slots=True)
class Parts:
    """What the process has made before any work begins. `stopping` is set once and ends all waits."""

    settings: Settings
    cluster: Cluster
    metrics: Metrics
    leadership: Leadership
    tokens: Tokens
    claims: Claims
    stopping: Event
    bulkheads: Bulkheads | None = None
    coordinator: Coordinator | None = None
    edges: Edges = field(default_factory=Edges)


@dataclass(frozen=True, slots=True)
class Work:
    """What the process does once it leads.

    `begin` is called before all, and by each sweep; it may raise `Unreachable` and is called again then. `withdraw`
    takes back what it published, by a cluster that gives up soon; both raise `ReconcileEnded` where we do not lead.
    `restore` is called with each resource that exists, before the first reconcile. `note_event` is called for a key
    with an event, before it is queued. `reconcile` is what the queue runs. `stuck` says what only a restart helps
    against, None where all is well; `late` how many workers come near to that.
    """

    begin: Callable[[], None]
    restore: Callable[[Json], None]
    note_event: Callable[[Key], None]
    reconcile: Callable[[Key], float | None]
    stuck: Callable[[], str | None] = lambda: None
    late: Callable[[], int] = lambda: 0
    withdraw: Callable[[Cluster], None] = lambda _cluster: None


@dataclass(frozen=True, slots=True)
class Closing:
    """How open orders are closed when nobody goes on with them.

    `held` names their staged Secrets, `close` cleans one up, `let_go` takes the finalizer away and no more. What the
    exceptions of `describing` say is fit to be shown.
    """

    held: Callable[[], list[Json]]
    close: Callable[[Json], None]
    let_go: Callable[[Json], None]
    describing: tuple[type[Exception], ...] = DESCRIBING
