"""Workloads, their pods and the Services before them, as observed: who mounts the Secret, who leads where.

This holds what they are, and how a pod and a Service are read; `workloads` reads them from the cluster.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from mailtls.api.reading.document import Json
from mailtls.api.resource import MANAGER
from mailtls.api.workload import Workload, WorkloadKind
from mailtls.kube.interface import Cluster
from mailtls.reasons.quoting import printable, shorten
from mailtls.reasons.reason import Finding


class ProcessScope(StrEnum):
    """Whose processes a container sees: its own, those of all containers of its pod, or those of the node."""

    CONTAINER = "Container"
    POD = "Pod"
    NODE = "Node"


@dataclass(frozen=True, slots=True)
class Reader:
    """Where one daemon of a pod is reloaded, and where it reads `tls.crt`.

    `container` None: no container mounts the certificate; `path` None: the daemon's own does not. `sub_path` marks a
    mount that the kubelet never updates.
    """

    container: str | None = None
    path: str | None = None
    sub_path: bool = False


@dataclass(frozen=True, slots=True)
class PodState:
    """One running pod of a workload.

    `reloaded_sha256` is the pod's annotation: the leaf that it was last reloaded with. `template_sha256` is
    the leaf that its pod template named when the pod was made. `readers` are the daemons of the workload, in its order,
    as they are in this pod. `ready_at` is when the pod last became ready. `run` names
    the very processes: it changes when a container restarts in place, while name, uid and addresses stay. `started_at`
    is when the first of the processes that read the certificate started, or started last where it keeps crashing; None
    where one never did. `is_running`: all of them run. `made_at` is when the pod was made: its volumes were filled
    after that. `node` is where it runs, empty where it was not scheduled yet. `copier` names an init container that
    mounts the certificate; `key_fault` says why the server may not be able to read its key. `without_rights` are
    the containers whose processes gain no rights by setuid, which a server may need to open its ports again.
    """

    name: str
    uid: str
    addresses: tuple[str, ...]
    ready: bool
    terminating: bool = False
    reloaded_sha256: str | None = None
    readers: tuple[Reader, ...] = ()
    process_scope: ProcessScope = ProcessScope.CONTAINER
    ready_at: datetime | None = None
    run: str = ""
    started_at: datetime | None = None
    is_running: bool = True
    made_at: datetime | None = None
    template_sha256: str | None = None
    node: str = ""
    copier: str = ""
    key_fault: Finding | None = None
    without_rights: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class WorkloadState:
    """One workload as observed; `finding` names what makes its update strategy impossible, judged by its pod template.

    `template_sha256` is the template's annotation. `rolled` says that the workload's own controller has finished
    replacing pods and all of them are ready. `partition` is a StatefulSet's: pods of lower numbers are not replaced.
    `restarted_sha256` is the workload's own annotation: the leaf for which its template was annotated last;
    `template_keeper` names who besides us wrote the template last. `replicas_wanted` is how many pods there should be.
    `labels` and `port_names` are what the template gives to its pods, by which Services find them. A pod is available
    once it was ready for `min_ready_seconds`.
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
    partition: int = 0
    restarted_sha256: str | None = None
    template_keeper: str = ""
    min_ready_seconds: int = 0
    uid: str | None = None

    @property
    def living_pods(self) -> tuple[PodState, ...]:
        """The pods that are not on their way out."""
        return tuple(pod for pod in self.pods if not pod.terminating)

    def server_in(self, pod: PodState, port: int | None) -> str:
        """Write who answers at a port of a pod: `dovecot in container imap of pod mail-0`."""
        for daemon, reader in zip(self.workload.daemons, pod.readers, strict=False):
            if reader.container and any(each.port == port for each in daemon.ports):
                return f"{daemon.name} in container {reader.container} of pod {pod.name}"
        return f"Pod {pod.name}"


def ordinal_order(name: str) -> tuple[str, int]:
    """Sort key that puts `postfix-2` before `postfix-10`, as a StatefulSet counts."""
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :] or -1)


def ordinal(name: str) -> int:
    """Return the number of a StatefulSet's pod, -1 where the name has none."""
    return ordinal_order(name)[1]


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One TCP port of a Service; `target` is where it leads to: the number or the name of a container's port."""

    number: int
    target: int | str


