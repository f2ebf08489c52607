"""Observes workloads and their pods, and restarts a workload by its template."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from mailtls.api.reading.document import Json
from mailtls.api.resource import EARLIER_ANNOTATION, annotations_of, certificate_annotation, restart_annotation
from mailtls.api.workload import UpdateStrategy, Workload, WorkloadKind
from mailtls.kube.bounds import bound_of_one
from mailtls.kube.interface import ApiError, Cluster, forbidden, refused_by_rule
from mailtls.kube.mounts import (
    Mount,
    certificate_mounts,
    comes_in_at_start,
    immutable_secret,
    init_copier,
    kept_since_start,
    key_fault,
    not_mounted,
    running_containers,
)
from mailtls.kube.replacement import judged_rollout, rollout_owns, rollout_restart, with_referenced_template
from mailtls.kube.workload import (
    PodState,
    ProcessScope,
    Reader,
    WorkloadState,
    children,
    is_rolled,
    is_running,
    ordinal_order,
    partition_of,
    readiness,
    replicas_wanted,
    run_of,
    started_at,
    template_keeper,
    time_of,
    without_rights,
)
from mailtls.reasons.reason import Finding, Reason

PLURALS: Mapping[WorkloadKind, str] = {
    WorkloadKind.STATEFUL_SET: "statefulsets",
    WorkloadKind.DEPLOYMENT: "deployments",
    WorkloadKind.DAEMON_SET: "daemonsets",
    WorkloadKind.ROLLOUT: "rollouts.argoproj.io",
}
WATCHED: Final = (WorkloadKind.STATEFUL_SET, WorkloadKind.DEPLOYMENT, WorkloadKind.DAEMON_SET)
"""What every cluster has; Rollouts are read while a rollout waits for them."""


def observe(
    cluster: Cluster, namespace: str, workload: Workload, secret_name: str, *, is_immutable: bool = False
) -> WorkloadState:
    """Look at one workload and its pods with two requests; raises `Unreachable`, and `ApiError` other than 403.

    Pods are not read where there are too many (`mailtls.kube.bounds`).
    `is_immutable` where the Secret is, so that pods that run never get another content of it.
    """
    verb = f"get {PLURALS[workload.kind]}"
    try:
        body = cluster.get(workload_path(namespace, workload))
        if body is not None and workload.kind is WorkloadKind.ROLLOUT:
            body = with_referenced_template(cluster, namespace, body)
        if body is None:
            return WorkloadState(workload, _not_found(namespace, workload), rolled=False)
        if (beyond := bound_of_one(workload, body)) is not None:
            return beyond
        verb = "list pods"
        found = cluster.list(f"/api/v1/namespaces/{namespace}/pods", label_selector=selector(body["spec"]["selector"]))
    except ApiError as error:
        if not error.is_forbidden:
            raise
        return WorkloadState(workload, forbidden(verb, namespace), rolled=False)
    state = judged_rollout(parse(workload, body, found, secret_name), body, found)
    is_kept = is_immutable and state.finding is None and not _frees_its_node(state)
    return replace(state, finding=immutable_secret(str(workload), secret_name)) if is_kept else state


def _frees_its_node(state: WorkloadState) -> bool:
    """Whether no pod of the workload is left on a node when a fresh one starts there, or nobody is to be restarted."""
    kind, strategy = state.workload.kind, state.workload.update_strategy
    is_alone = kind is WorkloadKind.STATEFUL_SET and state.replicas_wanted == 1
    by_restart = strategy is UpdateStrategy.RESTART and (is_alone or kind is WorkloadKind.DAEMON_SET)
    return by_restart or strategy is UpdateStrategy.NONE


def restart_workload(
    cluster: Cluster, namespace: str, state: WorkloadState, sha256: str, secret_name: str, *, now: datetime
) -> Finding | None:
    """Have the controller replace the pods by naming the certificate in the template; again changes nothing.

    The same write names it on the workload itself: whoever puts the template back leaves that, so it is known. Raises
    `Conflict` where another workload has the name by now, whose pods are younger.
    """
    workload, annotations = state.workload, {restart_annotation(secret_name): sha256}
    try:
        body: Json = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
        if workload.kind is WorkloadKind.ROLLOUT:
            body = rollout_restart(now)
        body["metadata"] = {"uid": state.uid, "annotations": annotations}
        cluster.merge(workload_path(namespace, workload), body)
    except ApiError as error:
        if (found := refused_by_rule(error)) is not None:
            lacks_rights = found.reason is Reason.FORBIDDEN
            return forbidden(f"patch {PLURALS[workload.kind]}", namespace) if lacks_rights else found
        if error.is_missing:
            return _not_found(namespace, workload)
        raise
    return None


def replace_pod(cluster: Cluster, namespace: str, pod: PodState) -> Finding | None:
    """Delete this very pod, and not one that has its name by now: its controller makes it anew."""
    try:
        cluster.delete(f"/api/v1/namespaces/{namespace}/pods/{pod.name}", uid=pod.uid)
    except ApiError as error:
        found = refused_by_rule(error)
        if found is None:
            raise
        if found.reason is not Reason.FORBIDDEN:
            return found
        allowed = forbidden("delete pods", namespace)
        return replace(allowed, message=f"{allowed.message} Or delete pod {pod.name} yourself.")
    return None


def workload_path(namespace: str, workload: Workload) -> str:
    """Return the URL path of the workload."""
    plural, _, group = PLURALS[workload.kind].partition(".")
    version = f"{group}/v1alpha1" if group else "apps/v1"
    return f"/apis/{version}/namespaces/{namespace}/{plural}/{workload.name}"


def _not_found(namespace: str, workload: Workload) -> Finding:
    message = f"{workload} does not exist in namespace {namespace}; create it, or correct spec.workloads."
    return Finding(Reason.WORKLOAD_NOT_FOUND, message)


def selector(label_selector: Json) -> str:
    """Write a LabelSelector object as the query parameter of a list request."""
    terms = [f"{key}={value}" for key, value in (label_selector.get("matchLabels") or {}).items()]
    return ",".join(terms + [_requirement(term) for term in children(label_selector, "matchExpressions")])


def _requirement(term: Json) -> str:
    values = ",".join(str(value) for value in children(term, "values"))
    written: dict[str, str] = {
        "In": f"{term['key']} in ({values})",
        "NotIn": f"{term['key']} notin ({values})",
        "Exists": term["key"],
        "DoesNotExist": f"!{term['key']}",
    }
    return written[term["operator"]]


def parse(workload: Workload, body: Json, pods: list[Json], secret_name: str) -> WorkloadState:
    """Make a `WorkloadState` of a workload's JSON and of the pods that its selector matches."""
    template = body["spec"]["template"]
    owned = [pod for pod in pods if _is_owned(body, workload, pod) and _is_alive(pod)]
    return WorkloadState(
        workload=workload,
        finding=_template_finding(workload, template["spec"], secret_name),
        template_sha256=_noted(template, restart_annotation(secret_name)),
        pods=tuple(
            sorted((_pod(workload, pod, secret_name) for pod in owned), key=lambda pod: ordinal_order(pod.name))
        ),
        rolled=is_rolled(workload, body),
        replicas_wanted=replicas_wanted(workload, body),
        labels=(template.get("metadata") or {}).get("labels") or {},
        port_names=_port_names(template["spec"]),
        by_hand=_by_hand(body["spec"]),
        partition=partition_of(body["spec"]),
        restarted_sha256=annotations_of(body).get(restart_annotation(secret_name)),
        template_keeper=template_keeper(body),
        min_ready_seconds=int(body["spec"].get("minReadySeconds") or 0),
        uid=body["metadata"]["uid"],
    )


