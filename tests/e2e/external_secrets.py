"""Writes Secrets as External Secrets 2.9 does: the same fields, marks and field manager, whatever the store is.

Its source (pkg/controllers/externalsecret) creates or updates the Secret as a whole, and never applies it server-side.
The marks are a label, the hash of the data, and by creationPolicy Owner another label and a controller reference.
"""

from __future__ import annotations

import hashlib
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self

from e2e.elsewhere import define
from testbed.api import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from builders.authority import Issued
    from testbed.api import Object
    from testbed.sandbox import Sandbox

GROUP = "external-secrets.io"
RESOURCE = f"externalsecrets.{GROUP}"
_CHANGED_MEANWHILE = (HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND)
"""Where the next pass of the controller looks again."""
_MARKS = f"reconcile.{GROUP}"


@dataclass(frozen=True)
class ExternalSecret:
    """One ExternalSecret and its Secret, in the namespace of a test."""

    sandbox: Sandbox
    name: str
    target: str

    @classmethod
    def create(cls, sandbox: Sandbox, name: str, target: str) -> Self:
        """Apply it, by the default policy: the Secret is owned by it."""
        define(sandbox, GROUP, "ExternalSecret")
        spec = {"target": {"name": target, "creationPolicy": "Owner", "template": {"type": "kubernetes.io/tls"}}}
        sandbox.apply({"apiVersion": f"{GROUP}/v1", "kind": "ExternalSecret", "metadata": {"name": name}, "spec": spec})
        return cls(sandbox, name, target)

    def sync(self, issued: Issued | None = None) -> None:
        """Write what the store has now; None: the pair that was there."""
        self._write(self.sandbox.get(RESOURCE, self.name), issued)

    def _write(self, itself: Object, issued: Issued | None) -> None:
        found = self.sandbox.find("secrets", self.target)
        secret = found or {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": self.target}}
        if issued is not None:
            data = {"tls.crt": issued.chain.encode(), "tls.key": issued.key.encode()}
            secret["data"] = {name: b64encode(value).decode() for name, value in data.items()}
            secret["metadata"].setdefault("annotations", {})[f"{_MARKS}/data-hash"] = _hash(_as_go_prints(data))
        secret["type"] = "kubernetes.io/tls"
        self._mark(secret["metadata"], itself)
        path = f"/api/v1/namespaces/{self.sandbox.name}/secrets"
        method, place = ("PUT", f"{path}/{self.target}") if found else ("POST", path)
        try:
            self.sandbox.api.request(method, place, body=secret, fieldManager=f"externalsecrets.{GROUP}/{self.name}")
        except Refused as refusal:
            if issued is not None or refusal.code not in _CHANGED_MEANWHILE:
                raise

    def follow_policy_while(self, act: Callable[[], Any]) -> None:
        """Go on reconciling, as the controller does, while somebody acts on the ExternalSecret."""
        with ThreadPoolExecutor(1) as pool:
            acting = pool.submit(act)
            while not acting.done():
                itself = self.sandbox.find(RESOURCE, self.name)
                if itself is not None:
                    self._write(itself, None)
                time.sleep(0.1)
            acting.result()

    def _mark(self, meta: Object, itself: Object) -> None:
        labels, owned = meta.setdefault("labels", {}), itself["spec"]["target"]["creationPolicy"] == "Owner"
        labels[f"{_MARKS}/managed"] = "true"
        labels.pop(f"{_MARKS}/created-by", None)
        meta.pop("ownerReferences", None)
        if owned:
            labels[f"{_MARKS}/created-by"] = _hash(f"{self.sandbox.name}/{self.name}")
            kind = {"apiVersion": f"{GROUP}/v1", "kind": "ExternalSecret", "name": self.name}
            reference = {**kind, "uid": itself["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True}
            meta["ownerReferences"] = [reference]


def _hash(text: str) -> str:
    return hashlib.sha3_224(text.encode()).hexdigest()


def _as_go_prints(data: dict[str, bytes]) -> str:
    """A map of bytes in Go's %+v."""
    entries = (f"{name}:[{' '.join(map(str, data[name]))}]" for name in sorted(data))
    return f"map[{' '.join(entries)}]"
