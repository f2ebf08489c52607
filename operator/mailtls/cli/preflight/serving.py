"""Could it be stored and served: whose the Secret is, which pods mount it, and what the operator may do."""

from collections.abc import Iterator
from typing import Final

from mailtls.api.installation import Features, parse_features
from mailtls.api.reading.document import Json
from mailtls.api.resource import resource_path, resources_path
from mailtls.api.spec import Desired, Key
from mailtls.cli.preflight.place import Place, RehearsingCluster
from mailtls.cli.results import Line, bad, doubtful, good, unseen
from mailtls.kube.bounds import excess
from mailtls.kube.claims import Claims
from mailtls.kube.interface import ApiError
from mailtls.kube.journal import staged_name
from mailtls.kube.ownership import owned_fault
from mailtls.kube.pairs import path, previous_name
from mailtls.kube.rights import feature_of, missing_rights, needed
from mailtls.kube.secrets import Secrets
from mailtls.kube.snapshot import ServingSecret
from mailtls.kube.workload import WorkloadState, services
from mailtls.kube.workloads import observe
from mailtls.probe.target import Route
from mailtls.reasons.reason import Finding, Reason
from mailtls.verification.routes import service_routes

_MOST_SHOWN: Final = 8
_OFF: Final = "MAILTLS_DISABLED_FEATURES"


def lines(resource: Json, desired: Desired, place: Place) -> Iterator[Line]:
    """Look into the cluster; a part that you may not see is said and passed over."""
    if place.cluster is None:
        return
    for topic, look in _LOOKS:
        try:
            yield from look(resource, desired, place, place.cluster)
        except ApiError as refusal:
            yield unseen(topic, f"This cannot be checked ({refusal.message}).")


def whose_secrets(resource: Json, desired: Desired, place: Place, cluster: RehearsingCluster) -> Iterator[Line]:
    """Look whether the Secret that pods mount, and those called after it, may be written."""
    topic = "secret"
    try:
        holder = _holder(resource, desired, place, cluster)
    except ApiError as refusal:
        holder = None
        yield unseen(topic, f"Whether another resource keeps it cannot be seen ({refusal.message}).")
    if holder is not None and holder != desired.key and not desired.is_external:
        message = (
            f"{holder} is older and keeps Secret {desired.secret_name}, or one with a name derived from it (-next, "
            "-previous): choose another secretName."
        )
        yield bad(topic, Finding(Reason.SECRET_CLAIMED, message))
        return
    found = Secrets(cluster).serving(desired)
    if desired.is_external:
        yield _of_somebody_else(desired, found)
        return
    fault = found.foreign or next(_in_the_way(desired, cluster), None)
    if fault:
        yield bad(topic, fault)
    elif found.exists and not found.is_ours:
        yield good(topic, f"Secret {desired.secret_name} exists and would be taken over, as its annotation requests.")
    elif found.exists:
        yield good(topic, f"Secret {desired.secret_name} exists and would be kept by {desired.key}.")
    else:
        yield good(topic, f"Secret {desired.secret_name} does not exist yet and would be made.")


def _of_somebody_else(desired: Desired, found: ServingSecret) -> Line:
    if found.exists:
        message = f"Secret {desired.secret_name}, written by {found.source.words}, would be checked and rolled out."
        return good("secret", message)
    message = f"Secret {desired.secret_name} does not exist yet: pods start once somebody has written it."
    return doubtful("secret", message, Reason.SECRET_MISSING)


def _holder(resource: Json, desired: Desired, place: Place, cluster: RehearsingCluster) -> Key | None:
    claims, existing = Claims(), cluster.get(resource_path(desired.key))
    itself = resource | {"metadata": _identity(existing, desired, place)}
    claims.prime([*cluster.list(resources_path(desired.key.namespace)), itself])
    return claims.holder(desired.key.namespace, desired.secret_name)


def _in_the_way(desired: Desired, cluster: RehearsingCluster) -> Iterator[Finding]:
    for name in (staged_name(desired), previous_name(desired)):
        there = cluster.get(path(desired.key.namespace, name))
        fault = owned_fault(there, desired, name) if there else None
        if fault is not None and fault.reason is Reason.SECRET_NOT_OWNED:  # what a namesake left goes by itself
            yield fault


