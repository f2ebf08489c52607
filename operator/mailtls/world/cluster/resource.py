"""Where the resources stand in the API, and the labels by which other objects tell that they are theirs."""

from typing import Final

from mailtls.model.spec import Key

GROUP: Final = "mailtls.dev"
VERSION: Final = "v1alpha1"
PLURAL: Final = "mailservertls"
API: Final = f"/apis/{GROUP}/{VERSION}"

OWNER: Final = f"{GROUP}/owner"
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGER: Final = "mailtls"
OURS: Final = f"{MANAGED_BY}={MANAGER}"  # as a label selector


def resources_path(namespace: str | None = None) -> str:
    """URL path of all resources, or of those in a namespace."""
    return f"{API}/namespaces/{namespace}/{PLURAL}" if namespace else f"{API}/{PLURAL}"


def resource_path(key: Key) -> str:
    """URL path of one resource."""
    return f"{resources_path(key.namespace)}/{key.name}"


def labels_of(owner: Key) -> dict[str, str]:
    """Label what we make for a resource."""
    return {MANAGED_BY: MANAGER, OWNER: owner.name}


def belonging_to(owner: Key) -> str:
    """Select by label what we made for a resource."""
    return f"{OURS},{OWNER}={owner.name}"
