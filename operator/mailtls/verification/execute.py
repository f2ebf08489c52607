"""Performs verification: finds routes, probes pods and routes, and rechecks the roots by which chains are trusted."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import structlog

from mailtls.api.installation import Feature, Features
from mailtls.api.reading.acme import STAGING
from mailtls.api.spec import DataRef, Desired, PublicName
from mailtls.context import Context
from mailtls.issuance.acme.account_secrets import trusted_roots
from mailtls.kube.interface import ApiError, Cluster, forbidden
from mailtls.kube.references import References, next_recheck_at, trial_login
from mailtls.kube.resource_views import find_all
from mailtls.kube.secrets import Secrets
from mailtls.kube.workload import services
from mailtls.metrics import Metrics
from mailtls.net.addresses import AddressPolicy, FindAddresses, by_system, is_routable
from mailtls.probe.prober import SupportsProbe
from mailtls.probe.target import Credentials, Depth, Endpoint, Expected, Route, Target
from mailtls.reasons.reason import Finding, Reason
from mailtls.stage import Adapters, Executor
from mailtls.times import Clock
from mailtls.verification.decide import (
    ConfirmPods,
    FindRoutes,
    ProbePods,
    ProbeRoutes,
    RecheckRoots,
    roots_changed,
    verified_anew,
)
from mailtls.verification.evidence import refusals_in, resting, standing_refusals, targets, with_refusals
from mailtls.verification.routes import (
    FoundRoute,
    public_routes,
    refused,
    service_routes,
    unroutable,
    unserved,
    with_routes,
    without_routes,
)
from mailtls.verification.schedule import confirmed, retried, with_deep_findings

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Probing(Executor):
    """Collects the evidence of what pods serve; `read` returns an entry of a Secret or ConfigMap."""

    cluster: Cluster
    prober: SupportsProbe
    clock: Clock
    metrics: Metrics
    read: Callable[[DataRef], bytes]
    references: References
    trust_pem: str = ""

    @classmethod
    def of(cls, adapters: Adapters) -> Self:
        """Make one."""
        return cls(
            adapters.cluster,
            adapters.prober,
            adapters.clock,
            adapters.metrics,
            adapters.accounts.secrets.read,
            adapters.references,
            adapters.trust_pem,
        )

    def probe(self, context: Context, step: ProbePods) -> Context:
        """Ask the pods; a sweep of all targets also moves the time of the next one."""
        for backoff in retried(context, step.targets):
            self.metrics.retried(backoff.kind)
        begun = self.clock.now()
        probed, context = self._probed(context, step)
        if step.depth is not Depth.DEEP:
            probed = with_deep_findings(probed, context.verification.endpoints)
        context = replace(context, verification=context.verification.with_answers(probed))
        if not set(targets(context.snapshot.workloads or (), context.desired.server_name)) <= set(step.targets):
            return context
        now = self.clock.now()
        self.metrics.verified(str(step.depth), (now - begun).total_seconds())
        # Without what was aside, too: whoever misses a sweep is probed when back.
        return without_routes(context).with_verification(
            probed_at=now,
            probed_depth=step.depth,
            deep_probed_at=now if step.depth is Depth.DEEP else context.verification.deep_probed_at,
            handled_probe=context.desired.probe_requested,
        )

    def _probed(self, context: Context, step: ProbePods | ProbeRoutes) -> tuple[Sequence[Endpoint], Context]:
        """Ask, with a login where one is wanted and none was refused a short while ago; remember who refuses it."""
        if step.depth is Depth.QUICK:
            return self.probe_targets(context, step.targets), context
        trial = trial_login(self.cluster, context.desired)
        standing = standing_refusals(context, trial.version, self.clock.now())
        probed = self.probe_targets(context, step.targets, step.depth, None if standing else trial.whom)
        probed = _warned(probed, trial.missing)
        known = standing or refusals_in(probed, trial.version, context.desired.probe_requested)
        return with_refusals(probed, standing, _every(context)), context.with_verification(login_refusals=known)

    def confirm(self, context: Context, step: ConfirmPods) -> Context:
        """Take up again what was learned of pods that are back; who turns out to have changed is asked like a new one.

        A brief probe leaves the times of sweeps and of the next probes of what fails as they are.
        """
        verification = context.verification
        learned = {each.target: each for each in verification.set_aside}
        found = [confirmed(learned[each.target], each) for each in self.probe_targets(context, step.targets)]
        left = tuple(each for each in verification.set_aside if each.target not in step.targets)
        known = replace(verification, set_aside=left).with_answers(each for each in found if each)
        return replace(context, verification=known)

    def probe_routes(self, context: Context, step: ProbeRoutes) -> Context:
        """Ask Services or public addresses."""
        probed, context = self._probed(context, step)
        if step.depth is not Depth.DEEP:
            probed = with_deep_findings(probed, context.verification.set_aside)
        return replace(context, verification=context.verification.with_answers(probed))

    def recheck_roots(self, context: Context, _step: RecheckRoots) -> Context:
        """Compare the roots to trust with those last read; a change means that all pods are probed at once."""
        if context.desired.probe.trust is None:
            raise AssertionError("roots are in doubt only where some are named")
        (version,) = self.references.look([context.desired.probe.trust])
        checked = context.with_verification(roots_due_at=next_recheck_at(self.clock.now()))
        if not roots_changed(context, version):
            return checked.with_verification(roots=version)
        log.info("the roots to trust were changed, so all pods are probed at once")
        return verified_anew(checked)

    def probe_targets(
        self,
        context: Context,
        probed: Sequence[Target],
        depth: Depth = Depth.QUICK,
        login: Credentials | None = None,
    ) -> Sequence[Endpoint]:
        """Probe these targets for the stored certificate, and know of other resources' certificates."""
        desired, leaf = context.desired, context.leaf
        roots, without = trusted_roots(self.trust_pem, desired.probe.trust, self.read)
        expected = Expected(
            leaf.sha256 if leaf is not None else None,
            roots,
            # After a rollback a server that has not read the new file serves the younger certificate of the two.
            None if leaf is None or context.snapshot.secret.hold else leaf.not_before,
            trusts_staging=desired.acme.server == STAGING or (leaf is not None and leaf.is_trial),
            thresholds=desired.probe.thresholds,
            names=_names_served(context),
            client_name=desired.probe.client_name,
        )
        if depth is Depth.QUICK:
            return _warned(self.prober.probe(probed, expected), without)
        found = _warned(self.prober.probe(probed, replace(expected, login=login), depth), without)
        return self._without_siblings(desired, found)

    def _without_siblings(self, desired: Desired, found: Sequence[Endpoint]) -> Sequence[Endpoint]:
        """Take back what is said of other certificates that another resource keeps; most servers have none."""
        if not any(each.second_sha256 or each.named_sha256 for each in found):
            return found
        kept = Secrets(self.cluster).leaves(desired.key.namespace) | self._accepted(desired.key.namespace)
        return [_without_kept(each, kept) for each in found]

    def _accepted(self, namespace: str) -> frozenset[str]:
        """Fingerprints of what has passed in Secrets that somebody else writes: those have no label of ours."""
        elsewhere = (each.status.stored for each in find_all(self.cluster, namespace) if each.is_external)
        return frozenset(stored.sha256 for stored in elsewhere if stored)


