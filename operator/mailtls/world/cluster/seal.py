"""Seals what the operator saves in the namespaces of tenants, so that it knows its own journals again.

Whoever may create Secrets in a namespace can write one that looks like a staged Secret: with an order at a server of
his choosing, with names that he may not have, or with a key that he knows. The seal is an HMAC-SHA256 (RFC 2104) under
a key that stays in the operator's namespace. What has no seal, or a wrong one, counts as if it could not be read.
"""

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from hashlib import sha256
from hmac import compare_digest, new
from secrets import token_bytes
from typing import Final

from mailtls.world.cluster.resource import MANAGED_BY, MANAGER
from mailtls.world.ports import Cluster, Conflict, Json

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
        told = new(self._the_key(), digestmod=sha256)
        for part in parts:
            told.update(len(part).to_bytes(8, "big"))  # so that nothing can move from one part to the next
            told.update(part)
        return told.hexdigest()

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
            saved = self._saved()  # another thread was faster, or the Secret holds no key
            if saved is not None:
                return saved
            self._cluster.merge(f"{self._place}/{KEY_SECRET}", {"metadata": {}, "data": body["data"]})
        return made


def _key_in(secret: Json) -> bytes | None:
    try:
        key = b64decode((secret.get("data") or {})[KEY_ENTRY])
    except (KeyError, Base64Error):
        return None
    return key if len(key) >= _KEY_BYTES else None
