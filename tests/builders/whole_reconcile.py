"""Whole passes of the reconciler over pods that are told by a reload command; only the world is a fake."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from datetime import timedelta
from itertools import count
from threading import Event
from typing import Any

from builders import kube
from builders.pairs import self_signed
from fakes.clock import WallClock
from fakes.cluster import FakeCluster
from mailtls.api.installation import Features
from mailtls.api.reading.document import Json
from mailtls.api.reading.spec import parse
from mailtls.api.resource import resource_path
from mailtls.api.spec import Key, PrivateKeyPolicy
from mailtls.controller.composition import compose, defaults_of
from mailtls.controller.election import Leadership
from mailtls.controller.parts import Edges, Parts
from mailtls.issuance.certificates import new_key
from mailtls.issuance.solvers.http01_server import Tokens
from mailtls.kube.claims import Claims
from mailtls.kube.interface import Executed
from mailtls.kube.snapshot import ServingSecret
from mailtls.metrics import Metrics
from mailtls.net.effects import before_effect
from mailtls.probe.facts import Facts
from mailtls.probe.target import Depth, Endpoint, Expected, Target
from mailtls.reasons.reason import Finding, Reason
from mailtls.rollout.coordinator import Coordinator
from mailtls.settings import Settings
from mailtls.stage import FILE_PATIENCE, AnyStage, PodProber
from mailtls.stages import STAGES
from mailtls.times import Clock

MX = Key("mail", "mx")
PATH = resource_path(MX)


class Pods(FakeCluster):
    """Pods that show the new file at once; `on_reload` is called with a pod's name and runs its command."""

    chain_pem = ""

    def __init__(self) -> None:
        super().__init__()
        self.refused: dict[str, Exception] = {}  # by a part of the path of a write
        self.hidden: dict[str, Exception] = {}  # by the path of a read
        self.reloaded: list[str] = []
        self.on_reload: Callable[[str], Executed] = lambda _pod: Executed(0, "", "")
        self.on_cat: Callable[[str], Executed] = lambda _pod: Executed(0, self.chain_pem, "")

    def execute(self, namespace: str, pod: str, container: str, command: Sequence[str], timeout: float) -> Executed:
        """Run `cat` or the reload command."""
        before_effect()
        assert (namespace, container) == ("mail", "postfix")
        assert timeout > 0
        if command[0] == "cat":
            return self.on_cat(pod)
        self.reloaded.append(pod)
        return self.on_reload(pod)

    def get(self, path: str) -> Json | None:
        """Return the object, unless a test hides it."""
        if path in self.hidden:
            raise self.hidden[path]
        return super().get(path)

    def merge(self, path: str, body: Json) -> Json:
        """Merge; the status subresource is a part of its object."""
        for part, refusal in self.refused.items():
            if part in path:
                raise refusal
        if path.endswith("/status"):
            return super().merge(path.removesuffix("/status"), body | {"metadata": {}})
        return super().merge(path, body)


