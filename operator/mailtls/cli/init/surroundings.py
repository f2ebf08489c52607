"""What is in the cluster already: mail workloads, their Secrets, cert-manager, Ingress classes, the operator."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from mailtls.api.reading.document import InvalidSpec, Json
from mailtls.api.reading.spec import secret_name
from mailtls.api.resource import resources_path
from mailtls.cli.init.servers import MailWorkload, mail_workload
from mailtls.kube.interface import ApiError, Cluster
from mailtls.kube.ownership import SERVING_TYPE, is_labelled, source_of
from mailtls.kube.pairs import certificate_of, path
from mailtls.kube.rights import Installation, find_installation
from mailtls.maildomain.lookup.records import Lookup
from mailtls.net.resolver import ResolverSettings

_LIKE_TLS: Final = ("tls", "cert")
_DNS_SECONDS: Final = 2.0  # preflight looks the names up with more patience
_KINDS: Final = (("StatefulSet", "statefulsets"), ("Deployment", "deployments"), ("DaemonSet", "daemonsets"))


@dataclass(frozen=True, slots=True)
class MountedSecret:
    """A TLS Secret: the names in it, and who keeps it; `is_ours` where mailtls does."""

    names: tuple[str, ...] = ()
    is_ours: bool = False
    keeper: str = ""
    exists: bool = True


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What was seen in a namespace. `resources` are MailServerTLS by the Secret that they name.

    `secrets` are those of type kubernetes.io/tls, and those that are missing and look like one by name. `hidden` says
    what may not be looked at.
    """

    namespace: str
    workloads: tuple[MailWorkload, ...] = ()
    secrets: Mapping[str, MountedSecret] = field(default_factory=dict)
    resources: Mapping[str, str] = field(default_factory=dict)
    has_cert_manager: bool = False
    ingress_classes: tuple[str, ...] = ()
    installation: Installation | None = None
    hidden: tuple[str, ...] = ()


def look_around(cluster: Cluster, namespace: str, wanted_secret: str | None = None) -> Surroundings:
    """Look; nothing is written, and what may not be seen is said. Raises `Unreachable`.

    Of all Secrets only those are read that mail servers mount, and the one that is wanted.
    """
    hidden: list[str] = []

    def seen(what: str, look: Callable[[], Sequence[Json]]) -> Sequence[Json]:
        try:
            return look()
        except ApiError as refusal:
            if not refusal.is_missing:
                hidden.append(f"{what} cannot be seen ({refusal.message}).")
            return ()

    workloads = tuple(_workloads(cluster, namespace, seen))
    resources = seen("MailServerTLS resources", lambda: cluster.list(resources_path(namespace)))
    groups = seen("API groups", lambda: [cluster.get("/apis/cert-manager.io") or {}])
    names = {name for each in workloads for name in each.mounted} | ({wanted_secret} if wanted_secret else set())
    classes = seen("Ingress classes", lambda: cluster.list("/apis/networking.k8s.io/v1/ingressclasses"))
    return Surroundings(
        namespace=namespace,
        workloads=workloads,
        secrets=dict(_secrets(cluster, namespace, names, seen)),
        resources=dict(_named(resources)),
        has_cert_manager=any(each.get("versions") for each in groups),
        ingress_classes=tuple(sorted(each["metadata"]["name"] for each in classes)),
        installation=_installation(cluster, hidden),
        hidden=tuple(hidden),
    )


_Seen = Callable[[str, Callable[[], Sequence[Json]]], Sequence[Json]]


def _workloads(cluster: Cluster, namespace: str, seen: _Seen) -> Iterator[MailWorkload]:
    for kind, plural in _KINDS:
        place = f"/apis/apps/v1/namespaces/{namespace}/{plural}"
        for each in seen(f"{kind}s", lambda place=place: cluster.list(place)):  # type: ignore[misc]
            found = mail_workload(kind, each)
            if found is not None:
                yield found


def _secrets(
    cluster: Cluster, namespace: str, names: Collection[str], seen: _Seen
) -> Iterator[tuple[str, MountedSecret]]:
    for name in sorted(names):
        (found,) = seen(f"Secret {name}", lambda name=name: [cluster.get(path(namespace, name)) or {}]) or ({},)  # type: ignore[misc]
        if found.get("type") == SERVING_TYPE:
            certificate = certificate_of(found)
            covered = tuple(sorted(certificate.names)) if certificate is not None else ()
            yield name, MountedSecret(covered, is_labelled(found), source_of(found).words)
        elif not found and any(word in name for word in _LIKE_TLS):
            yield name, MountedSecret(exists=False)


def _named(resources: Sequence[Json]) -> Iterator[tuple[str, str]]:
    for each in resources:
        try:
            yield secret_name(each), each["metadata"]["name"]
        except InvalidSpec:
            continue


def _installation(cluster: Cluster, hidden: list[str]) -> Installation | None:
    try:
        return find_installation(cluster)
    except ApiError as refusal:
        hidden.append(f"Whether the operator is installed cannot be seen ({refusal.message}).")
        return None


def sentences(around: Surroundings, names: Sequence[str], resolver: ResolverSettings) -> Iterator[str]:
    """Say what was seen, each thing in one sentence."""
    for each in around.workloads:
        servers = ", ".join(f"{server.software} in container {server.container}" for server in each.servers)
        yield f"{each} has mail servers: {servers}."
        for secret, paths in each.mounted.items():
            if secret in around.secrets or secret in around.resources:
                yield f"{each} mounts Secret {secret} ({', '.join(paths)})."
    if not around.workloads:
        yield f"No mail server was recognized in namespace {around.namespace}."
    operator = around.installation
    yield f"The operator is installed in namespace {operator.namespace}." if operator else "No operator was found."
    if around.has_cert_manager:
        yield "cert-manager is installed."
    if around.ingress_classes:
        yield f"Ingress classes: {', '.join(around.ingress_classes)}."
    yield from _addresses(names, resolver)
    yield from around.hidden


def _addresses(names: Sequence[str], resolver: ResolverSettings) -> Iterator[str]:
    lookup = Lookup(replace(resolver, timeout=_DNS_SECONDS, overall=2 * _DNS_SECONDS))
    for name in names:
        if name.startswith("*."):
            continue
        answers = lookup.addresses(name)
        found = [address for answer in answers for address in answer.values]
        failure = next((answer.failure for answer in answers if answer.failure), "")
        missing = f"could not be looked up ({failure})" if failure else "has no address yet"
        yield f"{name} has {', '.join(found)}." if found else f"{name} {missing}."