def _by_hand(spec: Json) -> str:
    if spec.get("paused"):
        return "it is paused; run kubectl rollout resume, or set updateStrategy: Evict."
    if (spec.get("updateStrategy") or {}).get("type") == "OnDelete":
        return "its update strategy is OnDelete; delete the pods yourself, or set updateStrategy: Evict."
    return ""


def _port_names(pod_spec: Json) -> dict[str, int]:
    ports = (port for container in running_containers(pod_spec) for port in children(container, "ports"))
    return {port["name"]: port["containerPort"] for port in ports if port.get("name")}


def _template_finding(workload: Workload, pod_spec: Json, secret_name: str) -> Finding | None:
    """Judge the template, so that a mistake is seen even while no pod runs; `None` is nobody's business here."""
    if workload.update_strategy is UpdateStrategy.NONE:
        return None
    nowhere = not_mounted(str(workload), pod_spec, secret_name)
    if workload.update_strategy is not UpdateStrategy.RELOAD:
        return None if comes_in_at_start(pod_spec, secret_name) else nowhere
    if (missing := _container_not_found(workload, pod_spec)) is not None:
        return missing
    mounts = certificate_mounts(pod_spec, secret_name)
    reloaded = {reader.container for reader in _readers(workload, mounts) if reader.container}
    found = kept_since_start(str(workload), pod_spec, secret_name, reloaded)
    return found or (None if mounts else nowhere)


