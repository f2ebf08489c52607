"""What the staged Secret holds: the next key, the sealed journal of its order, and our copy."""

import json
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from datetime import datetime
from hashlib import sha256
from hmac import compare_digest, new
from secrets import token_bytes
from typing import Final

from mailtls.api.reading.document import Json
from mailtls.api.resource import MANAGED_BY, MANAGER, OF_PREVIOUS, PAIR_SEAL, annotations_of, owner_of, owner_uid_of
from mailtls.api.spec import Desired
from mailtls.kube.interface import Cluster, Conflict
from mailtls.kube.pairs import encoded, entry, read_json, read_pair, serving_json
from mailtls.kube.snapshot import ServingSecret, Staged
from mailtls.pki.certificate import Certificate, KeyMaterial, key_algorithm, key_size, spki_sha256

KEY_SECRET: Final = "mailtls-journal"  # noqa: S105 - a name
KEY_ENTRY: Final = "seal.key"
_KEY_BYTES: Final = 32


class Seal:
    """One for the whole operator; its key is made when it is first needed, and read once by each process."""

    def __init__(self, cluster: Cluster, operator_namespace: str) -> None:
        self._cluster = cluster
        self._place = f"/api/v1/namespaces/{operator_namespace}/secrets"
        self._key: bytes | None = None

    def of(self, *parts: bytes) -> str:
        """Seal parts in their order, in lower-case hexadecimal; raises what the `Cluster` raises."""
        code = new(self._the_key(), digestmod=sha256)
        for part in parts:
            code.update(len(part).to_bytes(8, "big"))  # so that nothing can move from one part to the next
            code.update(part)
        return code.hexdigest()

    def fits(self, seal: str, *parts: bytes) -> bool:
        """Whether the operator sealed exactly these parts."""
        return compare_digest(seal.encode(), self.of(*parts).encode())

    def keep(self) -> None:
        """Save the key again where its Secret was deleted: the next process must know what this one has sealed."""
        key = self._key
        if key is not None and self._saved() is None:
            self._save(key)

    def _the_key(self) -> bytes:
        if self._key is None:
            self._key = self._saved() or self._save(token_bytes(_KEY_BYTES))
        return self._key

    def _saved(self) -> bytes | None:
        found = self._cluster.get(f"{self._place}/{KEY_SECRET}")
        return _key_in(found) if found else None

    def _save(self, made: bytes) -> bytes:
        """Save a key, and return the one that is saved then."""
        body: Json = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "Opaque",
            "metadata": {"name": KEY_SECRET, "labels": {MANAGED_BY: MANAGER}},
            "data": {KEY_ENTRY: b64encode(made).decode()},
        }
        try:
            self._cluster.create(self._place, body)
        except Conflict:
            found = self._cluster.get(f"{self._place}/{KEY_SECRET}")
            if found is None:
                raise
            saved = _key_in(found)  # another thread was faster, or the Secret holds no key
            if saved is not None:
                return saved
            version = {"resourceVersion": found["metadata"]["resourceVersion"]}
            self._cluster.merge(f"{self._place}/{KEY_SECRET}", {"metadata": version, "data": body["data"]})
        return made


def _key_in(secret: Json) -> bytes | None:
    try:
        key = b64decode((secret.get("data") or {})[KEY_ENTRY])
    except (KeyError, Base64Error):
        return None
    return key if len(key) >= _KEY_BYTES else None


NEXT: Final = "-next"
COPY: Final = "serving.json"  # the entry with the copy
COPY_SEAL: Final = "serving.seal"
SEAL: Final = "staged.seal"  # of key, CSR and resource, which never change
ORDER_SEAL: Final = "order.seal"
DISPLACED: Final = "displaced.json"  # in the previous Secret: the pair that serves until an exchange is done


def staged_name(desired: Desired) -> str:
    """Name the Secret with the next key."""
    return f"{desired.secret_name}{NEXT}"


def read_staged(secret: Json, seal: Seal) -> Staged | None:
    """Read key, CSR and journal of a staged Secret; None where they make no sense together, or are not sealed by us."""
    staged = parse_staged(secret)
    if staged is None:
        return None
    try:
        parts, written = _staged_parts(secret), entry(secret, "order.json").decode()
    except (ValueError, KeyError):
        return None
    is_its_order = seal.fits(_text(secret, ORDER_SEAL), *order_parts(staged.seal, written))
    return staged if is_its_order and seal.fits(staged.seal, *parts) else None


def _staged_parts(secret: Json) -> tuple[bytes, ...]:
    """What the seal of a staged key vouches for: where it is, of which resource, and how names are validated."""
    entries = (entry(secret, name) for name in ("tls.key", "tls.csr", "resource.json"))
    return (*_identity(secret), *entries)


def _identity(secret: Json) -> tuple[bytes, ...]:
    meta, owner = secret["metadata"], owner_of(secret)
    uid = owner_uid_of(secret, owner) if owner else ""
    return tuple(each.encode() for each in (meta.get("namespace", ""), meta["name"], owner.name if owner else "", uid))


