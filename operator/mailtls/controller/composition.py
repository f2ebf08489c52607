"""Puts the operator's objects together; nothing else does: not the process, the uninstall hook, the bench or a test.

`compose` makes what performs a reconcile, `Controller` what feeds it with keys. Neither starts a thread or connects to
anything. What stands at the edge besides the API server is in `Edges`, so that a test can put its own there.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import structlog

from mailtls.api.reading.acme import SHORT_NAMES, default_acme
from mailtls.api.reading.document import InvalidSpec, Json
from mailtls.api.reading.spec import Defaults
from mailtls.api.spec import Key
from mailtls.controller.bulkheads import Bulkheads
from mailtls.controller.election import Leadership
from mailtls.controller.intake import Intake, Seen, Sweeper
from mailtls.controller.observe import Observer
from mailtls.controller.parts import Closing, Parts, Work
from mailtls.controller.queue import WorkQueue
from mailtls.controller.reconciler import Reconciler
from mailtls.controller.status_writer import Reporter
from mailtls.issuance.acme.accounts import Accounts
from mailtls.issuance.leftovers import Leftovers
from mailtls.issuance.solvers.base import Surroundings
from mailtls.issuance.solvers.http01_check import Http01Check
from mailtls.issuance.solvers.http01_server import Replica, endpoint_slice, publish, without_endpoint
from mailtls.issuance.solvers.registry import SOLVERS, Registry, Solvers
from mailtls.kube.interface import ApiError, Cluster
from mailtls.kube.references import References
from mailtls.kube.secrets import Secrets
from mailtls.maildomain.lookup.domains import DomainReader
from mailtls.maildomain.lookup.policy_fetch import PolicyFetcher
from mailtls.net.effects import guarded
from mailtls.net.resolver import ResolverSettings
from mailtls.probe.conversation import Limits
from mailtls.probe.prober import Prober
from mailtls.rollout.conditions import is_rolling
from mailtls.rollout.coordinator import Coordinator
from mailtls.settings import InvalidSettings, Settings
from mailtls.stage import Adapters, AnyStage, Plan
from mailtls.stages import STAGES

log = structlog.get_logger()
DOMAINS_WITHIN = 15.0  # seconds for all domains of a resource: its reconcile lasts as long where a resolver is dead


@dataclass(frozen=True, slots=True)
class Composition:
    """All objects of the operator that are used by name; they are shared by all workers."""

    secrets: Secrets
    accounts: Accounts
    solvers: Solvers
    plan: Plan
    observer: Observer
    reporter: Reporter
    reconciler: Reconciler
    coordinator: Coordinator


def compose(parts: Parts, stages: Sequence[AnyStage] = STAGES) -> Composition:
    """Make all objects for these stages; raises `InvalidSettings` where well-formed settings make no sense together."""
    cluster, clock = parts.cluster, parts.edges.clock
    defaults = defaults_of(parts.settings, parts.edges.registry)
    secrets, accounts = Secrets(cluster, parts.settings.namespace), _accounts(parts, defaults)
    solvers = _solvers(parts, accounts)
    coordinator = parts.coordinator or Coordinator(parts.settings.max_concurrent_rollouts, clock.now)
    adapters = _adapters(parts, defaults, secrets, accounts, solvers)
    plan = Plan(stages, replace(adapters, coordinator=coordinator))
    observer = Observer(cluster, secrets, parts.claims, clock, defaults)
    reporter = Reporter(cluster, parts.metrics, clock, parts.settings.docs_url)
    reconciler = Reconciler(observer, plan, reporter, clock, parts.bulkheads)
    return Composition(secrets, accounts, solvers, plan, observer, reporter, reconciler, coordinator)


def defaults_of(settings: Settings, registry: Registry = SOLVERS) -> Defaults:
    """Return what the installation gives to each resource; raises `InvalidSettings`."""
    try:
        acme = default_acme(settings.acme, settings.namespace, registry)
    except InvalidSpec as invalid:
        raise InvalidSettings(str(invalid)) from None
    return Defaults(
        registry,
        acme,
        settings.acme_allowed_names,
        probe_interval=settings.probe_interval,
        probe_client_name=settings.probe_client_name,
        features=settings.disabled_features,
    )


def closing(parts: Parts) -> Closing:
    """Return what closes open orders; raises `InvalidSettings`."""
    made = compose(parts)
    leftovers = made.plan.executor(Leftovers)

    def close(held: Json) -> None:
        secret = made.secrets.whole(held)
        if secret is not None:
            leftovers.close_orphan(secret)

    return Closing(
        held=lambda: made.secrets.held(parts.settings.watch_namespaces),
        close=close,
        let_go=made.secrets.release,
    )


def build(parts: Parts) -> Work:
    """Return what the process does once it leads; raises `InvalidSettings`."""
    made = compose(parts)
    parts.metrics.watch_budgets(made.accounts.budgets)
    return Work(
        begin=lambda: _begin(parts, made.secrets),
        withdraw=lambda cluster: _withdraw(parts, cluster),
        restore=partial(_restore, made),
        note_event=made.observer.note_event,
        reconcile=_while_leading(parts.leadership, made.coordinator.in_turn(made.reconciler)),
        stuck=made.reconciler.watchdog.stuck,
        late=made.reconciler.watchdog.late,
    )


class Controller:
    """The work of a replica and what feeds it: queue, bulkheads, the intake of events, and the sweep.

    `seen` knows our own writes. Nothing runs before `queue.start()`.
    """

    def __init__(self, parts: Parts, seen: Seen, build: Callable[[Parts], Work] = build) -> None:
        settings, metrics = parts.settings, parts.metrics
        workers = settings.max_concurrent_reconciles
        bulkheads = Bulkheads(workers, self._wake, self._away, parts.edges.monotonic)
        coordinator = Coordinator(settings.max_concurrent_rollouts, parts.edges.clock.now, self._wake)
        self.work = build(replace(parts, bulkheads=bulkheads, coordinator=coordinator))
        self.queue = WorkQueue[Key](
            self.work.reconcile,
            workers=workers,
            spare=bulkheads.most_in_doubt,
            took=metrics.reconciled,
            retried=metrics.retried,
            group=lambda key: key.namespace,
        )
        self.intake = Intake(self._hint, self._hint_later, parts.claims, seen)
        self.sweeper = Sweeper(parts.cluster, settings.watch_namespaces, self.intake)
        metrics.watch_queue(self.queue.depth, self.queue.oldest)
        metrics.watch_workers(self.work.late)
        metrics.watch_line(bulkheads.waiting)
        metrics.watch_rollouts(coordinator.waiting, coordinator.at_work, coordinator.most)
        metrics.watch_leader(parts.leadership.is_leading)

    def restore(self, resources: list[Json]) -> None:
        """Learn of all resources that exist, before the first reconcile."""
        for resource in resources:
            self.work.restore(resource)
        self.intake.prime(resources)

    def _wake(self, key: Key) -> None:
        self.queue.add(key)

    def _away(self) -> AbstractContextManager[None]:
        return self.queue.away()

    def _hint(self, key: Key) -> None:
        self.work.note_event(key)
        self.queue.add(key)

    def _hint_later(self, key: Key, delay: float) -> None:
        self.work.note_event(key)
        self.queue.add_after(key, delay)


def _restore(made: Composition, resource: Json) -> None:
    """Learn of a resource that exists; one whose rollout was under way goes on before others begin."""
    made.reporter.restore(resource)
    if is_rolling(resource):
        made.coordinator.restore(Key(resource["metadata"]["namespace"], resource["metadata"]["name"]))


def _while_leading(leadership: Leadership, reconcile: Callable[[Key], float | None]) -> Callable[[Key], float | None]:
    """Have no effect of a reconcile, its report included, where another replica may lead by now."""

    def reconcile_while_leading(key: Key) -> float | None:
        with guarded(leadership.require):
            return reconcile(key)

    return reconcile_while_leading


def _accounts(parts: Parts, defaults: Defaults) -> Accounts:
    settings, metrics = parts.settings, parts.metrics
    return Accounts(
        parts.cluster,
        settings.namespace,
        parts.edges.clock,
        metrics.acme_request,
        default_server=defaults.acme.server if defaults.acme else "",
        default_ca_bundle_pem=_text(settings.acme_ca_bundle_file),
        on_skew=metrics.clock_skew,
        order_limits={SHORT_NAMES.get(name, name): limit for name, limit in settings.acme_order_limits.items()},
        policy=settings.servers,
        transport=parts.edges.transport,
        retried=metrics.retried,
    )


def _solvers(parts: Parts, accounts: Accounts) -> Solvers:
    edges, servers = parts.edges, parts.settings.servers
    check = edges.http01_check or Http01Check(policy=servers)
    surroundings = Surroundings(parts.tokens, check, servers, parts.settings.resolvers, edges.names)
    return Solvers(edges.registry, surroundings, accounts.secrets.read)


def _adapters(parts: Parts, defaults: Defaults, secrets: Secrets, accounts: Accounts, solvers: Solvers) -> Adapters:
    settings, edges = parts.settings, parts.edges
    return Adapters(
        cluster=parts.cluster,
        secrets=secrets,
        accounts=accounts,
        solvers=solvers,
        references=References(parts.cluster, edges.clock),
        prober=edges.prober or Prober(Limits(concurrency=settings.probe_concurrency), now=edges.clock.now),
        domains=edges.domains or _domains(settings),
        clock=edges.clock,
        metrics=parts.metrics,
        stopping=parts.stopping,
        defaults=defaults,
        may_act=parts.leadership.require,
        features=settings.disabled_features,
        public_hosts=settings.public_hosts,
        namespaces=settings.watch_namespaces,
        trust_pem=_text(settings.trust_bundle_file),
        file_patience=edges.file_patience,
    )


def _domains(settings: Settings) -> DomainReader:
    """Read domains by the resolvers of the installation, whose word on DNSSEC is taken where they are named."""
    named = settings.resolvers
    try:
        policy = settings.public_hosts
        resolver = ResolverSettings(named, trusts_ad=bool(named), overall=DOMAINS_WITHIN, policy=policy)
        return DomainReader(resolver, PolicyFetcher(policy=policy))
    except ValueError as invalid:
        raise InvalidSettings(f"MAILTLS_RESOLVERS: {invalid}") from None


def _begin(parts: Parts, secrets: Secrets) -> None:
    _learn_api_endpoints(parts)
    _publish(parts)
    with guarded(parts.leadership.require):
        secrets.keep_seal()


def _learn_api_endpoints(parts: Parts) -> None:
    """Know where the API server that answers listens, behind its Service: it says so to every client."""
    try:
        found = parts.cluster.get("/api") or {}
    except ApiError as refusal:
        log.warning("the API server does not say where it listens", error=str(refusal))
        return
    by_network = found.get("serverAddressByClientCIDRs") or ()
    parts.settings.api_endpoints.add(str(each.get("serverAddress")) for each in by_network)


def _publish(parts: Parts) -> None:
    """Lead the CA's HTTP-01 requests to this replica, the only one that knows the tokens."""
    if (route := _route(parts.settings)) is not None:
        with guarded(parts.leadership.require):
            publish(parts.cluster, route)


def _withdraw(parts: Parts, cluster: Cluster) -> None:
    """Lead them to nobody any more; raises `ReconcileEnded` where another replica may lead, and be led to, by now."""
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
