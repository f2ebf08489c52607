"""The operator's core as wired for real, over a Kubernetes API in a dictionary and a real Pebble."""

import itertools
import json
import math
import os
import time
import weakref
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Event
from typing import Any

from fakes.clock import WallClock
from fakes.cluster import FakeCluster
from functional.pebble import Pebble
from mailtls.api.reading.document import Json
from mailtls.api.resource import resource_path
from mailtls.api.spec import Key
from mailtls.controller.bulkheads import Bulkheads
from mailtls.controller.composition import compose
from mailtls.controller.election import Leadership
from mailtls.controller.parts import Edges, Parts
from mailtls.issuance.acme.order_rate import Budget
from mailtls.issuance.solvers.base import ChallengeProblem
from mailtls.issuance.solvers.http01_server import Tokens
from mailtls.issuance.solvers.propagation import Names
from mailtls.issuance.solvers.registry import SOLVERS, Registry
from mailtls.kube.claims import Claims
from mailtls.kube.pairs import path
from mailtls.metrics import Metrics
from mailtls.net.addresses import parse_networks
from mailtls.reasons.reason import Finding
from mailtls.settings import Settings
from mailtls.stage import Domains

KEY = Key("mail", "mx")
HERE = parse_networks(("127.0.0.0/8", "::1/128"))
WITHIN = 120.0  # seconds
LONGEST_NAP = 2.0  # seconds a test sleeps for; longer waits advance the clock


class FaultyCluster(FakeCluster):
    """Raises what a test plans: `fault(verb, path, body)` is asked before each write, `lost` after it."""

    def __init__(self) -> None:
        super().__init__()
        self.fault: Callable[[str, str, Json], Exception | None] = lambda *_: None
        self.lost: Callable[[str, str, Json], Exception | None] = lambda *_: None
        self.hidden: Callable[[str], Exception | None] = lambda _path: None

    def get(self, path: str) -> Json | None:
        """Return the object, unless a test hides it."""
        if (planned := self.hidden(path)) is not None:
            raise planned
        return super().get(path)

    def _store(self, verb: str, path: str, body: Json) -> Json:
        if (planned := self.fault(verb, path, body)) is not None:
            raise planned
        stored = super()._store(verb, path, body)
        if (planned := self.lost(verb, path, body)) is not None:
            raise planned
        return stored

    def merge(self, path: str, body: Json) -> Json:
        """Merge; the status subresource is a part of its object."""
        if not path.endswith("/status"):
            return super().merge(path, body)
        if (planned := self.fault("merge", path, body)) is not None:
            raise planned
        merged = super().merge(path.removesuffix("/status"), body | {"metadata": {}})
        if (planned := self.lost("merge", path, body)) is not None:
            raise planned
        return merged


def roots_file(owner: object, pem: str) -> Path:
    """Write roots into a file that goes with its owner."""
    with NamedTemporaryFile("w", suffix=".pem", delete=False) as file:
        file.write(pem)
    weakref.finalize(owner, os.unlink, file.name)
    return Path(file.name)


def leading() -> Leadership:
    """A replica that leads for good."""
    leadership = Leadership()
    leadership.extend(math.inf)
    return leadership


class StuckTokens(Tokens):
    """The real ones, which cannot be removed while `trouble` says why."""

    trouble: Finding | None = None

    def remove(self, host: str, token: str) -> None:
        """Fail as a DNS server does whose key was changed."""
        if self.trouble is not None:
            raise ChallengeProblem(self.trouble, transient=False)
        super().remove(host, token)


