"""The API server as tests speak to it: plain HTTPS as the administrator, cheap enough to poll."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import requests
import yaml

if TYPE_CHECKING:
    from testbed.layout import Layout

Object = dict[str, Any]

# In the order of preference: servers before Kubernetes 1.30 know the second only.
_DISCOVERY = ",".join(
    f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList" for version in ("v2", "v2beta1")
)
_MISSING = 404
_BUSY = (429, 503, 504)
_PUBLISHED_WITHIN = 10.0
_RESTARTS_WITHIN = 120.0


class Refused(RuntimeError):
    """The API server said no; the message is its own, which tests compare."""

    def __init__(self, code: int, message: str) -> None:
        """Keep the HTTP code beside the sentence."""
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Resource:
    """What discovery knows of a kind."""

    root: str
    plural: str
    namespaced: bool

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        """The URL path of one object, or of all in a namespace."""
        where = f"{self.root}/namespaces/{namespace}" if self.namespaced and namespace else self.root
        return "/".join(part for part in (where, self.plural, name, subresource) if part)


@dataclass(frozen=True, slots=True)
class Access:
    """Where an API server is, how it proves itself (a CA file, or not at all), and how we do."""

    server: str
    verify: str | bool
    certificate: tuple[str, str] | None = None
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    proxies: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, layout: Layout) -> Access:
        """The administrator's access to a cluster of the testbed; no proxy leads to the addresses of its namespace."""
        config = yaml.safe_load(layout.kubeconfig.read_text(encoding="utf-8"))
        pair = (str(layout.pki / "admin.crt"), str(layout.pki / "admin.key"))
        return cls(str(config["clusters"][0]["cluster"]["server"]), str(layout.authority), pair)


class Api:
    """A connection with the rights of the administrator."""

    def __init__(self, cluster: Layout | Access) -> None:
        """Settle how to speak to it; nothing is asked yet."""
        self._access = cluster if isinstance(cluster, Access) else Access.of(cluster)
        self._server = self._access.server.rstrip("/")
        self._local = threading.local()
        self._resources: dict[str, Resource] = {}

    def request(
        self, method: str, path: str, *, body: object = None, kind: str = "application/json", **query: str
    ) -> Any:
        """One call; a refusal is raised with the server's sentence, an answer that is not JSON is given as text."""
        prepared = requests.Request(
            method,
            f"{self._server}{path}",
            params=query,
            data=None if body is None else json.dumps(body),
            headers={"Content-Type": kind},
        )
        answer = self._send(prepared)
        if not answer.ok:
            raise Refused(answer.status_code, _sentence(answer))
        return answer.json() if "json" in answer.headers.get("Content-Type", "") else answer.text

    def find(self, path: str) -> Object | None:
        """The object at a path, or None."""
        try:
            found: Object = self.request("GET", path)
        except Refused as refusal:
            if refusal.code == _MISSING:
                return None
            raise
        return found

    def apply(self, manifest: Object, namespace: str | None = None) -> Object:
        """Server-side apply, as `kubectl apply --server-side --force-conflicts` does it."""
        metadata = manifest["metadata"]
        resource = self.resource(manifest["kind"], manifest["apiVersion"])
        path = resource.path(metadata.get("namespace", namespace), metadata["name"])
        applied: Object = self.request(
            "PATCH", path, body=manifest, kind="application/apply-patch+yaml", fieldManager="testbed", force="true"
        )
        return applied

    def resource(self, name: str, api_version: str = "") -> Resource:
        """Look up a kind or a plural, with `.group` or an apiVersion where the name alone is ambiguous.

        What was defined just now is known a moment later.
        """
        key = f"{name}@{api_version}" if api_version else name
        deadline = time.monotonic() + _PUBLISHED_WITHIN
        while key not in self._resources:
            self._discover()
            if key not in self._resources:
                if time.monotonic() > deadline:
                    raise Refused(_MISSING, f"the server knows no {key}")
                time.sleep(0.2)
        return self._resources[key]

    def _send(self, request: requests.Request) -> requests.Response:
        """Send, again while no connection comes about: a test beside this one may restart the server.

        All that tests write (apply, merge, delete) may be said twice, and what they read where the server has no time.
        """
        deadline = time.monotonic() + _RESTARTS_WITHIN
        session = self._session()
        while True:
            try:
                answer = session.send(session.prepare_request(request), timeout=60)
                if request.method != "GET" or answer.status_code not in _BUSY or time.monotonic() > deadline:
                    return answer
            except requests.ConnectionError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.2)

    def _discover(self) -> None:
        for root in ("/api", "/apis"):
            question = requests.Request("GET", f"{self._server}{root}", headers={"Accept": _DISCOVERY})
            answer = self._send(question).json()
            for group in answer["items"]:
                for version in reversed(group["versions"]):  # the preferred one comes first, and so stays last here
                    self._learn(root, group.get("metadata", {}).get("name", ""), version)

    def _learn(self, root: str, group: str, version: Object) -> None:
        api_version = "/".join(part for part in (group, version["version"]) if part)
        for found in version.get("resources", ()):
            made = Resource(f"{root}/{api_version}", found["resource"], found["scope"] == "Namespaced")
            kind = found["responseKind"]["kind"]
            self._resources[f"{kind}@{api_version}"] = made
            self._resources[f"{made.plural}.{group}"] = made
            if group != "events.k8s.io":
                self._resources[made.plural] = self._resources[kind] = made

    def _session(self) -> requests.Session:
        """One session for each thread: they are not safe to share."""
        if not hasattr(self._local, "session"):
            session = requests.Session()
            session.trust_env = False  # the machine's settings are those of the access, or left aside
            session.verify, session.cert = self._access.verify, self._access.certificate
            session.headers.update(self._access.headers)
            session.proxies.update(self._access.proxies)
            self._local.session = session
        found: requests.Session = self._local.session
        return found


def _sentence(answer: requests.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError):
        return f"HTTP {answer.status_code}: {answer.text[:200]}"
