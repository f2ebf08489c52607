"""Asks the API server what the operator may do (SubjectAccessReview), before it has to."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

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


NEEDED: Final = (
    *_rights("mailtls.dev", "mailservertls", "get list watch"),
    *_rights("mailtls.dev", "mailservertls/status", "patch"),
    *_rights("", "secrets", "get list watch create update patch"),
    *_rights("", "configmaps", "get"),
    *_rights("", "pods", "list patch delete"),
    *_rights("", "services", "list"),
    *_rights("", "pods/exec", "create get"),
    *_rights("apps", "daemonsets deployments statefulsets", "get list watch patch"),
    *_rights("", "events", "create"),
)
"""What the chart grants in the namespaces that the operator serves; a test holds the two against each other."""


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
