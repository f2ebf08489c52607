"""A Kubernetes namespace that one test owns: put things in, look at them, wait for them, see why not."""

from __future__ import annotations

import base64
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests
import yaml

from testbed import processes
from testbed.api import Object, Refused
from testbed.console import Trouble
from testbed.images import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from testbed.api import Api
    from testbed.cluster import Cluster

PATIENCE = 240.0
"""Seconds that anything may take on a machine that has much else to do: kubelets alone look at Secrets every 90."""
_INTERVAL = 0.1
_LOG_LINES = "40"
_MERGE = "application/merge-patch+json"
MAIL_SERVER_TLS = "mailservertls.mailtls.dev"


class TooLate(AssertionError):
    """What was waited for did not come; the message tells what was seen instead."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """One namespace of a running cluster."""

    cluster: Cluster
    api: Api
    name: str

    @classmethod
    def create(cls, cluster: Cluster, api: Api, purpose: str = "test") -> Sandbox:
        """Make a namespace with a random name."""
        name = f"{purpose[:40]}-{secrets.token_hex(4)}"
        api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        return cls(cluster, api, name)

    def remove(self) -> None:
        """Delete it without waiting for the end."""
        self.delete("namespaces", self.name)

    def apply(self, *manifests: str | Object) -> list[Object]:
        """Apply YAML (with any number of documents) or objects; refusals are raised as `Refused`."""
        documents: list[Object] = []
        for manifest in manifests:
            documents += (
                [doc for doc in yaml.safe_load_all(manifest) if doc] if isinstance(manifest, str) else [manifest]
            )
        return [self.api.apply(document, self.name) for document in documents]

    def find(self, resource: str, name: str) -> Object | None:
        """An object (`pods`, `statefulsets.apps`, ...) or None."""
        return self.api.find(self._path(resource, name))

    def get(self, resource: str, name: str) -> Object:
        """An object that must be there."""
        found: Object = self.api.request("GET", self._path(resource, name))
        return found

    def objects(self, resource: str, selector: str = "") -> list[Object]:
        """All objects of a kind, or those with the labels."""
        query = {"labelSelector": selector} if selector else {}
        items: list[Object] = self.api.request("GET", self._path(resource), **query)["items"]
        return items

    def patch(self, resource: str, name: str, change: Object, *, subresource: str = "") -> Object:
        """Merge a change into an object; None removes."""
        path = self._path(resource, name, subresource)
        patched: Object = self.api.request("PATCH", path, body=change, kind=_MERGE, fieldManager="a-person")
        return patched

    def annotate(self, resource: str, name: str, **annotations: str | None) -> None:
        """Set annotations, `mailtls_dev__renew="now"` for `mailtls.dev/renew`; see `patch` for other names."""
        named = {key.replace("__", "/").replace("_", "."): value for key, value in annotations.items()}
        self.patch(resource, name, {"metadata": {"annotations": named}})

    def delete(self, resource: str, name: str) -> None:
        """Delete an object; one that is not there is fine."""
        try:
            self.api.request("DELETE", self._path(resource, name))
        except Refused as refusal:
            if refusal.code != requests.codes.not_found:
                raise

    def wait_for(
        self, resource: str, name: str, until: Callable[[Object | None], bool], *, within: float = PATIENCE
    ) -> Object | None:
        """Look ten times a second until the object (None when there is none) is as wanted."""
        deadline = time.monotonic() + within
        while not until(seen := self.find(resource, name)):
            if time.monotonic() > deadline:
                message = f"{resource}/{name} is not as wanted after {within:.0f} s:\n{_shown(seen)}\n{self.describe()}"
                raise TooLate(message)
            time.sleep(_INTERVAL)
        return seen

    def wait_for_condition(
        self, resource: str, name: str, condition: str = "Ready", *, status: str = "True", reason: str | None = None,
        within: float = PATIENCE,
    ) -> Object:  # fmt: skip
        """Wait for a condition of the object's present generation; gives the object."""

        def reached(seen: Object | None) -> bool:
            found = condition_of(seen, condition)
            return found is not None and found["status"] == status and reason in (None, found.get("reason"))

        seen = self.wait_for(resource, name, reached, within=within)
        assert seen is not None
        return seen

    def exec(self, pod: str, *command: str) -> str:
        """Run a command in a pod."""
        return self.cluster.kubectl("exec", "-n", self.name, pod, "--", *command)

    def logs(self, pod: str) -> str:
        """What a pod's only container wrote."""
        return str(self.api.request("GET", self._path("pods", pod, "log")))

    def events(self, name: str | None = None) -> list[Object]:
        """Events, of one object or of all, oldest first."""
        found = [event for event in self.objects("events") if name in (None, event["involvedObject"]["name"])]
        return sorted(found, key=lambda event: str(event["metadata"]["creationTimestamp"]))

    def put_secret(self, name: str, data: dict[str, bytes], kind: str = "Opaque") -> Object:
        """Write a Secret."""
        encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": kind, "data": encoded}
        return self.apply(secret)[0]

    def put_placeholder(self, name: str, data: dict[str, bytes]) -> Object:
        """Write a TLS Secret that servers can start with, and that the operator may take over."""
        encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
        metadata = {"name": name, "annotations": {"mailtls.dev/adopt": "true"}}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "kubernetes.io/tls"}
        return self.apply(secret | {"data": encoded})[0]

    def secret(self, name: str) -> dict[str, bytes]:
        """A Secret's content, decoded."""
        data: dict[str, str] = self.get("secrets", name).get("data", {})
        return {key: base64.b64decode(value) for key, value in data.items()}

    def describe(self) -> str:
        """What a person would look at first: resources, pods, events, and the ends of the pods' logs."""
        told = [f"--- namespace {self.name}"]
        for resource in ("mailservertls.mailtls.dev", "pods"):
            try:
                told += [
                    f"--- {resource} {item['metadata']['name']}\n{_shown(item)}" for item in self.objects(resource)
                ]
            except Refused as refusal:
                told.append(f"--- {resource}: {refusal}")
        told += [f"event: {event['reason']}: {event.get('message')}" for event in self.events()]
        for pod in self.objects("pods"):
            told.append(f"--- log of {pod['metadata']['name']}\n{self._end_of_log(pod['metadata']['name'])}")
        return "\n".join(told)

    def run(self, *command: str) -> str:
        """Run a program inside the cluster's network namespace."""
        return run(*processes.inside(self.cluster.layout, command))

    def _end_of_log(self, pod: str) -> str:
        try:
            return str(self.api.request("GET", self._path("pods", pod, "log"), tailLines=_LOG_LINES))
        except (Refused, Trouble) as trouble:
            return str(trouble)

    def _path(self, resource: str, name: str = "", subresource: str = "") -> str:
        return self.api.resource(resource).path(self.name, name, subresource)


def condition_of(seen: Object | None, kind: str) -> Object | None:
    """A condition, if it speaks of the object's present generation."""
    if seen is None:
        return None
    for condition in seen.get("status", {}).get("conditions", ()):
        current = condition.get("observedGeneration", seen["metadata"].get("generation"))
        if condition["type"] == kind and current == seen["metadata"].get("generation"):
            found: Object = condition
            return found
    return None


def _shown(seen: Object | None) -> str:
    if seen is None:
        return "(there is none)"
    shown: dict[str, Any] = {key: value for key, value in seen.items() if key in ("spec", "status")}
    if seen.get("kind") == "Pod" or "containers" in shown.get("spec", {}):
        shown.pop("spec")
    return str(yaml.safe_dump(shown, sort_keys=False, width=120))
