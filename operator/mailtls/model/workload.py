"""Workloads and their pods as observed: who mounts the Secret where, and who was told about which certificate."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from mailtls.model.reason import Finding
from mailtls.model.spec import Workload

CERTIFICATE_ANNOTATION = "mailtls.dev/certificate"
"""On a pod: the leaf (SHA-256, hex) it was told to load. On a pod template: the leaf that caused the last Rollout."""


@dataclass(frozen=True, slots=True)
class PodState:
    """One running pod of a workload.

    `told_sha256` is the pod's annotation: the leaf that the operator last told this pod to load. `container` and
    `certificate_path` say which container to reload and where it reads `tls.crt`; None: no container mounts it.
    `sub_path` marks a mount that the kubelet never updates. `ready_at` is when the pod last became ready. `run` names
    the very processes: it changes when a container restarts in place, while name, uid and addresses stay. `started_at`
    is when the process that reads the certificate started, None while it does not run.
    """

    name: str
    uid: str
    addresses: tuple[str, ...]
    ready: bool
    terminating: bool = False
    told_sha256: str | None = None
    container: str | None = None
    certificate_path: str | None = None
    sub_path: bool = False
    ready_at: datetime | None = None
    run: str = ""
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class WorkloadState:
    """One workload as observed; `finding` names what makes its `apply` impossible, judged by its pod template.

    `template_sha256` is the template's annotation. `rolled` says that the workload's own controller has finished
    replacing pods and all of them are ready. `replicas_wanted` is how many pods there should be. `labels` and
    `port_names` are what the template gives to its pods, by which Services find them.
    """

    workload: Workload
    finding: Finding | None = None
    template_sha256: str | None = None
    pods: tuple[PodState, ...] = ()
    rolled: bool = True
    replicas_wanted: int = 1
    labels: Mapping[str, str] = field(default_factory=dict)
    port_names: Mapping[str, int] = field(default_factory=dict)
    by_hand: str = ""  # why its controller replaces no pods, and what the person has to do; empty: it does

    @property
    def living_pods(self) -> tuple[PodState, ...]:
        """The pods that are not on their way out."""
        return tuple(pod for pod in self.pods if not pod.terminating)


def ordinal_order(name: str) -> tuple[str, int]:
    """Sort key that puts `postfix-2` before `postfix-10`, as a StatefulSet counts."""
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :] or -1)