class PlayedServers(ABC):
    """Mail servers that answer at once; each pod serves the expected certificate, or else an old one."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    @abstractmethod
    def serves_expected(self, pod: str) -> bool:
        """Whether that pod serves the expected certificate by now."""

    def probe(self, targets: Iterable[Target], expected: Expected, depth: Depth = Depth.QUICK) -> Sequence[Endpoint]:
        """Answer for each target at once."""
        assert depth
        return [self._endpoint(each, expected) for each in targets]

    def examine(self, targets: Iterable[Target], expected: Expected) -> Sequence[tuple[Endpoint, Facts]]:
        """Examine nothing: no resource of these names a domain."""
        return []

    def _endpoint(self, target: Target, expected: Expected) -> Endpoint:
        if self.serves_expected(target.pod):
            return Endpoint(target, self.clock.now(), served_sha256=expected.leaf_sha256)
        old = Finding(Reason.SERVING_OLD_CERTIFICATE, "The old certificate is served.")
        return Endpoint(target, self.clock.now(), (old,), "00" * 32)


class Servers(PlayedServers):
    """Mail servers that serve the new certificate once their pod was reloaded."""

    clock: WallClock

    def __init__(self, cluster: Pods, clock: WallClock) -> None:
        super().__init__(clock)
        self.cluster = cluster

    def serves_expected(self, pod: str) -> bool:
        """Whether the pod was reloaded."""
        return pod in self.cluster.reloaded


class WholeReconcile:
    """A resource with a stored certificate and so many pods that do not serve it yet."""

    def __init__(
        self,
        pods: int = 3,
        features: Features | None = None,
        file_patience: timedelta = FILE_PATIENCE,
        stages: Sequence[AnyStage] = STAGES,
        servers: Callable[[Pods, WallClock], PodProber] = Servers,
    ) -> None:
        self.cluster, self.clock, self.metrics, self.stopping = Pods(), WallClock(), Metrics(), Event()
        self.settings = Settings(
            "mailtls",
            "mailtls-0",
            acme_server="https://127.0.0.1:1/directory",
            acme_solvers=({"http01": {}},),
            disabled_features=features or Features(),
        )
        self.edges = Edges(self.clock, prober=servers(self.cluster, self.clock), file_patience=file_patience)
        self.stages, self.defaults, self.coordinator = stages, defaults_of(self.settings), Coordinator()
        self.restart()
        self._put_resource()
        self._put_certificate()
        self._put_pods(pods)

    def restart(self) -> None:
        """Begin with a process that knows nothing."""
        leadership = Leadership()
        leadership.extend(math.inf)
        parts = Parts(
            self.settings,
            self.cluster,
            self.metrics,
            leadership,
            Tokens(),
            Claims(),
            self.stopping,
            coordinator=self.coordinator,
            edges=self.edges,
        )
        made = compose(parts, self.stages)
        self.secrets, self.observer, self.reconcile = made.secrets, made.observer, made.reconciler

    def run(self) -> float | None:
        """Make one pass."""
        return self.reconcile(MX)

    def change(self, **spec: object) -> None:
        """Do what a user does, and let the watch tell of it."""
        resource = self.cluster.objects[PATH]
        resource["spec"] |= spec
        resource["metadata"]["generation"] += 1
        self.observer.note_event(MX)

    def condition(self, kind: str) -> Json:
        """Return one condition of the status, empty when it was not reported."""
        status = self.cluster.objects[PATH].get("status") or {}
        found: Json = next((each for each in status.get("conditions", ()) if each["type"] == kind), {})
        return found

    def events(self) -> list[Json]:
        """Return all Events."""
        return [each for name, each in self.cluster.objects.items() if "/events/" in name]

    def _put_resource(self) -> None:
        port = {"port": 25, "tlsMode": "StartTLS"}
        spec = {
            "dnsNames": ["mx.example.test"],
            "secretName": "mx-tls",
            "workloads": [{"kind": "StatefulSet", "name": "postfix", "ports": [port]}],
            "renewal": {"ari": False},
        }
        metadata = {
            "namespace": "mail",
            "name": "mx",
            "uid": "uid-1",
            "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
        }
        body = {"apiVersion": "mailtls.dev/v1alpha1", "kind": "MailServerTLS", "metadata": metadata, "spec": spec}
        self.cluster.create(PATH.rsplit("/", 1)[0], body)

    def _put_certificate(self) -> None:
        key = new_key(PrivateKeyPolicy())
        certificate = self_signed(key)
        desired = parse(self.cluster.objects[PATH], self.defaults)
        self.secrets.store(desired, certificate, key, ServingSecret(exists=False))
        self.cluster.chain_pem = certificate.chain_pem

    def _put_pods(self, pods: int) -> None:
        state = {"observedGeneration": 3, "readyReplicas": pods, "updateRevision": "a", "currentRevision": "a"}
        self.cluster.create(
            "/apis/apps/v1/namespaces/mail/statefulsets", deepcopy(kube.workload(replicas=pods, status=state))
        )
        for number in range(pods):
            pod = kube.pod(f"postfix-{number}", labels={"app": "postfix"})
            pod["status"]["podIPs"] = [{"ip": f"198.51.100.{number}"}]
            self.cluster.create("/api/v1/namespaces/mail/pods", pod)


class Killed(BaseException):
    """SIGKILL."""


def killed_at(mail: WholeReconcile, effect: int) -> bool:
    """Run reconciles, and kill the process right after so many writes and commands; whether it came to that."""
    effects: Iterator[int] = count()
    cluster: Any = mail.cluster
    store, execute = cluster._store, cluster.execute

    def dying(of: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            answer = of(*given)
            if next(effects) == effect:
                raise Killed
            return answer

        return call

    cluster._store, cluster.execute = dying(store), dying(execute)
    try:
        mail.run()
    except Killed:
        return True
    finally:
        cluster._store, cluster.execute = store, execute
    return False
