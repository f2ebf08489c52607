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
from mailtls.model.reason import Finding
from mailtls.model.spec import Desired, Key
from mailtls.world.cluster.ownership import is_asked_for, is_labelled, owned_fault, serving_fault
from mailtls.world.cluster.pairs import (
    certificate_of,
    encoded,
    entry,
    is_whole,
    made_at,
    previous_json,
    read_pair,
    secret_json,
    serving_json,
)
from mailtls.world.cluster.resource import OURS, belonging_to, belongs_to, owner_of
from mailtls.world.ports import ApiError, Cluster, Conflict, Json

log = structlog.get_logger()
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
        return replace(
            read_pair(secret),
            foreign=serving_fault(secret, desired),
            is_ours=is_labelled(secret),
            is_asked_for=is_asked_for(secret),
        )

    def staged(self, desired: Desired) -> Staged | Finding | None:
        """Read the staged key; None when there is none, or one that cannot be used and is better made anew.

        A Finding says that a Secret of that name is not ours: it is neither believed nor written.
        """
        name = f"{desired.secret_name}-next"
        secret = self._cluster.get(path(desired.key.namespace, name))
        if secret is None:
            return None
        fault = owned_fault(secret, desired, name)
        return fault or (parse_staged(secret) if belongs_to(secret, desired.key, desired.uid) else None)

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
            saved = self._create_or_mend(desired, path(desired.key.namespace), name, body)
        return replace(staged, resource_version=saved["metadata"]["resourceVersion"])

    def _create_or_mend(self, desired: Desired, place: str, name: str, body: Json) -> Json:
        """Create the Secret; one that is ours but cannot be read as a staged key holds nothing worth keeping."""
        try:
            return self._cluster.create(place, body)
        except Conflict:
            broken = self._cluster.get(f"{place}/{name}")
            if broken is None or owned_fault(broken, desired, name) is not None:
                raise
            if belongs_to(broken, desired.key) and parse_staged(broken) is not None:
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
            adopted=_taken_from(before),
            is_ours=True,
            key=key,
        )
        body = serving_json(desired, stored)
        body["metadata"]["resourceVersion"] = before.resource_version or NOBODYS_VERSION
        saved = self._cluster.apply(path(desired.key.namespace, desired.secret_name), body)
        return replace(stored, resource_version=saved["metadata"]["resourceVersion"], made_at=made_at(saved))

    def adopt(self, desired: Desired, before: ServingSecret) -> ServingSecret:
        """Take over a Secret that somebody asked us to take: it gets our labels, and serves what it served.

        Raises `Conflict` when the Secret is not what was read before: somebody else wrote it meanwhile.
        """
        taken = replace(before, adopted=_taken_from(before), is_ours=True)
        body = serving_json(desired, taken)
        body["metadata"]["resourceVersion"] = before.resource_version
        saved = self._cluster.apply(path(desired.key.namespace, desired.secret_name), body)
        return replace(taken, resource_version=saved["metadata"]["resourceVersion"])

    def orphans(self, key: Key, present: Desired | None = None) -> list[Json]:
        """The staged Secrets that a resource left with an open order, or an earlier one of its name.

        The one that `present` goes on with, as the spec is now, is none.
        """
        found = self._cluster.list(path(key.namespace), label_selector=belonging_to(key))
        return [secret for secret in found if _is_held(secret) and not (present and _is_staged_for(secret, present))]

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
        fault = keep(self._cluster, desired, previous_json(desired, before))
        if fault is not None:
            log.warning("the earlier pair is not kept", reason=fault.message)


def path(namespace: str, name: str | None = None) -> str:
    """URL path of a Secret, or of all Secrets of a namespace."""
    place = f"/api/v1/namespaces/{namespace}/secrets"
    return f"{place}/{name}" if name else place


def keep(cluster: Cluster, desired: Desired, body: Json) -> Finding | None:
    """Write a Secret that goes with the resource, such as the previous pair; say why where one of its name is not ours.

    Raises `Conflict` when somebody else wrote it meanwhile.
    """
    place = path(desired.key.namespace, body["metadata"]["name"])
    kept = cluster.get(place)
    fault = owned_fault(kept, desired, body["metadata"]["name"]) if kept else None
    if fault is None:
        body["metadata"]["resourceVersion"] = kept["metadata"]["resourceVersion"] if kept else NOBODYS_VERSION
        cluster.apply(place, body)
    return fault


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


def _is_staged_for(secret: Json, desired: Desired) -> bool:
    is_named = secret["metadata"]["name"] == f"{desired.secret_name}-next"
    return is_named and belongs_to(secret, desired.key, desired.uid)


def _taken_from(before: ServingSecret) -> str | None:
    """Remember that the Secret was somebody else's, and which leaf was in it then: marks of that one may stay on it."""
    if before.adopted is not None or not before.exists or not before.is_asked_for:
        return before.adopted
    return before.certificate.sha256 if before.certificate else "none"
