"""The three Secrets of a resource: the one that serves, the staged next key with its journal, and the previous pair.

Recreating a deleted and renamed resource is safe: ownership of the serving Secret is a label, of the two others an
owner reference, so that the cluster's garbage collector removes them with the resource.
"""

from dataclasses import replace

import structlog

from mailtls.api.reading.document import Json
from mailtls.api.resource import OURS, belongs_to, labels_of
from mailtls.api.spec import Desired, Key
from mailtls.kube.interface import Cluster, Conflict
from mailtls.kube.journal import (
    ORDER_SEAL,
    SEAL,
    Seal,
    copy_data,
    order_json,
    order_parts,
    read_copy,
    read_staged,
    sealed,
    sealed_pair,
    staged_data,
    staged_name,
    stored_parts,
)
from mailtls.kube.open_orders import FINALIZER, OpenOrders
from mailtls.kube.ownership import is_labelled, is_requested, owned_fault, read_external, serving_fault, writer_of
from mailtls.kube.pairs import (
    NOBODYS_VERSION,
    certificate_of,
    encoded,
    entry,
    is_whole,
    pair_of,
    path,
    previous_json,
    read_pair,
    secret_json,
    serving_json,
    written,
)
from mailtls.kube.previous import keep
from mailtls.kube.snapshot import ServingSecret, Staged
from mailtls.pki.certificate import Certificate, KeyMaterial
from mailtls.reasons.reason import Finding

log = structlog.get_logger()


