"""Postfix workloads on the real cluster, and a rollout driven as reconcile drives it."""

import threading
import time
from base64 import b64encode
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from fakes.clock import WallClock
from mailservers.certificates import Authority, Served
from mailtls.api.presets import PRESETS
from mailtls.api.reading.document import Json
from mailtls.api.spec import Rollout
from mailtls.api.workload import Daemon, UpdateStrategy, Workload, WorkloadKind
from mailtls.kube.client import KubernetesCluster
from mailtls.kube.replacement import evict_pod
from mailtls.kube.workload import WorkloadState
from mailtls.kube.workloads import observe, replace_pod, restart_workload, workload_path
from mailtls.probe.prober import Prober
from mailtls.probe.target import Endpoint
from mailtls.reasons.software import Software
from mailtls.rollout.policy import next_roll
from mailtls.rollout.reload import reload_pod
from mailtls.rollout.steps import (
    Action,
    EvictPod,
    ReplacePod,
    RestartWorkload,
    RolledOut,
    RolloutFailed,
    RollProgress,
    RollStep,
    WaitForPods,
)
from mailtls.verification.evidence import gather, targets
from testbed.mailserver import keeping

SECRET = "mx-tls"
HOST = "mx1.example.com"
POSTFIX = PRESETS[Software.POSTFIX]
TIMEOUT = timedelta(minutes=4)
KINDS_WITH_REPLICAS = {WorkloadKind.STATEFUL_SET, WorkloadKind.DEPLOYMENT}


def workload(
    kind: WorkloadKind, strategy: UpdateStrategy, name: str = "postfix", command: tuple[str, ...] = ()
) -> Workload:
    """Make a Postfix workload's place in a spec, by the preset."""
    run = (command or POSTFIX.reload) if strategy is UpdateStrategy.RELOAD else ()
    return Workload(kind, name, strategy, (Daemon("postfix", POSTFIX.ports, run),))


def pod_spec(*, sub_path: bool = False, image: str = "localhost/postfix:1", mounted: bool = True) -> Json:
    """Make a Postfix pod that is ready when it listens, and that serves what it has read until it is reloaded."""
    files = ("tls.crt", "tls.key") if sub_path else ("",)
    mounts = [
        {"name": "tls", "mountPath": f"/etc/mail-tls/{file}".rstrip("/"), **({"subPath": file} if file else {})}
        for file in files
    ]
    return {
        "terminationGracePeriodSeconds": 1,
        "containers": [
            {
                "name": "postfix",
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                **({"command": keeping()} if mounted else {}),
                "volumeMounts": mounts if mounted else [],
                "readinessProbe": {"tcpSocket": {"port": 25}, "periodSeconds": 1},
            }
        ],
        "volumes": [{"name": "tls", "secret": {"secretName": SECRET}}] if mounted else [],
    }


@dataclass
class Mail:
    """A namespace with mail servers, and the authority whose certificates they serve."""

    cluster: KubernetesCluster
    namespace: str
    authority: Authority = field(default_factory=Authority)
    clock: WallClock = field(default_factory=WallClock)
    stored_at: datetime | None = None

    def store(self, served: Served) -> None:
        """Write the Secret."""
        data = {"tls.crt": served.chain_pem, "tls.key": served.key_pem}
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": SECRET},
            "type": "kubernetes.io/tls",
            "data": {name: b64encode(value).decode() for name, value in data.items()},
        }
        self.cluster.apply(f"/api/v1/namespaces/{self.namespace}/secrets/{SECRET}", body)
        self.stored_at = self.clock.now()

    def deploy(self, of: Workload, spec: Json, replicas: int = 2, *, wait: bool = True) -> None:
        """Create the workload and wait until its controller is done."""
        labels = {"app": of.name}
        template = {"metadata": {"labels": labels}, "spec": spec}
        own: dict[str, Any] = {"selector": {"matchLabels": labels}, "template": template}
        if of.kind in KINDS_WITH_REPLICAS:
            own["replicas"] = replicas
        if of.kind is WorkloadKind.STATEFUL_SET:
            own["serviceName"] = of.name
        body = {"apiVersion": "apps/v1", "kind": str(of.kind), "metadata": {"name": of.name}, "spec": own}
        self.cluster.create(workload_path(self.namespace, of).rsplit("/", 1)[0], body)
        if wait:
            self.await_ready(of)

    def await_ready(self, of: Workload) -> WorkloadState:
        """Wait until the workload's own rollout is complete."""
        deadline = time.monotonic() + TIMEOUT.total_seconds()
        while not (state := self.observe(of)).rolled or not state.living_pods:
            assert time.monotonic() < deadline, state
            time.sleep(0.2)
        return state

    def observe(self, of: Workload) -> WorkloadState:
        """Look at the workload."""
        return observe(self.cluster, self.namespace, of, SECRET)

    def restarts(self, of: Workload) -> dict[str, int]:
        """Count container restarts by the uid of each pod."""
        path = f"/api/v1/namespaces/{self.namespace}/pods"
        pods = self.cluster.list(path, label_selector=f"app={of.name}")
        return {pod["metadata"]["uid"]: pod["status"]["containerStatuses"][0]["restartCount"] for pod in pods}

    def probe(self, states: tuple[WorkloadState, ...], served: Served) -> list[Endpoint]:
        """Ask every port of every ready pod."""
        prober = Prober(now=self.clock.now)
        return prober.probe(targets(states, HOST), self.authority.expects(served))

    def roll(
        self,
        wanted: Served,
        *workloads: Workload,
        retry: bool = False,
        timeout: timedelta = TIMEOUT,
        plan: Rollout | None = None,
    ) -> tuple[RolledOut | RolloutFailed, list[RollStep]]:
        """Roll `wanted` out, step by step, and return the end and the steps that changed something."""
        plan = plan or Rollout()
        progress = RollProgress(
            self.clock.now(),
            timeout,
            retry=retry,
            certified_at=self.stored_at,
            canary=plan.canary,
            max_unavailable=plan.max_unavailable,
        )
        taken: list[RollStep] = []
        while True:
            states = tuple(self.observe(each) for each in workloads)
            evidence = gather(self.probe(states, wanted), wanted.sha256)
            step = next_roll(states, evidence, wanted.sha256, progress, self.clock.now())
            if isinstance(step, RolledOut | RolloutFailed):
                return step, taken
            if isinstance(step, Action):
                taken.append(step)
                progress = self._perform(step, wanted, progress)
            elif isinstance(step, WaitForPods):
                time.sleep(max(0.0, (step.until - self.clock.now()).total_seconds()))

    def _perform(self, step: Action, wanted: Served, progress: RollProgress) -> RollProgress:
        if isinstance(step, RestartWorkload):
            state = self.observe(step.workload)
            fault = restart_workload(self.cluster, self.namespace, state, wanted.sha256, SECRET, now=self.clock.now())
        elif isinstance(step, ReplacePod):
            fault = replace_pod(self.cluster, self.namespace, step.pod)
        elif isinstance(step, EvictPod):
            fault = evict_pod(self.cluster, self.namespace, step.pod)
        else:
            fault = reload_pod(
                self.cluster,
                self.namespace,
                step,
                wanted.sha256,
                secret_name=SECRET,
                timeout=progress.timeout.total_seconds(),
                stopping=threading.Event(),
            )
        return progress.after(step, fault, self.clock.now())