def _identity(existing: Json | None, desired: Desired, place: Place) -> Json:
    metadata: Json = existing["metadata"] if existing else {"uid": "", "creationTimestamp": place.now.isoformat()}
    return metadata | {"namespace": desired.key.namespace, "name": desired.key.name}


def _workloads(_resource: Json, desired: Desired, _place: Place, cluster: RehearsingCluster) -> Iterator[Line]:
    topic = "workload"
    if not desired.workloads:
        message = "No workloads are listed, so that nothing is rolled out and nothing is verified."
        yield doubtful(topic, message, Reason.NO_WORKLOADS)
    states: list[WorkloadState] = []
    for workload in desired.workloads:
        states.append(state := observe(cluster, desired.key.namespace, workload, desired.secret_name))
        if (beyond := excess(states)) is not None:
            yield bad(topic, beyond)
            break
        if state.finding:
            yield bad(topic, state.finding)
        elif not state.pods:
            yield doubtful(topic, f"{workload} has no pods now.", Reason.NO_PODS)
        else:
            ports = ", ".join(str(port.port) for port in workload.ports) or "no"
            yield good(topic, f"{workload} reads Secret {desired.secret_name}; {len(state.pods)} pods, ports {ports}.")


def _services(_resource: Json, desired: Desired, _place: Place, cluster: RehearsingCluster) -> Iterator[Line]:
    if Route.SERVICE not in desired.probe.routes:
        return
    topic, namespace = "service", desired.key.namespace
    found = services(cluster, namespace)
    for workload in desired.workloads:
        state = observe(cluster, namespace, workload, desired.secret_name)
        targets = tuple(service_routes((state,), found, desired))
        fault = next((finding for _, finding in targets if finding), None)
        if fault is not None:
            yield bad(topic, fault)
        elif targets:
            yield good(
                topic, f"{workload} is probed by Service {', '.join(sorted({each.pod for each, _ in targets}))}."
            )


def _features(_resource: Json, desired: Desired, place: Place, _cluster: RehearsingCluster) -> Iterator[Line]:
    for off in _switched_off(place).refusals(desired):
        yield bad("features", off)


def _switched_off(place: Place) -> Features:
    switched_off = place.installation.environment.get(_OFF, "") if place.installation else ""
    try:
        return parse_features(switched_off)
    except ValueError:
        return Features()  # of an operator that is not of this version


def _rights(_resource: Json, desired: Desired, place: Place, cluster: RehearsingCluster) -> Iterator[Line]:
    topic, operator = "rights", place.installation
    if operator is None and place.hidden:
        yield unseen(topic, "The operator could not be looked for, so its rights could not be checked.")
        return
    if operator is None:
        yield doubtful(topic, "No Deployment of the operator was found, so that its rights could not be asked for.")
        return
    off = _switched_off(place).off
    wanted = [right for right in needed(desired) if feature_of(right) not in off]
    missing = missing_rights(cluster, operator.user, desired.key.namespace, wanted)
    if not missing:
        yield good(topic, f"{operator.user} may do all that it needs in namespace {desired.key.namespace}.")
        return
    shown = ", ".join(map(str, missing[:_MOST_SHOWN])) + (" ..." if len(missing) > _MOST_SHOWN else "")
    features = sorted({feature for right in missing if (feature := feature_of(right)) is not None})
    switched = f", set {' and '.join(f'features.{each}' for each in features)} to true" if features else ""
    message = (
        f"{operator.user} may not {shown} in namespace {desired.key.namespace}: add the namespace to watchNamespaces"
        f"{switched} in the Helm values, or grant it by RBAC."
    )
    yield bad(topic, Finding(Reason.FORBIDDEN, message))


_LOOKS: Final = (
    ("secret", whose_secrets),
    ("workload", _workloads),
    ("service", _services),
    ("features", _features),
    ("rights", _rights),
)
