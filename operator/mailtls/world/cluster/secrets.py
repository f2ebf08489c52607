"""The three Secrets of a resource: the one that serves, the staged next key with its journal, and the previous pair.

Recreating a deleted and renamed resource is safe: ownership of the serving Secret is a label, of the two others an
owner reference, so that the cluster's garbage collector removes them with the resource.
"""

import json
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

import structlog

from mailtls.model.certificate import Certificate, KeyMaterial, key_algorithm, key_size, spki_sha256
from mailtls.model.observed import ServingSecret, Staged
from mailtls.model.reason import Finding, Reason
from mailtls.model.spec import Desired, Key
from mailtls.world.cluster.pairs import (
    certificate_of,
    encoded,
    entry,
    is_whole,
    made_at,
    previous_json,
    previous_name,
    read_pair,
    secret_json,
    serving_json,
)
from mailtls.world.cluster.resource import OURS, belonging_to, owner_of
from mailtls.world.ports import ApiError, Cluster, Conflict, Json

log = structlog.get_logger()
CERT_MANAGER = "cert-manager.io/certificate-name"
FINALIZER = "mailtls.dev/challenges"
KEPT_METADATA = ("name", "namespace", "uid", "generation", "creationTimestamp")
# No object ever has it, for the store begins with it: to apply with it makes an object, and never changes one.
NOBODYS_VERSION = "1"


class Secrets:
    """Reads and writes the Secrets of resources."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def serving(self, desired: Desired) -> ServingSecret:
        """Read the Secret that pods mount; a fault in it is a value, never an exception."""
        secret = self._cluster.get(path(desired.key.namespace, desired.secret_name))
        if secret is None:
            return ServingSecret(exists=False)
        return replace(read_pair(secret), foreign=_foreign(secret, desired))

    def staged(self, desired: Desired) -> Staged | Finding | None:
        """Read the staged key; None when there is none, or one that cannot be used and is better made anew.

        A Finding says that a Secret of that name is not ours: it is neither believed nor written.
        """
        name = f"{desired.secret_name}-next"
        secret = self._cluster.get(path(desired.key.namespace, name))
        if secret is None:
            return None
        return parse_staged(secret) if owner_of(secret) == desired.key else _in_the_way(name, desired)

    def stage(self, desired: Desired, staged: Staged, resource: Json) -> Staged:
        """Save key, CSR, the intent to order, and the resource for a clean-up after its deletion.

        Raises `Conflict` when somebody else staged meanwhile.
        """
        name = f"{desired.secret_name}-next"
        body = secret_json(desired, name, _staged_data(staged, resource), owned=True)
        body["metadata"]["finalizers"] = [FINALIZER]
        if staged.resource_version:
            body["metadata"]["resourceVersion"] = staged.resource_version
            saved = self._cluster.replace(path(desired.key.namespace, name), body)
        else:
            saved = self._create_or_mend(path(desired.key.namespace), name, body)
        return replace(staged, resource_version=saved["metadata"]["resourceVersion"])

    def _create_or_mend(self, place: str, name: str, body: Json) -> Json:
        """Create the Secret; one that is there but cannot be read as a staged key holds nothing worth keeping."""
        try:
            return self._cluster.create(place, body)
        except Conflict:
            broken = self._cluster.get(f"{place}/{name}")
            if broken is None or parse_staged(broken) is not None or owner_of(broken) is None:
                raise
            body["metadata"]["resourceVersion"] = broken["metadata"]["resourceVersion"]
            return self._cluster.replace(f"{place}/{name}", body)

    def save_order(self, key: Key, secret_name: str, staged: Staged) -> Staged:
        """Save the order's URL, or that the order is closed; closing lets go of the finalizer."""
        patch: Json = {
            "metadata": {"resourceVersion": staged.resource_version},
            "data": {"order.json": encoded(_order_json(staged))},
        }
        if not staged.is_open:
            patch["metadata"]["finalizers"] = None
        saved = self._cluster.merge(path(key.namespace, f"{secret_name}-next"), patch)
        return replace(staged, resource_version=saved["metadata"]["resourceVersion"])

    def store(
        self, desired: Desired, certificate: Certificate, key: KeyMaterial, before: ServingSecret
    ) -> ServingSecret:
        """Write chain and key, the pair that was there before into the previous Secret.

        Raises `Conflict` when the Secret is not what was read before: somebody else wrote it meanwhile.
        """
        self._keep_previous(desired, before)
        stored = ServingSecret(
            certificate=certificate,
            key_spki_sha256=key.spki_sha256(),
            acme_server=desired.acme.server,
            profile=desired.acme.profile,
            handled_renew=desired.renew_requested,
            handled_rollback=desired.rollback_requested,
            key=key,
        )
        body = serving_json(desired, stored)
        body["metadata"]["resourceVersion"] = before.resource_version or NOBODYS_VERSION
        saved = self._cluster.apply(path(desired.key.namespace, desired.secret_name), body)
        return replace(stored, resource_version=saved["metadata"]["resourceVersion"], made_at=made_at(saved))

    def orphans(self, key: Key, *, but: str | None = None) -> list[Json]:
        """The staged Secrets that a resource left with an open order; `but` is the secretName that it has now."""
        found = self._cluster.list(path(key.namespace), label_selector=belonging_to(key))
        return [secret for secret in found if _is_held(secret) and secret["metadata"]["name"] != f"{but}-next"]

    def held(self, namespaces: Iterable[str] = ()) -> list[Json]:
        """All staged Secrets with an open order, of these namespaces or of the whole cluster."""
        places = [path(namespace) for namespace in namespaces] or ["/api/v1/secrets"]
        found = (each for place in places for each in self._cluster.list(place, label_selector=OURS))
        return [secret for secret in found if _is_held(secret)]

    def leaves(self, namespace: str) -> frozenset[str]:
        """Fingerprints of the certificates that serve in a namespace; what is owned is staged or a previous pair."""
        found = self._cluster.list(path(namespace), label_selector=OURS)
        serving = (certificate_of(secret) for secret in found if not secret["metadata"].get("ownerReferences"))
        return frozenset(certificate.sha256 for certificate in serving if certificate)

    def release(self, secret: Json) -> None:
        """Let a staged Secret go whose order cannot be closed any more."""
        meta = secret["metadata"]
        try:
            self._cluster.merge(path(meta["namespace"], meta["name"]), {"metadata": {"finalizers": None}})
        except ApiError as error:
            if not error.is_missing:
                raise

    def _keep_previous(self, desired: Desired, before: ServingSecret) -> None:
        if not is_whole(before):  # what cannot serve must not take the place of a pair that could
            return
        place = path(desired.key.namespace, previous_name(desired))
        kept = self._cluster.get(place)
        if kept is None or owner_of(kept) == desired.key:
            self._cluster.apply(place, previous_json(desired, before))
        else:
            log.warning("the earlier pair is not kept: a Secret of its name is not ours", secret=previous_name(desired))


