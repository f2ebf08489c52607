"""The paths of the resources in the API, and the labels and owners of the objects that belong to them."""

from typing import Final

from mailtls.api.reading.document import Json
from mailtls.api.spec import Key

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


def owner_of(made: Json) -> Key | None:
    """Return the resource that an object of ours belongs to; None where it is somebody else's.

    It has our label, and an owner reference to a resource of the name that another label gives. The namespace is the
    object's own: nothing that its data say leads elsewhere.
    """
    meta = made["metadata"]
    name = (meta.get("labels") or {}).get(OWNER)
    if not name or not meta.get("namespace"):
        return None
    key = Key(meta["namespace"], name)
    return key if belongs_to(made, key) else None


def belongs_to(made: Json, owner: Key, uid: str | None = None) -> bool:
    """Whether we made an object for a resource, which is deleted with it; `uid` excludes namesakes of it.

    Without `uid` it may be an earlier resource of the name, deleted a moment ago.
    """
    meta = made["metadata"]
    labels = meta.get("labels") or {}
    is_labelled = (labels.get(MANAGED_BY), labels.get(OWNER)) == (MANAGER, owner.name)
    references = meta.get("ownerReferences") or ()
    is_owned = any(_is_reference(each, owner.name) and uid in (None, each.get("uid")) for each in references)
    return is_labelled and is_owned and meta.get("namespace", owner.namespace) == owner.namespace


def _is_reference(reference: Json, name: str) -> bool:
    group = str(reference.get("apiVersion", "")).partition("/")[0]
    return (group, reference.get("kind"), reference.get("name")) == (GROUP, "MailServerTLS", name)


def owner_uid_of(made: Json, owner: Key) -> str:
    """The uid of the resource that an object goes with; empty where it goes with none."""
    references = made["metadata"].get("ownerReferences") or ()
    return next((str(each.get("uid", "")) for each in references if _is_reference(each, owner.name)), "")


def belonging_to(owner: Key) -> str:
    """Select by label what we made for a resource."""
    return f"{OURS},{OWNER}={owner.name}"
