"""Finds routes: which Services lead to the pods, and which addresses the public name has."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Self

from mailtls.api.installation import Feature, Features
from mailtls.api.spec import PublicName
from mailtls.context import Context
from mailtls.kube.interface import ApiError, Cluster
from mailtls.kube.pods import services
from mailtls.kube.workloads import forbidden
from mailtls.net.addresses import AddressPolicy, FindAddresses, by_system, is_routable
from mailtls.probe.target import Route
from mailtls.reasons.reason import Finding
from mailtls.stage import Adapters, Executor
from mailtls.times import Clock
from mailtls.verification.decide import FindRoutes
from mailtls.verification.routes import (
    FoundRoute,
    public_routes,
    refused,
    service_routes,
    unroutable,
    unserved,
    with_routes,
)


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