def order_parts(seal: str, written: str) -> tuple[bytes, ...]:
    """What the seal of an order vouches for: that it is of the key with that seal."""
    return b"order", seal.encode(), written.encode()


def _text(secret: Json, name: str) -> str:
    try:
        return entry(secret, name).decode()
    except (KeyError, ValueError):
        return ""


def sealed(body: Json, seal: Seal) -> Json:
    """Add the seals that go with the entries of a staged Secret."""
    data = dict(body["data"])
    if "tls.key" in data:
        code = seal.of(*_staged_parts(body))
        written = entry(body, "order.json").decode()
        data |= {SEAL: encoded(code), ORDER_SEAL: encoded(seal.of(*order_parts(code, written)))}
    if COPY in data:
        data[COPY_SEAL] = encoded(seal.of(b"copy", *_identity(body), entry(body, COPY)))
    return body | {"data": data}


def sealed_pair(body: Json, seal: Seal) -> Json:
    """Add the seal of the Secret that keeps the pair before, over all that is read from it again."""
    notes = body["metadata"].get("annotations", {}) | {PAIR_SEAL: seal.of(*_pair_parts(body))}
    return body | {"metadata": body["metadata"] | {"annotations": notes}}


def is_sealed_pair(kept: Json, seal: Seal) -> bool:
    """Whether we wrote what the Secret keeps, in this place and for this resource."""
    try:
        return seal.fits(annotations_of(kept).get(PAIR_SEAL, ""), *_pair_parts(kept))
    except (KeyError, ValueError):
        return False


def _pair_parts(kept: Json) -> tuple[bytes, ...]:
    notes = {name: note for name, note in annotations_of(kept).items() if name in OF_PREVIOUS}
    displaced = entry(kept, DISPLACED) if DISPLACED in kept["data"] else b""
    pair = (entry(kept, "tls.crt"), entry(kept, "tls.key"), displaced)
    return b"previous", *_identity(kept), *pair, json.dumps(notes, sort_keys=True).encode()


def stored_parts(desired: Desired, staged: Staged, certificate: Certificate) -> tuple[bytes, ...]:
    """What the seal of a stored pair vouches for: that this chain was stored for that very order."""
    place = (desired.key.namespace, desired.secret_name, desired.uid)
    order = (staged.spki_sha256, staged.staged_at.isoformat())
    chain = " ".join(certificate.chain_pem.split())
    return b"stored", *(each.encode() for each in (*place, *order, chain))


def parse_staged(secret: Json) -> Staged | None:
    """Read a staged Secret whoever wrote it; None when its entries do not make sense together."""
    try:
        order = read_json(entry(secret, "order.json"))
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
            seal=entry(secret, SEAL).decode(),
        )
    except (ValueError, KeyError, TypeError):
        return None


def resource_of(secret: Json) -> Json:
    """As much of the resource as clean-up needs after its deletion; raises ValueError, KeyError or TypeError.

    Whoever may write Secrets in the namespace may have written the journal: it says what was ordered and how names were
    validated, but which resource it was, and above all in which namespace, is said by the Secret itself.
    """
    owner, meta = owner_of(secret), secret["metadata"]
    if owner is None:
        raise ValueError("the Secret is no journal of ours")
    found, order = read_json(entry(secret, "resource.json")), read_json(entry(secret, "order.json"))
    spec = {"dnsNames": list(order["names"]), "secretName": meta["name"].removesuffix(NEXT)}
    if found.get("acme") is not None:
        spec["acme"] = found["acme"]
    metadata = {
        "namespace": owner.namespace,
        "name": owner.name,
        "uid": owner_uid_of(secret, owner),
        "generation": 1,
        "creationTimestamp": meta.get("creationTimestamp") or order["stagedAt"],
    }
    return {"metadata": metadata, "spec": spec}


def order_json(staged: Staged) -> str:
    """Write the journal of an order."""
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


def staged_data(staged: Staged, resource: Json) -> dict[str, str]:
    """Write key, CSR and journal, and of the resource how its names are validated."""
    return {
        "tls.key": b64encode(staged.key.pem).decode(),
        "tls.csr": b64encode(staged.csr_der).decode(),
        "order.json": encoded(order_json(staged)),
        "resource.json": encoded(json.dumps({"acme": (resource.get("spec") or {}).get("acme")})),
    }


def copy_data(desired: Desired, pair: ServingSecret) -> dict[str, str]:
    """Write our own copy of a whole pair, with what its annotations say."""
    body = serving_json(desired, pair)
    notes = {"annotations": body["metadata"]["annotations"]}
    return {COPY: encoded(json.dumps({"metadata": notes, "data": body["data"]}))}


def read_copy(secret: Json, seal: Seal) -> ServingSecret | None:
    """Read our own copy of the pair that serves; None where there is none that can be read, or that we sealed."""
    if COPY not in (secret.get("data") or {}):
        return None
    try:
        if not seal.fits(_text(secret, COPY_SEAL), b"copy", *_identity(secret), entry(secret, COPY)):
            return None
        pair = read_pair(read_json(entry(secret, COPY)))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return pair if pair.certificate is not None and pair.key is not None else None
