"""How the resource and what belongs to it are named in the API: paths, labels, owners, annotations and requests."""

import json
from collections.abc import Mapping
from enum import StrEnum
from hashlib import sha256
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


def owned_by(owner: Key) -> Json:
    """Return the labels and the owner reference by which `owner_of` knows the resource again, as metadata."""
    reference = {"apiVersion": f"{GROUP}/", "kind": "MailServerTLS", "name": owner.name}
    return {"labels": labels_of(owner), "ownerReferences": [reference]}


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


class Request(StrEnum):
    """What can be requested of a resource: the annotation is `mailtls.dev/` and this."""

    RENEW = "renew"
    ROLLBACK = "rollback"
    PROBE = "probe"

    @property
    def annotation(self) -> str:
        """The annotation that makes it."""
        return f"{GROUP}/{self}"

    @property
    def last_handled(self) -> str:
        """The field of the status with the last value that was handled."""
        return f"lastHandled{self.capitalize()}"


def decided(resource: Json) -> bytes:
    """Digest what a user decides about a resource: its spec, its end, and requests by annotation.

    Nobody needs more of it to notice a change, and annotations of 256 KiB would fill the memory.
    """
    meta = resource.get("metadata") or {}
    requests = {name: value for name, value in (meta.get("annotations") or {}).items() if name.startswith(f"{GROUP}/")}
    counts = [meta.get("uid"), meta.get("generation"), meta.get("deletionTimestamp"), requests]
    return sha256(json.dumps(counts, sort_keys=True).encode()).digest()


DEEP_REQUEST: Final = "deep"
"""How the value of a request for a probe begins that asks for a deep one."""
# On the resource, by a person who decides about its rollouts.
PAUSE_ROLLOUT: Final = f"{GROUP}/pause-rollout"  # "true": no further pod is begun until it is removed
APPROVE: Final = f"{GROUP}/approve"  # how the SHA-256 of the leaf begins that may go on behind its canary
# On a Secret, by its owner.
ADOPT: Final = f"{GROUP}/adopt"  # "true", or the SHA-256 of the leaf that is to be taken over
# On the serving Secret, and the one that keeps the pair before.
ACME_SERVER: Final = f"{GROUP}/acme-server"
ACME_PROFILE: Final = f"{GROUP}/acme-profile"
RENEW_HANDLED: Final = f"{GROUP}/renew-handled"
ROLLBACK_HANDLED: Final = f"{GROUP}/rollback-handled"
ROLLED_BACK: Final = f"{GROUP}/rolled-back"
ROOTS_OFFERED: Final = f"{GROUP}/roots-offered"
NAMES_ASKED: Final = f"{GROUP}/names-asked"  # where the CA put more into the certificate
ADOPTED: Final = f"{GROUP}/adopted"  # the leaf that was there when the Secret was taken over
ORDER: Final = f"{GROUP}/order"  # the seal of the order that the pair was stored for
PAIR_SEAL: Final = f"{GROUP}/pair-seal"  # of the pair before
VERIFIED: Final = f"{GROUP}/verified"  # on the pair before: every pod had proven it
OF_PREVIOUS: Final = (ACME_SERVER, ACME_PROFILE, ROOTS_OFFERED, NAMES_ASKED, ROLLED_BACK, VERIFIED)
# On the Secret of an ACME account.
ACCOUNT_URL: Final = f"{GROUP}/account-url"
ACCOUNT_EMAIL: Final = f"{GROUP}/acme-email"
# On pods and pod templates.
EARLIER_ANNOTATION: Final = f"{GROUP}/certificate"
"""What earlier versions wrote on pods and templates alike, before each Secret had its own; it is only read."""
LONGEST_NAME: Final = 63  # of an annotation, behind its prefix


def annotations_of(made: Json) -> Mapping[str, str]:
    """Return the annotations of any object; empty where it has none."""
    return (made.get("metadata") or {}).get("annotations") or {}


def certificate_annotation(secret_name: str) -> str:
    """Name the annotation of a pod that says which leaf (SHA-256, hex) of a Secret it was last reloaded with.

    One for each Secret: two resources may name the same workload, and must not read each other's words.
    """
    return _of_secret("certificate", secret_name)


def restart_annotation(secret_name: str) -> str:
    """Name the annotation of a pod template that says for which leaf of a Secret the pods were last replaced."""
    return _of_secret("restarted-for", secret_name)


def _of_secret(what: str, secret_name: str) -> str:
    name = f"{what}.{secret_name}"
    if len(name) > LONGEST_NAME:  # a Secret's name may have 253 characters
        name = f"{name[: LONGEST_NAME - 9]}-{sha256(secret_name.encode()).hexdigest()[:8]}"
    return f"{GROUP}/{name}"