def path(namespace: str, name: str | None = None) -> str:
    """URL path of a Secret, or of all Secrets of a namespace."""
    place = f"/api/v1/namespaces/{namespace}/secrets"
    return f"{place}/{name}" if name else place


def parse_staged(secret: Json) -> Staged | None:
    """Read key, CSR and journal of a staged Secret; None when they do not make sense together."""
    try:
        order = json.loads(entry(secret, "order.json"))
        key = KeyMaterial(entry(secret, "tls.key"))
        public = key.public_key()
        return Staged(
            spki_sha256=spki_sha256(public),
            key_algorithm=key_algorithm(public),
            key_size=key_size(public),
            names=tuple(order["names"]),
            acme_server=order["server"],
            profile=order.get("profile"),
            is_open=bool(order["open"]),
            staged_at=datetime.fromisoformat(order["stagedAt"]),
            key=key,
            csr_der=entry(secret, "tls.csr"),
            resource_version=secret["metadata"]["resourceVersion"],
            order_url=order.get("url"),
            replaces_sha256=order.get("replaces"),
        )
    except (ValueError, KeyError, TypeError):
        return None


def resource_of(secret: Json) -> Json:
    """The resource as it was when its order began, for clean-up after its deletion; raises ValueError or KeyError.

    Whoever may write Secrets in the namespace may have written the journal: it says what was ordered, but which
    resource it was, and above all in which namespace, is said by the Secret itself.
    """
    found, owner = json.loads(entry(secret, "resource.json")), owner_of(secret)
    if owner is None:
        raise ValueError("the Secret is no journal of ours")
    metadata = {**found["metadata"], "namespace": owner.namespace, "name": owner.name}
    return {"metadata": metadata, "spec": found["spec"]}


def _order_json(staged: Staged) -> str:
    return json.dumps(
        {
            "server": staged.acme_server,
            "profile": staged.profile,
            "names": staged.names,
            "url": staged.order_url,
            "stagedAt": staged.staged_at.isoformat(),
            "open": staged.is_open,
            "replaces": staged.replaces_sha256,
        }
    )


def _staged_data(staged: Staged, resource: Json) -> dict[str, str]:
    kept = {name: resource["metadata"][name] for name in KEPT_METADATA}
    remembered = {"metadata": kept, "spec": resource["spec"]}
    return {
        "tls.key": b64encode(staged.key.pem).decode(),
        "tls.csr": b64encode(staged.csr_der).decode(),
        "order.json": encoded(_order_json(staged)),
        "resource.json": encoded(json.dumps(remembered)),
    }


def _is_held(secret: Json) -> bool:
    """Whether it is a journal of ours that an open order holds."""
    meta = secret["metadata"]
    is_journal = owner_of(secret) is not None and meta["name"].endswith("-next")
    return is_journal and FINALIZER in (meta.get("finalizers") or ())


def _in_the_way(name: str, desired: Desired) -> Finding:
    message = (
        f"Secret {name} is not of this resource, which keeps the next key under that name: delete or rename it, or "
        f"choose another secretName than {desired.secret_name}."
    )
    return Finding(Reason.SECRET_FOREIGN, message)


def _foreign(secret: Json, desired: Desired) -> Finding | None:
    meta = secret["metadata"]
    name = desired.secret_name
    if CERT_MANAGER in (meta.get("annotations") or {}):
        return Finding(Reason.SECRET_FOREIGN, f"cert-manager keeps Secret {name}; choose another secretName.")
    if secret.get("immutable"):
        return Finding(Reason.SECRET_FOREIGN, f"Secret {name} is immutable; delete it or choose another secretName.")
    if secret.get("type") != "kubernetes.io/tls":
        return Finding(
            Reason.SECRET_FOREIGN,
            f"Secret {name} is of type {secret.get('type')}, which cannot be changed to kubernetes.io/tls;"
            " delete it or choose another secretName.",
        )
    return None
