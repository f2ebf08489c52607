"""The operator in a cluster: its settings, as whom it acts, and what it may do."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from mailtls.api.installation import Feature
from mailtls.api.reading.document import Json
from mailtls.api.spec import Desired
from mailtls.api.workload import UpdateStrategy, WorkloadKind
from mailtls.kube.interface import Cluster
from mailtls.kube.workload import children
from mailtls.probe.target import Route


@dataclass(frozen=True, slots=True)
class Right:
    """One verb on one resource; `resource` may name a subresource, as in `pods/exec`."""

    group: str
    resource: str
    verb: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}"


def _rights(group: str, resources: str, verbs: str) -> tuple[Right, ...]:
    return tuple(Right(group, resource, verb) for resource in resources.split() for verb in verbs.split())


_WORKLOADS: Final = "daemonsets deployments statefulsets"
ALWAYS: Final = (
    *_rights("mailtls.dev", "mailservertls", "get list watch"),
    *_rights("mailtls.dev", "mailservertls/status", "patch"),
    *_rights("", "secrets", "get list watch"),
    *_rights("", "configmaps", "get"),
    *_rights("", "pods", "list"),
    *_rights("apps", _WORKLOADS, "get list watch"),
    *_rights("", "events", "create"),
)
OF_FEATURES: Final[Mapping[Feature, tuple[Right, ...]]] = {
    Feature.ISSUANCE: _rights("", "secrets", "create patch"),
    Feature.EXEC: (*_rights("", "pods", "get patch"), *_rights("", "pods/exec", "create get")),
    Feature.RESTARTS: (*_rights("", "pods", "delete"), *_rights("apps", _WORKLOADS, "patch")),
    Feature.EVICTIONS: _rights("", "pods/eviction", "create"),
    Feature.SERVICES: _rights("", "services", "list"),
}
NEEDED: Final = (*ALWAYS, *(right for rights in OF_FEATURES.values() for right in rights))
"""What the chart grants in the namespaces that the operator serves; a test holds the two against each other."""
_AT_HOME: Final[Mapping[Feature | None, tuple[Right, ...]]] = {
    None: _rights("coordination.k8s.io", "leases", "get create update"),
    Feature.ISSUANCE: _rights("", "secrets", "get create patch"),
}
_FOR_HTTP01: Final = _rights("discovery.k8s.io", "endpointslices", "create patch")


def granted(off: Collection[Feature]) -> tuple[Right, ...]:
    """Return what the operator needs in the namespaces that it serves while some features are off."""
    features = (rights for feature, rights in OF_FEATURES.items() if feature not in off)
    return (*ALWAYS, *(right for rights in features for right in rights))


def granted_at_home(off: Collection[Feature], *, has_http01: bool) -> tuple[Right, ...]:
    """Return what it needs in its own namespace: for the election, its accounts, and the endpoint for HTTP-01."""
    own = (right for feature, rights in _AT_HOME.items() if feature not in off for right in rights)
    return (*own, *(_FOR_HTTP01 if has_http01 else ()))


def needed(desired: Desired) -> tuple[Right, ...]:
    """Return the rights that one resource makes use of."""
    strategies = {workload.update_strategy for workload in desired.workloads}
    asked = {
        Feature.ISSUANCE: not desired.is_external,
        Feature.EXEC: UpdateStrategy.RELOAD in strategies,
        Feature.RESTARTS: UpdateStrategy.RESTART in strategies,
        Feature.EVICTIONS: UpdateStrategy.EVICT in strategies,
        Feature.SERVICES: Route.SERVICE in desired.probe.routes,
    }
    of_features = (right for feature, rights in OF_FEATURES.items() if asked[feature] for right in rights)
    return (*ALWAYS, *of_features, *_on_rollouts(desired))


def _on_rollouts(desired: Desired) -> Iterator[Right]:
    """Yield what Argo's Rollouts need, where a resource names one: the chart grants it by a value of its own."""
    for workload in desired.workloads:
        if workload.kind is WorkloadKind.ROLLOUT:
            is_restarted = workload.update_strategy is UpdateStrategy.RESTART
            yield from _rights("argoproj.io", "rollouts", "get patch" if is_restarted else "get")


def feature_of(right: Right) -> Feature | None:
    """Return the feature that a right is granted for, None for what is always needed."""
    return next((feature for feature, rights in OF_FEATURES.items() if right in rights), None)


def missing_rights(cluster: Cluster, user: str, namespace: str, rights: Iterable[Right] = NEEDED) -> tuple[Right, ...]:
    """Return the rights that a user lacks in a namespace; raises what the `Cluster` raises, 403 included."""
    return tuple(right for right in rights if not _is_allowed(cluster, user, namespace, right))


def _is_allowed(cluster: Cluster, user: str, namespace: str, right: Right) -> bool:
    spec = {"user": user, "resourceAttributes": _attributes(right, namespace)}
    return _is_granted(cluster, "SubjectAccessReview", spec)


def lacks_itself(cluster: Cluster, namespace: str, rights: Iterable[Right]) -> tuple[Right, ...]:
    """Return the rights that whoever asks lacks in a namespace, where the empty one stands for all of them.

    Everybody may ask this of himself. Raises what the `Cluster` raises.
    """
    specs = ((right, {"resourceAttributes": _attributes(right, namespace)}) for right in rights)
    return tuple(right for right, spec in specs if not _is_granted(cluster, "SelfSubjectAccessReview", spec))


def _attributes(right: Right, namespace: str) -> Json:
    resource, _, subresource = right.resource.partition("/")
    asked: Json = {"namespace": namespace, "group": right.group, "resource": resource, "verb": right.verb}
    return asked | ({"subresource": subresource} if subresource else {})


def _is_granted(cluster: Cluster, kind: str, spec: Json) -> bool:
    body: Json = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}
    status = cluster.create(f"/apis/authorization.k8s.io/v1/{kind.lower()}s", body).get("status") or {}
    return status.get("allowed") is True


_OF_FILES: Final = "_FILE"
LABELS: Final = "app.kubernetes.io/name=mailtls,app.kubernetes.io/component=operator"


@dataclass(frozen=True, slots=True)
class Installation:
    """One Deployment of the operator; `environment` has the variables whose value stands in the template.

    Those that name files are left out: the files are mounted in its pods, and not here.
    """

    namespace: str
    service_account: str
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def user(self) -> str:
        """As whom the API server knows it."""
        return f"system:serviceaccount:{self.namespace}:{self.service_account}"


def find_installation(cluster: Cluster, namespace: str | None = None) -> Installation | None:
    """Look for the operator's Deployment, in one namespace or in all; raises what the `Cluster` raises."""
    where = f"/namespaces/{namespace}" if namespace else ""
    found = cluster.list(f"/apis/apps/v1{where}/deployments", label_selector=LABELS)
    return _installation(found[0]) if found else None


def _installation(deployment: Json) -> Installation:
    namespace, pod = deployment["metadata"]["namespace"], deployment["spec"]["template"]["spec"]
    container = next(iter(pod["containers"]))
    values = {each["name"]: each["value"] for each in children(container, "env") if "value" in each}
    given = {name: value for name, value in values.items() if not name.endswith(_OF_FILES)}
    return Installation(namespace, pod.get("serviceAccountName", "default"), {"MAILTLS_NAMESPACE": namespace} | given)