@dataclass
class Core:
    """One operator process and its cluster; `restart` loses all memory, as a crash does."""

    pebble: Pebble
    cluster: FaultyCluster = field(default_factory=FaultyCluster)
    clock: WallClock = field(default_factory=WallClock)
    order_limit: Budget | None = None
    installation: Json = field(default_factory=dict)  # its acme, in the shape of the spec's
    domains: Domains | None = None
    bulkheads: Bulkheads = field(default_factory=lambda: Bulkheads(workers=16))
    names: Names | None = None
    registry: Registry = SOLVERS

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin a new process."""
        self.metrics, self.tokens, self.claims = Metrics(), StuckTokens(), Claims()
        edges = Edges(clock=self.clock, registry=self.registry, names=self.names, domains=self.domains)
        parts = Parts(
            self.settings(),
            self.cluster,
            self.metrics,
            leading(),
            self.tokens,
            self.claims,
            Event(),
            bulkheads=self.bulkheads,
            edges=edges,
        )
        made = compose(parts)
        self.observer, self.reporter, self.reconcile = made.observer, made.reporter, made.reconciler

    def settings(self) -> Settings:
        """The installation that trusts Pebble's root for its directory, and admits servers on this machine."""
        given = self.installation or {"server": self.pebble.directory_url}
        return Settings(
            "mailtls-system",
            "mailtls-0",
            acme_server=given["server"],
            acme_email=given.get("email"),
            acme_solvers=tuple(given.get("solvers", ())),
            acme_ca_bundle_file=roots_file(self, self.pebble.roots_pem),
            acme_order_limits={self.pebble.directory_url: self.order_limit},
            allowed_networks=HERE,
        )

    def apply(self, **spec: Any) -> None:
        """Do what a user does with `kubectl apply`; fields given replace those that are there."""
        before = self.cluster.objects.get(resource_path(KEY))
        generation = before["metadata"]["generation"] + 1 if before else 1
        whole = (before["spec"] if before else self._spec()) | spec
        metadata = {
            "name": KEY.name,
            "namespace": KEY.namespace,
            "uid": "uid-1",
            "generation": generation,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "resourceVersion": str(generation),
        }
        body = (before or {}) | {"metadata": metadata, "spec": whole}
        self.cluster.objects[resource_path(KEY)] = body
        self.claims.note(body)
        self.observer.note_event(KEY)

    def annotate(self, name: str, value: str) -> None:
        """Set an annotation of the resource."""
        self.cluster.objects[resource_path(KEY)]["metadata"].setdefault("annotations", {})[name] = value
        self.observer.note_event(KEY)

    def put_secret(self, name: str, data: dict[str, bytes]) -> None:
        """Create a Secret as a user does."""
        encoded = {entry: b64encode(value).decode() for entry, value in data.items()}
        written_at = self.clock.now().isoformat()
        metadata: Json = {"name": name, "namespace": KEY.namespace, "resourceVersion": str(time.monotonic_ns())}
        metadata |= {"managedFields": [{"manager": "kubectl", "time": written_at}]}
        self.cluster.objects[path(KEY.namespace, name)] = {"metadata": metadata, "type": "Opaque", "data": encoded}

    def spoil_clean_up(self, trouble: Finding) -> None:
        """Make proofs impossible to remove."""
        self.tokens.trouble = trouble

    def requests(self, kind: str) -> int:
        """Count what this process asked of the authority."""
        samples = (each for family in self.metrics.registry.collect() for each in family.samples)
        wanted = (
            each for each in samples if each.name == "mailtls_acme_requests_total" and each.labels["type"] == kind
        )
        return int(sum(each.value for each in wanted))

    def journal(self) -> Json:
        """Return the journal of the order."""
        staged = self.secret("mx-tls-next")
        assert staged is not None
        found: Json = json.loads(staged["order.json"])
        return found

    def acme(self) -> Json:
        """Return the authority of the resource's spec, to be bent."""
        found: Json = self._spec()["acme"]
        return found

    def hold_an_order(self, **spec: Any) -> None:
        """Apply the resource with a DNS server that nobody can reach, and open its order, which waits for a record."""
        self.put_secret("tsig", {"key": b64encode(b"a key of thirty-two bytes, or so")})
        rfc2136 = {"server": "127.0.0.1:1", "tsigKeyName": "key.", "tsigSecretRef": {"name": "tsig", "key": "key"}}
        self.apply(acme=self.acme() | {"solvers": [{"dns01": {"selfCheck": False, "rfc2136": rfc2136}}]}, **spec)
        self.reconcile(KEY)
        assert self.journal()["url"]

    def begin_anew(self) -> None:
        """Take everything away, and apply the resource again."""
        self.cluster.objects.clear()
        self.restart()
        self.apply()

    def delete(self) -> None:
        """Delete the resource; its Secrets are left to their finalizers."""
        del self.cluster.objects[resource_path(KEY)]
        self.observer.note_event(KEY)

    def spoil_journal(self) -> None:
        """Make the resource in the journal one that cannot be carried out."""
        data = self.cluster.objects[path(KEY.namespace, "mx-tls-next")]["data"]
        kept = json.loads(b64decode(data["resource.json"]))
        del kept["acme"]
        data["resource.json"] = b64encode(json.dumps(kept).encode()).decode()

    def is_held(self, secret: str) -> bool:
        """Whether a finalizer keeps a Secret."""
        return bool(self.cluster.objects[path(KEY.namespace, secret)]["metadata"].get("finalizers"))

    def fail_once(self, verb: str, place: str, nth: int, error: Exception, *, is_lost: bool = False) -> None:
        """Let the nth write to a place fail, before it happens or after it."""
        calls = itertools.count(1)

        def fault(written: str, where: str, _body: Json) -> Exception | None:
            return error if (written == verb and place in where and next(calls) == nth) else None

        if is_lost:
            self.cluster.lost = fault
        else:
            self.cluster.fault = fault

    def run(self, until: Callable[[], bool], *, restarts: bool = False) -> None:
        """Reconcile as the queue does, through failures, until something holds; long rests pass at once."""
        deadline = time.monotonic() + WITHIN
        while not until():
            assert time.monotonic() < deadline, self.status()
            delay: float | None = 0.05
            try:
                delay = self.reconcile(KEY)
            except Exception:  # noqa: BLE001 - whatever it is, the queue goes on
                if restarts:
                    self.restart()
            if until():
                return
            assert delay is not None, f"rests for ever: {self.status()}"
            if delay > LONGEST_NAP:
                self.clock.advance(timedelta(seconds=delay))
            else:
                time.sleep(delay)

    def run_until_ready(self, *, restarts: bool = False) -> None:
        """Reconcile until the resource says that it is ready for its newest generation; failures may be crashes."""
        self.run(self.is_ready, restarts=restarts)

    def is_ready(self) -> bool:
        """Whether Ready is True of the newest spec."""
        ready = self.condition("Ready")
        generation = self.cluster.objects[resource_path(KEY)]["metadata"]["generation"]
        return ready.get("status") == "True" and ready["observedGeneration"] == generation

    def status(self) -> Json:
        """Return the resource's status."""
        found: Json = self.cluster.objects[resource_path(KEY)].get("status") or {}
        return found

    def condition(self, kind: str) -> Json:
        """Return one condition, empty when it was not reported yet."""
        found: Json = next((each for each in self.status().get("conditions", ()) if each["type"] == kind), {})
        return found

    def events(self) -> list[str]:
        """Return the reasons of all Events, in order."""
        return [each["reason"] for name, each in self.cluster.objects.items() if "/events/" in name]

    def secret(self, name: str = "mx-tls") -> Json | None:
        """Return the data of a Secret, decoded."""
        found = self.cluster.objects.get(path(KEY.namespace, name))
        return found and {entry: b64decode(value) for entry, value in found["data"].items()}

    def _spec(self) -> Json:
        return {
            "dnsNames": ["mx.example.com"],
            "secretName": "mx-tls",
            "acme": {
                "server": self.pebble.directory_url,
                "email": "postmaster@example.com",
                "solvers": [{"http01": {"selfCheck": False}}],
            },
        }
