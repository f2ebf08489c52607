"""Performs the look around: which Services lead to the pods, and which addresses the public name has."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from mailtls.lifecycle.step import FindWays
from mailtls.lifecycle.ways import Lead, public_leads, refused, service_leads, unroutable, unserved, with_ways
from mailtls.model.address_policy import AddressPolicy
from mailtls.model.features import Feature, Features
from mailtls.model.observed import Observed
from mailtls.model.reason import Finding
from mailtls.model.spec import Desired, PublicName
from mailtls.probe.target import Way
from mailtls.world.cluster.services import services
from mailtls.world.cluster.workloads import forbidden
from mailtls.world.lookup import FindAddresses, by_system, is_routable
from mailtls.world.ports import ApiError, Clock, Cluster


@dataclass(frozen=True, slots=True)
class WayFinding:
    """Finds the ways; there is no watch on them, so that they cost nothing while nobody asks."""

    cluster: Cluster
    clock: Clock
    find: FindAddresses = by_system
    routable: Callable[[str], bool] = is_routable
    policy: AddressPolicy = field(default_factory=AddressPolicy)
    features: Features = field(default_factory=Features)

    def look(self, desired: Desired, seen: Observed, _step: FindWays) -> Observed:
        """Look for all ways that the spec names."""
        leads: list[Lead] = []
        if Way.SERVICE in desired.probe.ways:
            leads += self._services(desired, seen)
        if desired.probe.public is not None:
            leads += self._public(desired.probe.public)
        return with_ways(seen, leads, self.clock.now())

    def _services(self, desired: Desired, seen: Observed) -> Iterator[Lead]:
        states, namespace = seen.workloads or (), desired.key.namespace
        if (off := self.features.refusal(Feature.SERVICES)) is not None:
            for state in states:
                yield from unserved(state, desired, off)
            return
        try:
            yield from service_leads(states, services(self.cluster, namespace), desired)
        except ApiError as error:
            if not error.is_forbidden:
                raise
            for state in states:
                yield from unserved(state, desired, forbidden("list services", namespace))

    def _public(self, public: PublicName) -> Iterator[Lead]:
        found = self.find(public.host)
        obstacles = {address: self._obstacle(public.host, address) for address in found.addresses}
        undialled = {address: finding for address, finding in obstacles.items() if finding is not None}
        return public_leads(public, found.addresses, found.failure, undialled)

    def _obstacle(self, host: str, address: str) -> Finding | None:
        """Why an address is not dialled; the probe connects to no other address than the one that was judged here."""
        if (what := self.policy.refusal(address)) is not None:
            return refused(host, address, what)
        return None if self.routable(address) else unroutable(host, address)