def _container_not_found(workload: Workload, pod_spec: Json) -> Finding | None:
    names = [container["name"] for container in running_containers(pod_spec)]
    wanted = next((each.container for each in workload.daemons if each.container not in (None, *names)), None)
    if wanted is None:
        return None
    message = f"{workload} has no container {wanted}; correct spec.workloads to name one of {', '.join(names)}."
    return Finding(Reason.CONTAINER_NOT_FOUND, message)


def _readers(workload: Workload, mounts: tuple[Mount, ...]) -> tuple[Reader, ...]:
    """Find each daemon's container and file; one without a container is in the first that mounts the certificate."""
    return tuple(_reader(daemon.container, mounts) for daemon in workload.daemons)


def _reader(container: str | None, mounts: tuple[Mount, ...]) -> Reader:
    mount = next((each for each in mounts if container in (None, each.container)), None)
    return Reader(mount.container, mount.path, mount.sub_path) if mount else Reader(container)


def _is_owned(body: Json, workload: Workload, pod: Json) -> bool:
    """Whether the workload made this pod; selectors of careless workloads match each other's pods."""
    owner = next((ref for ref in children(pod, "metadata", "ownerReferences") if ref.get("controller")), None)
    if owner is None:
        return False
    if workload.kind is WorkloadKind.ROLLOUT:
        return rollout_owns(body, pod, owner)
    if workload.kind is not WorkloadKind.DEPLOYMENT:
        return bool(owner["uid"] == body["metadata"]["uid"])
    # A Deployment names its ReplicaSets after itself and the hash of their template.
    template_hash = (pod["metadata"].get("labels") or {}).get("pod-template-hash")
    return bool(owner["kind"] == "ReplicaSet" and owner["name"] == f"{body['metadata']['name']}-{template_hash}")


def _is_alive(pod: Json) -> bool:
    """Whether the pod may still serve; evicted pods stay on the books as Failed."""
    return (pod.get("status") or {}).get("phase") not in {"Failed", "Succeeded"}


def _noted(holder: Json, annotation: str) -> str | None:
    """Read which leaf is named; one that an earlier version named counts, so that an upgrade restarts nothing."""
    annotations = annotations_of(holder)
    sha256: str | None = annotations.get(annotation, annotations.get(EARLIER_ANNOTATION))
    return sha256


def _pod(workload: Workload, pod: Json, secret_name: str) -> PodState:
    metadata, status = pod["metadata"], pod.get("status") or {}
    readers = _readers(workload, certificate_mounts(pod["spec"], secret_name))
    containers = tuple(dict.fromkeys(reader.container for reader in readers))
    ready = readiness(status)
    return PodState(
        name=metadata["name"],
        uid=metadata["uid"],
        addresses=tuple(address["ip"] for address in children(status, "podIPs")),
        ready=ready.get("status") == "True",
        terminating="deletionTimestamp" in metadata,
        reloaded_sha256=_noted(pod, certificate_annotation(secret_name)),
        template_sha256=_noted(pod, restart_annotation(secret_name)),
        readers=readers,
        process_scope=_process_scope(pod["spec"]),
        ready_at=time_of(ready.get("lastTransitionTime")),
        run=run_of(metadata["uid"], status),
        started_at=_first([started_at(status, container) for container in containers]),
        is_running=all(is_running(status, container) for container in containers),
        made_at=time_of(metadata.get("creationTimestamp")),
        copier=init_copier(pod["spec"], secret_name),
        key_fault=key_fault(pod["spec"], secret_name),
        node=pod["spec"].get("nodeName") or "",
        without_rights=without_rights(pod["spec"]),
    )


def _process_scope(pod_spec: Json) -> ProcessScope:
    if pod_spec.get("hostPID"):
        return ProcessScope.NODE
    return ProcessScope.POD if pod_spec.get("shareProcessNamespace") else ProcessScope.CONTAINER


def _first(moments: list[datetime | None]) -> datetime | None:
    """Return the earliest moment, None where one is missing."""
    known = [moment for moment in moments if moment is not None]
    return min(known) if known and len(known) == len(moments) else None