@dataclass(frozen=True, slots=True)
class Service:
    """A Service with a selector; a headless one has no `addresses`, for it leads to the pods' own."""

    name: str
    selector: Mapping[str, str]
    ports: tuple[ServicePort, ...] = ()
    addresses: tuple[str, ...] = ()

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Whether pods with these labels are behind it."""
        return bool(self.selector) and self.selector.items() <= labels.items()


def replicas_wanted(workload: Workload, body: Json) -> int:
    """How many pods the workload should have."""
    if workload.kind is WorkloadKind.DAEMON_SET:
        return int((body.get("status") or {}).get("desiredNumberScheduled", 0))
    return int(body["spec"].get("replicas", 1))


def is_rolled(workload: Workload, body: Json) -> bool:
    """Whether the controller has seen the newest template and finished, as `kubectl rollout status` judges it."""
    status = body.get("status") or {}
    if workload.kind is WorkloadKind.ROLLOUT:
        return _argo_rollout_is_rolled(body, status)
    if status.get("observedGeneration", 0) < body["metadata"].get("generation", 0):
        return False
    wanted = replicas_wanted(workload, body)
    if workload.kind is WorkloadKind.DAEMON_SET:
        return bool(min(status.get("updatedNumberScheduled", 0), status.get("numberAvailable", 0)) >= wanted)
    if workload.kind is WorkloadKind.DEPLOYMENT:
        updated = status.get("updatedReplicas", 0)
        return bool(updated >= wanted and status.get("replicas", 0) <= updated <= status.get("availableReplicas", 0))
    return _stateful_set_is_rolled(body["spec"], status, wanted)


def _argo_rollout_is_rolled(body: Json, status: Json) -> bool:
    """Whether all pods that were to be restarted were, and all are available; its canary steps are another matter."""
    if str(status.get("observedGeneration")) != str(body["metadata"].get("generation")):  # a text here
        return False
    is_restarted = status.get("restartedAt") == body["spec"].get("restartAt")
    return bool(is_restarted and status.get("availableReplicas", 0) >= body["spec"].get("replicas", 1))


def _stateful_set_is_rolled(spec: Json, status: Json, wanted: int) -> bool:
    if status.get("readyReplicas", 0) < wanted:
        return False
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":  # its currentRevision stays behind for ever
        return bool(status.get("updatedReplicas", 0) >= wanted)
    if partition := partition_of(spec):
        return bool(status.get("updatedReplicas", 0) >= wanted - partition)
    return bool(status.get("updateRevision") == status.get("currentRevision"))


def partition_of(spec: Json) -> int:
    """Below which number a StatefulSet leaves its pods as they are; 0: it leaves none."""
    return int(((spec.get("updateStrategy") or {}).get("rollingUpdate") or {}).get("partition") or 0)


def template_keeper(body: Json) -> str:
    """Name the field manager besides us that wrote the pod template last, as recorded; empty where none is."""
    recorded = body["metadata"].get("managedFields") or ()
    others = [
        each for each in recorded if each.get("manager") not in {None, "", MANAGER} and not each.get("subresource")
    ]
    of_template = [each for each in others if "f:template" in ((each.get("fieldsV1") or {}).get("f:spec") or {})]
    newest = max(of_template, key=lambda each: str(each.get("time", "")), default=None)
    return shorten(printable(str(newest["manager"])), 80) if newest else ""


_HEADLESS: Final = "None"


def services(cluster: Cluster, namespace: str) -> tuple[Service, ...]:
    """List them; raises what the `Cluster` raises. One without a selector, or with another's name, leads to no pods."""
    found = cluster.list(f"/api/v1/namespaces/{namespace}/services")
    return tuple(parse_service(each) for each in found if each["spec"].get("selector") and not _is_alias(each))


def parse_service(service: Json) -> Service:
    """Read one; both families where it has both."""
    spec = service["spec"]
    addresses: list[str | None] = spec.get("clusterIPs") or [spec.get("clusterIP")]
    return Service(
        name=service["metadata"]["name"],
        selector=spec["selector"],
        ports=tuple(_ports(spec)),
        addresses=tuple(address for address in addresses if address and address != _HEADLESS),
    )


def _is_alias(service: Json) -> bool:
    return bool(service["spec"].get("type") == "ExternalName")


def _ports(spec: Json) -> Iterator[ServicePort]:
    for port in children(spec, "ports"):
        if port.get("protocol", "TCP") == "TCP":
            yield ServicePort(port["port"], port.get("targetPort") or port["port"])


def children(parent: Json, *keys: str) -> list[Json]:
    """Return the list at `keys`, empty where any part is missing or null, as the API server may leave it."""
    value: Any = parent
    for key in keys:
        value = (value or {}).get(key)
    return value or []


def without_rights(pod_spec: Json) -> frozenset[str]:
    """Name the containers whose processes gain no rights, where the pod lets nobody open mail ports without rights."""
    sysctls = {each["name"]: str(each.get("value")) for each in children(pod_spec, "securityContext", "sysctls")}
    free_from = sysctls.get("net.ipv4.ip_unprivileged_port_start", "")
    if free_from.isdecimal() and int(free_from) <= _SMTP:
        return frozenset()
    containers = (each for each in children(pod_spec, "containers"))
    return frozenset(
        each["name"] for each in containers if (each.get("securityContext") or {}).get(_ESCALATION) is False
    )


_SMTP: Final = 25  # the lowest of the ports that mail servers listen on
_ESCALATION: Final = "allowPrivilegeEscalation"


def started_at(status: Json, container: str | None) -> datetime | None:
    """When the named container started, or where none is named the last of all; None where it never did.

    One that crashed, and is not started again yet, started when its last run did.
    """
    runs = [run for each in _containers(status, container) for run in (each.get("state"), each.get("lastState")) if run]
    running = [time_of((run.get("running") or {}).get("startedAt")) for run in runs]
    ended = [time_of((run.get("terminated") or {}).get("startedAt")) for run in runs]
    return max(filter(None, running), default=None) or max(filter(None, ended), default=None)


def is_running(status: Json, container: str | None) -> bool:
    """Whether a command can be run in the container: it has started, and has not crashed."""
    return any((each.get("state") or {}).get("running") for each in _containers(status, container))


def _containers(status: Json, name: str | None) -> list[Json]:
    every = (*children(status, "initContainerStatuses"), *children(status, "containerStatuses"))
    return [each for each in every if name in (None, each["name"])]


def run_of(uid: str, status: Json) -> str:
    """Distinguish what runs now and what ran before: the runtime gives every start of a container an ID of its own."""
    containers = (*children(status, "initContainerStatuses"), *children(status, "containerStatuses"))
    return " ".join((uid, *sorted(each.get("containerID") or "" for each in containers)))


def readiness(status: Json) -> Json:
    """Return a pod's condition Ready, empty where there is none yet."""
    return next((found for found in children(status, "conditions") if found["type"] == "Ready"), {})


def time_of(written: str | None) -> datetime | None:
    """Read a time of the API server."""
    return datetime.fromisoformat(written) if written else None
