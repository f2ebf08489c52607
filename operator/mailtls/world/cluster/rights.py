"""Asks the API server what the operator may do (SubjectAccessReview), before it has to."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from mailtls.model.features import Feature
from mailtls.model.spec import Desired, UpdateStrategy
from mailtls.probe.target import Way
from mailtls.world.ports import Cluster, Json

_PATH: Final = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


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
    *_rights("", "secrets", "get list watch create patch"),
    *_rights("", "configmaps", "get"),
    *_rights("", "pods", "list"),
    *_rights("apps", _WORKLOADS, "get list watch"),
    *_rights("", "events", "create"),
)
OF_FEATURES: Final[Mapping[Feature, tuple[Right, ...]]] = {
    Feature.EXEC: (*_rights("", "pods", "get patch"), *_rights("", "pods/exec", "create get")),
    Feature.RESTARTS: (*_rights("", "pods", "delete"), *_rights("apps", _WORKLOADS, "patch")),
    Feature.SERVICES: _rights("", "services", "list"),
}
NEEDED: Final = (*ALWAYS, *(right for rights in OF_FEATURES.values() for right in rights))
"""What the chart grants in the namespaces that the operator serves; a test holds the two against each other."""


def needed(desired: Desired) -> tuple[Right, ...]:
    """Return the rights that one resource makes use of."""
    ways = {workload.update_strategy for workload in desired.workloads}
    asked = {
        Feature.EXEC: UpdateStrategy.RELOAD in ways,
        Feature.RESTARTS: UpdateStrategy.RESTART in ways,
        Feature.SERVICES: Way.SERVICE in desired.probe.ways,
    }
    return (*ALWAYS, *(right for feature, rights in OF_FEATURES.items() if asked[feature] for right in rights))


def feature_of(right: Right) -> Feature | None:
    """Return the feature that a right is granted for, None for what is always needed."""
    return next((feature for feature, rights in OF_FEATURES.items() if right in rights), None)


def missing_rights(cluster: Cluster, user: str, namespace: str, rights: Iterable[Right] = NEEDED) -> tuple[Right, ...]:
    """Return the rights that a user lacks in a namespace; raises what the `Cluster` raises, 403 included."""
    return tuple(right for right in rights if not _is_allowed(cluster, user, namespace, right))


def _is_allowed(cluster: Cluster, user: str, namespace: str, right: Right) -> bool:
    resource, _, subresource = right.resource.partition("/")
    asked: Json = {"namespace": namespace, "group": right.group, "resource": resource, "verb": right.verb}
    if subresource:
        asked["subresource"] = subresource
    body: Json = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "resourceAttributes": asked},
    }
    status = cluster.create(_PATH, body).get("status") or {}
    return status.get("allowed") is True