def _every(context: Context) -> Iterator[Target]:
    """All servers that there are, also those that are not ready."""
    states = context.snapshot.workloads or ()
    yield from (*targets(states, context.desired.server_name), *resting(states, context.desired.server_name))
    yield from context.verification.routes or ()


def _names_served(context: Context) -> tuple[str, ...]:
    """The names to ask for: what the spec has gained since is served when the next certificate is."""
    desired, certificate = context.desired, context.snapshot.secret.certificate
    if desired.is_external or certificate is None:
        return desired.dns_names
    return tuple(name for name in desired.dns_names if name in certificate.names)


def _warned(endpoints: Sequence[Endpoint], warning: Finding | None) -> Sequence[Endpoint]:
    """Add what the prober cannot know."""
    return [replace(each, findings=(*each.findings, warning)) for each in endpoints] if warning else endpoints


def _without_kept(endpoint: Endpoint, kept: Collection[str]) -> Endpoint:
    """Without the findings on certificates that are stored elsewhere."""
    named = {subject for subject, sha256 in endpoint.named_sha256 if sha256 in kept}
    second = {Reason.SECOND_CERTIFICATE_STALE} if endpoint.second_sha256 in kept else set()
    others = (each for each in endpoint.findings if each.reason not in second and each.subject not in named)
    return replace(endpoint, findings=tuple(others))


@dataclass(frozen=True, slots=True)
class RouteFinding(Executor):
    """Finds the routes; there is no watch on them, so that they cost nothing while nobody asks."""

    cluster: Cluster
    clock: Clock
    find: FindAddresses = by_system
    routable: Callable[[str], bool] = is_routable
    policy: AddressPolicy = field(default_factory=AddressPolicy)
    features: Features = field(default_factory=Features)

    @classmethod
    def of(cls, adapters: Adapters) -> Self:
        """Make one."""
        return cls(adapters.cluster, adapters.clock, policy=adapters.public_hosts, features=adapters.features)

    def find_all(self, context: Context, _step: FindRoutes) -> Context:
        """Find all routes that the spec names."""
        desired = context.desired
        found_routes: list[FoundRoute] = []
        if Route.SERVICE in desired.probe.routes:
            found_routes += self._services(context)
        if desired.probe.public is not None:
            found_routes += self._public(desired.probe.public)
        return with_routes(context, found_routes, self.clock.now())

    def _services(self, context: Context) -> Iterator[FoundRoute]:
        desired = context.desired
        states, namespace = context.snapshot.workloads or (), desired.key.namespace
        if (off := self.features.refusal(Feature.SERVICES)) is not None:
            for state in states:
                yield from unserved(state, desired, off)
            return
        try:
            yield from service_routes(states, services(self.cluster, namespace), desired)
        except ApiError as error:
            if not error.is_forbidden:
                raise
            for state in states:
                yield from unserved(state, desired, forbidden("list services", namespace))

    def _public(self, public: PublicName) -> Iterator[FoundRoute]:
        found = self.find(public.host)
        obstacles = {address: self._obstacle(public, address) for address in found.addresses}
        undialled = {address: finding for address, finding in obstacles.items() if finding is not None}
        return public_routes(public, found.addresses, found.failure, undialled)

    def _obstacle(self, public: PublicName, address: str) -> Finding | None:
        """Why an address is not dialled; the probe connects to no other address than the one that was judged here."""
        kinds = (self.policy.refusal(address, each.port) for each in public.ports)
        if (what := next(filter(None, kinds), None)) is not None:
            return refused(public.host, address, what)
        return None if self.routable(address) else unroutable(public.host, address)
