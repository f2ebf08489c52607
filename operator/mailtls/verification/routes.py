"""Routes: how clients reach the pods by Services and from outside, probed once every pod has the certificate.

They prove nothing about single pods, and no rollout is decided by them: they show what is put before the pods.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import chain, islice
from typing import Final, TypeAlias

from mailtls.api.spec import Desired, PublicName
from mailtls.context import Context
from mailtls.kube.workload import Service, ServicePort, WorkloadState
from mailtls.probe.target import Endpoint, Port, Route, Target
from mailtls.reasons.reason import Finding, Reason, Severity
from mailtls.verification.evidence import targets
from mailtls.verification.schedule import has_rolled_out

MOST_ROUTES: Final = 200
"""By Services, of a resource: a namespace may have hundreds that lead to the same pods, with a hundred ports each."""
TOO_MANY: Final = Finding(
    Reason.TOO_MANY_ENDPOINTS,
    f"Services lead to these workloads by more than {MOST_ROUTES} addresses and ports; the others are not probed. Take "
    "Service out of spec.probe.from, or divide the workloads among several resources.",
    Severity.WARN,
)
FoundRoute: TypeAlias = tuple[Target, Finding | None]
"""A route, and what is known of it without a probe; None: probe it."""


def are_awaited(context: Context) -> bool:
    """Whether more than the pods is to be asked, and nobody has looked yet how to come there."""
    return context.desired.probe.routes != {Route.PODS} and context.verification.routes is None


def are_due(context: Context, now: datetime) -> bool:
    """Whether the routes can be probed now: during a rollout they would show one certificate or the other by chance."""
    has_pods = bool(targets(context.snapshot.workloads or (), context.desired.server_name))
    return are_awaited(context) and has_pods and has_rolled_out(context, now)


def with_routes(context: Context, found_routes: Iterable[FoundRoute], now: datetime) -> Context:
    """Know the routes; of those that are as they were the evidence stays."""
    found = dict(found_routes)
    askable = {target for target, finding in found.items() if finding is None}
    kept = tuple(
        each for each in context.verification.endpoints if each.target.route is Route.PODS or each.target in askable
    )
    faulty = [Endpoint(target, now, (finding,)) for target, finding in found.items() if finding is not None]
    routed = context.with_verification(routes=tuple(found), endpoints=kept)
    return replace(routed, verification=routed.verification.with_answers(faulty))


def without_routes(context: Context) -> Context:
    """Begin anew with the routes, as a sweep does with all; nothing stays aside but what was found there."""
    pods = tuple(endpoint for endpoint in context.verification.endpoints if endpoint.target.route is Route.PODS)
    routes = tuple(endpoint for endpoint in context.verification.endpoints if endpoint.target.route is not Route.PODS)
    return context.with_verification(routes=None, endpoints=pods, set_aside=routes)


def service_routes(
    states: Iterable[WorkloadState], services: Sequence[Service], desired: Desired
) -> Iterator[FoundRoute]:
    """The addresses of every Service that leads to a port of a workload which has pods, and whether there are more."""
    every = _every_service_route(states, services, desired)
    yield from islice(every, MOST_ROUTES)
    if (more := next(every, None)) is not None:
        yield replace(more[0], pod="", address=""), TOO_MANY


def _every_service_route(
    states: Iterable[WorkloadState], services: Sequence[Service], desired: Desired
) -> Iterator[FoundRoute]:
    for state in states:
        pairs = _pairs(state, services) if state.living_pods else iter(())
        first = next(pairs, None)
        if first is None and state.living_pods:
            yield from unserved(state, desired, no_service(state, desired.key.namespace))
        for service, theirs, ours in chain((first,) if first else (), pairs):
            port = replace(ours, port=theirs.number)
            for address in service.addresses:
                yield replace(_service_target(service.name, state, address, ours, desired), port=port), None


def unserved(state: WorkloadState, desired: Desired, finding: Finding) -> Iterator[FoundRoute]:
    """Say why no Service is asked for the ports of a workload."""
    for port in state.workload.ports:
        yield _service_target("", state, "", port, desired), finding


def no_service(state: WorkloadState, namespace: str) -> Finding:
    """Say which Service is missing."""
    ports = ", ".join(str(port.port) for port in state.workload.ports)
    message = (
        f"No Service in namespace {namespace} selects the pods of {state.workload} and leads to a port of theirs "
        f"({ports}): make one, correct its selector or targetPort, or take Service out of spec.probe.from."
    )
    return Finding(Reason.SERVICE_MISSING, message)


def _pairs(state: WorkloadState, services: Iterable[Service]) -> Iterator[tuple[Service, ServicePort, Port]]:
    wanted = {ours.port for ours in state.workload.ports}
    for service in filter(lambda each: each.selects(state.labels), services):
        for theirs in service.ports:
            number = state.port_names.get(theirs.target) if isinstance(theirs.target, str) else theirs.target
            if number in wanted:
                yield from ((service, theirs, ours) for ours in state.workload.ports if ours.port == number)


def _service_target(name: str, state: WorkloadState, address: str, port: Port, desired: Desired) -> Target:
    workload, software = str(state.workload), state.workload.software_at(port)
    return Target(
        address, port, desired.server_name, pod=name, workload=workload, route=Route.SERVICE, software=software
    )


def public_routes(
    public: PublicName, addresses: Sequence[str], failure: str, undialled: Mapping[str, Finding]
) -> Iterator[FoundRoute]:
    """Every port at every address of the public name; `failure` says why the DNS was silent, empty: no such name.

    `undialled` are the addresses that nobody connects to, and why.
    """
    for port in public.ports:
        if not addresses:
            yield _public_target(public, "", port), _unresolved(public.host, failure)
        for address in addresses:
            yield _public_target(public, address, port), undialled.get(address)


def _public_target(public: PublicName, address: str, port: Port) -> Target:
    return Target(address, port, public.host, pod=public.host, route=Route.PUBLIC)


def _unresolved(host: str, failure: str) -> Finding:
    if failure:
        message = f"The address of {host} could not be looked up ({failure}): see the DNS of the operator's pod."
    else:
        message = f"The DNS knows no address of {host}: add an A or AAAA record, or correct spec.probe.public.host."
    return Finding(Reason.DNS_LOOKUP_FAILED, message)


def unroutable(host: str, address: str) -> Finding:
    """Say that this machine has no route to an address of the public name."""
    family = "IPv6" if ":" in address else "IPv4"
    message = (
        f"{address} could not be asked: the operator's pod has no {family}. Give the cluster {family}, or ask "
        f"from elsewhere by `mailtls probe {host}`."
    )
    return Finding(Reason.PORT_BLOCKED, message, Severity.WARN)


def refused(host: str, address: str, what: str) -> Finding:
    """Say that the operator connects to no such address on a tenant's word; `what` names its kind."""
    message = (
        f"{host} leads to {address}, {what}, which the operator does not connect to: correct its A or AAAA record, or "
        "have the installation list the network in connections.allowedNetworks."
    )
    return Finding(Reason.ADDRESS_REFUSED, message)
