"""Finds the operator in a cluster: its settings, and as whom it acts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from mailtls.world.cluster.mounts import children
from mailtls.world.ports import Cluster, Json

_OF_FILES: Final = "_FILE"
_LABELS: Final = "app.kubernetes.io/name=mailtls,app.kubernetes.io/component=operator"


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
    found = cluster.list(f"/apis/apps/v1{where}/deployments", label_selector=_LABELS)
    return _installation(found[0]) if found else None


def _installation(deployment: Json) -> Installation:
    namespace, pod = deployment["metadata"]["namespace"], deployment["spec"]["template"]["spec"]
    container = next(iter(pod["containers"]))
    values = {each["name"]: each["value"] for each in children(container, "env") if "value" in each}
    given = {name: value for name, value in values.items() if not name.endswith(_OF_FILES)}
    return Installation(namespace, pod.get("serviceAccountName", "default"), {"MAILTLS_NAMESPACE": namespace} | given)