class Secrets(OpenOrders):
    """Reads and writes the Secrets of resources."""

    def __init__(self, cluster: Cluster, operator_namespace: str = "mailtls") -> None:
        super().__init__(cluster, Seal(cluster, operator_namespace))

    def keep_seal(self) -> None:
        """Have the key that seals journals saved, where this process knows it and somebody deleted its Secret."""
        self.seal.keep()

    def serving(self, desired: Desired, known_uid: str | None = None) -> ServingSecret:
        """Read the Secret that pods mount; a fault in it is a value, never an exception.

        `known_uid` is that of the Secret that we stored a certificate in: it is ours without its labels, too.
        """
        secret = self._cluster.get(path(desired.key.namespace, desired.secret_name))
        if secret is None:
            return ServingSecret(exists=False, name=desired.secret_name)
        if desired.is_external:
            return read_external(secret)
        is_ours = is_labelled(secret) or (known_uid is not None and secret["metadata"].get("uid") == known_uid)
        return replace(
            written(read_pair(secret), secret),
            foreign=serving_fault(secret, desired, is_ours=is_ours),
            is_ours=is_ours,
            lacks_labels=not labels_of(desired.key).items() <= (secret["metadata"].get("labels") or {}).items(),
            is_requested=is_requested(secret),
            writer=writer_of(secret),
        )

    def staged(self, desired: Desired) -> Staged | Finding | None:
        """Read the staged key; None when there is none, or one that cannot be used and is better made anew.

        A Finding says that a Secret of that name is not ours: it is neither believed nor written.
        """
        return self.beside(desired)[0]

    def beside(self, desired: Desired) -> tuple[Staged | Finding | None, ServingSecret | None]:
        """Read the staged key as `staged` does, and our own copy of the pair that serves."""
        name = staged_name(desired)
        secret = self._cluster.get(path(desired.key.namespace, name))
        if secret is None:
            return None, None
        fault = owned_fault(secret, desired, name)
        if fault is not None or not belongs_to(secret, desired.key, desired.uid):
            return fault, None
        return read_staged(secret, self.seal), read_copy(secret, self.seal)

    def stage(self, desired: Desired, staged: Staged, resource: Json) -> Staged:
        """Save key, CSR, the intent to order, and the resource for a clean-up after its deletion.

        Raises `Conflict` when somebody else staged meanwhile.
        """
        name = staged_name(desired)
        body = sealed(secret_json(desired, name, staged_data(staged, resource), owned=True), self.seal)
        body["metadata"]["finalizers"] = [FINALIZER]
        if staged.resource_version:
            body["metadata"]["resourceVersion"] = staged.resource_version
            saved = self._cluster.merge(path(desired.key.namespace, name), body)  # our copy of what serves stays
        else:
            saved = self._create_or_mend(desired, path(desired.key.namespace), name, body)
        version = saved["metadata"]["resourceVersion"]
        return replace(staged, resource_version=version, seal=entry(body, SEAL).decode())

    def _create_or_mend(self, desired: Desired, place: str, name: str, body: Json) -> Json:
        """Create the Secret; one that is ours but cannot be read as a staged key holds nothing worth keeping."""
        try:
            return self._cluster.create(place, body)
        except Conflict:
            broken = self._cluster.get(f"{place}/{name}")
            if broken is None or owned_fault(broken, desired, name) is not None:
                raise
            if belongs_to(broken, desired.key) and self.read_staged(broken) is not None:
                raise
            return self._write_over(broken, desired, f"{place}/{name}", body)

    def _write_over(self, found: Json, desired: Desired, place: str, body: Json) -> Json:
        """Write into a Secret of ours; one that we were asked to take keeps nothing of what it held."""
        body["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
        if not belongs_to(found, desired.key, desired.uid):
            body["data"] = dict.fromkeys(found.get("data") or {}) | body["data"]
        return self._cluster.merge(place, body)

    def keep_copy(self, desired: Desired, pair: ServingSecret, staged: Staged | None) -> Staged | None:
        """Save our own copy of a whole pair before it serves; return the staged key as it is then.

        Raises `Conflict` when somebody else wrote the staged Secret meanwhile.
        """
        name, place = staged_name(desired), path(desired.key.namespace)
        body = sealed(secret_json(desired, name, copy_data(desired, pair), owned=True), self.seal)
        if staged is not None:
            body["metadata"] = {"resourceVersion": staged.resource_version}
            saved = self._cluster.merge(f"{place}/{name}", {"metadata": body["metadata"], "data": body["data"]})
            return replace(staged, resource_version=saved["metadata"]["resourceVersion"])
        found = self._cluster.get(f"{place}/{name}")
        if found is None:
            self._cluster.create(place, body)
        elif (fault := owned_fault(found, desired, name)) is not None:
            raise Conflict(409, "Conflict", fault.message)  # it was not there when it was looked for
        else:
            self._write_over(found, desired, f"{place}/{name}", body)
        return None

    def save_order(self, key: Key, secret_name: str, staged: Staged) -> Staged:
        """Save the order's URL."""
        return self._save_order(path(key.namespace, f"{secret_name}-next"), staged, {})

    def close_order(self, desired: Desired, staged: Staged, pair: ServingSecret | None = None) -> Staged:
        """Save that the order is closed, which lets go of the finalizer, and with the same write our copy of `pair`."""
        name, data = staged_name(desired), copy_data(desired, pair) if pair is not None else {}
        body = sealed(secret_json(desired, name, data, owned=True), self.seal)
        place = path(desired.key.namespace, name)
        return self._save_order(place, replace(staged, is_open=False), body["data"])

    def _save_order(self, place: str, staged: Staged, data: dict[str, str]) -> Staged:
        written = order_json(staged)
        order_seal = self.seal.of(*order_parts(staged.seal, written))
        patch: Json = {
            "metadata": {"resourceVersion": staged.resource_version},
            "data": data | {"order.json": encoded(written), ORDER_SEAL: encoded(order_seal)},
        }
        if not staged.is_open:
            patch["metadata"]["finalizers"] = None
        saved = self._cluster.merge(place, patch)
        return replace(staged, resource_version=saved["metadata"]["resourceVersion"])

    def store(
        self,
        desired: Desired,
        certificate: Certificate,
        key: KeyMaterial,
        before: ServingSecret,
        staged: Staged | None = None,
    ) -> ServingSecret:
        """Write chain and key, the pair that was there before into the previous Secret.

        The pair says for which order it is stored: until that is closed, and our copy saved with it, a crash leaves no
        other sign that it was us. Raises `Conflict` when the Secret is not what was read before: somebody else wrote it
        meanwhile.
        """
        self._keep_previous(desired, before)
        pair = pair_of(desired, certificate, key, before)
        if staged is not None:
            pair = replace(pair, order_seal=self.seal.of(*stored_parts(desired, staged, certificate)))
        return replace(self.serve(desired, pair, before), is_of_the_order=staged is not None)

    def recognized(self, desired: Desired, pair: ServingSecret, staged: Staged | None) -> ServingSecret:
        """Say of the pair that serves whether we stored it for the order that is open."""
        if staged is None or not staged.is_open or pair.certificate is None or pair.order_seal is None:
            return pair
        is_it = self.seal.fits(pair.order_seal, *stored_parts(desired, staged, pair.certificate))
        return replace(pair, is_of_the_order=is_it)

    def serve(self, desired: Desired, pair: ServingSecret, before: ServingSecret) -> ServingSecret:
        """Write a whole pair into the serving Secret, with our labels; nothing else is written.

        Raises `Conflict` when the Secret is not what was read before: somebody else wrote it meanwhile.
        """
        body = serving_json(desired, pair)
        body["metadata"]["resourceVersion"] = before.resource_version or NOBODYS_VERSION
        saved = self._cluster.apply(path(desired.key.namespace, desired.secret_name), body)
        return written(pair, saved)

    def leaves(self, namespace: str) -> frozenset[str]:
        """Fingerprints of the certificates that serve in a namespace; what is owned is staged or a previous pair."""
        names = self._cluster.list_metadata(path(namespace), _name_without_owner, label_selector=OURS)
        serving = (self._cluster.get(path(namespace, name)) for name in names)
        leaves = (certificate_of(secret) for secret in serving if secret is not None)
        return frozenset(certificate.sha256 for certificate in leaves if certificate)

    def _keep_previous(self, desired: Desired, before: ServingSecret) -> None:
        if not is_whole(before):  # what cannot serve must not take the place of a pair that could
            return
        fault = keep(self._cluster, desired, sealed_pair(previous_json(desired, before), self.seal))
        if fault is not None:
            log.warning("the earlier pair is not kept", reason=fault.message)


def _name_without_owner(secret: Json) -> str | None:
    meta = secret["metadata"]
    return None if meta.get("ownerReferences") else str(meta["name"])
