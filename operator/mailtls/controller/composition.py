"""Puts the real adapters together; nothing else constructs them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from mailtls.api.reading.acme import SHORT_NAMES, default_acme
from mailtls.api.reading.document import InvalidSpec, Json
from mailtls.api.reading.spec import Defaults
from mailtls.api.spec import Key
from mailtls.controller.bulkheads import Bulkheads
from mailtls.controller.election import Leadership
from mailtls.controller.observe import Observer
from mailtls.controller.perform import TELLING, Performer
from mailtls.controller.reconciler import Reconciler
from mailtls.controller.status_writer import Reporter
from mailtls.domains.execute import Watching
from mailtls.issuance.acme.accounts import Accounts
from mailtls.issuance.execute import Issuing
from mailtls.issuance.recheck import Mending
from mailtls.issuance.restoring import Restoring
from mailtls.issuance.solvers.base import Surroundings
from mailtls.issuance.solvers.http01_check import Http01Check
from mailtls.issuance.solvers.http01_server import Replica, Tokens, endpoint_slice, publish, without_endpoint
from mailtls.issuance.solvers.registry import SOLVERS, Solvers
from mailtls.issuance.validation import Validation
from mailtls.kube.claims import Claims
from mailtls.kube.interface import Cluster
from mailtls.kube.previous import PreviousPairs
from mailtls.kube.references import References
from mailtls.kube.secrets import Secrets
from mailtls.maildomain.lookup.domains import DomainReader
from mailtls.maildomain.lookup.policy_fetch import PolicyFetcher
from mailtls.metrics import Metrics
from mailtls.net.deadline import SystemClock
from mailtls.net.effects import guarded
from mailtls.net.resolver import ResolverSettings
from mailtls.probe.conversation import Limits
from mailtls.probe.prober import Prober
from mailtls.rollout.execute import Rolling
from mailtls.settings import InvalidSettings, Settings
from mailtls.verification.find_routes import WayFinding

DOMAINS_WITHIN = 15.0  # seconds for all domains of a resource: its pass lasts as long where a resolver is dead


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


@dataclass(frozen=True, slots=True)
class Work:
    """What the process does once it leads.

    `begin` is called before all, and by each sweep; it may raise `Unreachable` and is called again then. `withdraw`
    takes back what it published, by a cluster that gives up soon; both raise `PassEnded` where we do not lead.
    `restore` is called with each resource that exists, before the first pass. `heard` is called for a key that the
    watches tell of, before it is queued. `reconcile` is what the queue runs. `stuck` says what only a restart helps
    against, None where all is well; `late` how many workers come near to that.
    """

    begin: Callable[[], None]
    restore: Callable[[Json], None]
    heard: Callable[[Key], None]
    reconcile: Callable[[Key], float | None]
    stuck: Callable[[], str | None] = lambda: None
    late: Callable[[], int] = lambda: 0
    withdraw: Callable[[Cluster], None] = lambda _cluster: None


@dataclass(frozen=True, slots=True)
class Closing:
    """How orders that stand open are closed when nobody goes on with them.

    `held` lists their staged Secrets, `close` cleans one up, `let_go` takes the finalizer away and no more. What the
    exceptions of `telling` say is fit to be shown.
    """

    held: Callable[[], list[Json]]
    close: Callable[[Json], None]
    let_go: Callable[[Json], None]
    telling: tuple[type[Exception], ...] = TELLING


def closing(parts: Parts) -> Closing:
    """Wire what closes open orders; raises `InvalidSettings`."""
    secrets = Secrets(parts.cluster, parts.settings.namespace)
    performer = _performer(parts, secrets, _defaults(parts.settings))
    return Closing(
        held=lambda: secrets.held(parts.settings.watch_namespaces),
        close=performer.close_orphan,
        let_go=secrets.release,
    )


def build(parts: Parts) -> Work:
    """Wire the operator; raises `InvalidSettings` where settings that are well-formed make no sense together."""
    cluster, clock = parts.cluster, SystemClock()
    defaults, secrets = _defaults(parts.settings), Secrets(cluster, parts.settings.namespace)
    performer = _performer(parts, secrets, defaults)
    observer = Observer(cluster, secrets, parts.claims, clock, defaults)
    reporter = Reporter(cluster, parts.metrics, clock)
    reconciler = Reconciler(observer, performer, reporter, clock, parts.bulkheads)
    return Work(
        begin=lambda: _begin(parts, secrets),
        withdraw=lambda cluster: _withdraw(parts, cluster),
        restore=reporter.restore,
        heard=observer.heard,
        reconcile=_while_leading(parts.leadership, reconciler),
        stuck=reconciler.watchdog.stuck,
        late=reconciler.watchdog.late,
    )


def _while_leading(leadership: Leadership, reconcile: Callable[[Key], float | None]) -> Callable[[Key], float | None]:
    """Have no effect of a pass, its report included, where another replica may lead by now."""

    def reconcile_while_leading(key: Key) -> float | None:
        with guarded(leadership.require):
            return reconcile(key)

    return reconcile_while_leading


def _performer(parts: Parts, secrets: Secrets, defaults: Defaults) -> Performer:
    settings, cluster, clock = parts.settings, parts.cluster, SystemClock()
    accounts = Accounts(
        cluster,
        settings.namespace,
        clock,
        parts.metrics.acme_request,
        default_server=defaults.acme.server if defaults.acme else "",
        default_ca_bundle_pem=_text(settings.acme_ca_bundle_file),
        on_skew=parts.metrics.clock_skew,
        order_limits={SHORT_NAMES.get(name, name): limit for name, limit in settings.acme_order_limits.items()},
        policy=settings.servers,
    )
    servers = settings.servers
    surroundings = Surroundings(parts.tokens, Http01Check(policy=servers), servers, settings.resolvers)
    solvers = Solvers(SOLVERS, surroundings, accounts.secrets.read)
    trust = _text(settings.trust_bundle_file)
    validation, namespaces = Validation(solvers, clock), settings.watch_namespaces
    issuing = Issuing(secrets, accounts, validation, clock, parts.metrics, parts.stopping, trust, namespaces)
    features = settings.disabled_features
    prober = Prober(Limits(concurrency=settings.probe_concurrency), now=clock.now)
    rolling = Rolling(cluster, prober, clock, parts.metrics, parts.stopping, accounts.secrets.read, trust, features)
    mending = Mending(References(cluster, clock), accounts, clock)
    restoring = Restoring(PreviousPairs(cluster), secrets, clock)
    watching = Watching(_domains(settings), prober, clock, features)
    return Performer(
        issuing,
        rolling,
        mending,
        restoring,
        ways=WayFinding(cluster, clock, policy=settings.public_hosts, features=features),
        watching=watching,
        secrets=secrets,
        defaults=defaults,
        stopping=parts.stopping,
        may_act=parts.leadership.require,
    )


def _domains(settings: Settings) -> DomainReader:
    """Read domains by the resolvers of the installation, whose word on DNSSEC is taken where they are named."""
    named = settings.resolvers
    try:
        resolver = ResolverSettings(named, trusts_ad=bool(named), overall=DOMAINS_WITHIN)
        return DomainReader(resolver, PolicyFetcher(policy=settings.public_hosts))
    except ValueError as invalid:
        raise InvalidSettings(f"MAILTLS_RESOLVERS: {invalid}") from None


def _defaults(settings: Settings) -> Defaults:
    try:
        acme = default_acme(settings.acme, settings.namespace, SOLVERS)
    except InvalidSpec as invalid:
        raise InvalidSettings(str(invalid)) from None
    return Defaults(SOLVERS, acme, settings.acme_allowed_names, probe_interval=settings.probe_interval)


def _begin(parts: Parts, secrets: Secrets) -> None:
    _publish(parts)
    with guarded(parts.leadership.require):
        secrets.keep_seal()


def _publish(parts: Parts) -> None:
    """Lead the CA's HTTP-01 requests to this replica, the only one that knows the tokens."""
    if (route := _route(parts.settings)) is not None:
        with guarded(parts.leadership.require):
            publish(parts.cluster, route)


def _withdraw(parts: Parts, cluster: Cluster) -> None:
    """Lead them to nobody any more; raises `PassEnded` where another replica may lead, and be led to, by now."""
    if (route := _route(parts.settings)) is not None:
        with guarded(parts.leadership.require):
            publish(cluster, without_endpoint(route))


def _route(settings: Settings) -> Json | None:
    if settings.http01_service is None or settings.pod_ip is None or settings.pod_name is None:
        return None
    pod = Replica(settings.pod_name, settings.pod_ip, settings.node_name, settings.pod_uid)
    return endpoint_slice(settings.namespace, settings.http01_service, pod, settings.http01_port)


def _text(file: Path | None) -> str:
    return file.read_text() if file else ""
