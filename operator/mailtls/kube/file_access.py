"""Whether a container's user can read the mounted key, judged by modes and users in the pod's spec."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mailtls.api.reading.document import Json
from mailtls.kube.mounts import path_of, running_containers, sources_of
from mailtls.kube.pods import children
from mailtls.reasons.reason import Finding, Reason, Severity

PRIVATE_KEY: Final = "tls.key"
DEFAULT_MODE: Final = 0o644  # of the files of a Secret volume
ROOT: Final = 0  # user and group of these files
GROUP_READS, OTHERS_READ = 0o040, 0o004


@dataclass(frozen=True, slots=True)
class _User:
    """As whom a container runs; None: as the image says."""

    user: int | None
    group: int | None
    groups: frozenset[int]


def key_fault(pod_spec: Json, secret_name: str) -> Finding | None:
    """Say why a server may not be able to read its key: `FAIL` where its user certainly cannot, `WARN` where it may.

    With `fsGroup` the kubelet lets that group read each file, whatever its mode is, and all processes are in it.
    """
    modes = dict(_key_modes(pod_spec, secret_name))
    if (pod_spec.get("securityContext") or {}).get("fsGroup") is not None:
        return None
    faults = [
        found
        for container in running_containers(pod_spec)
        for mount in children(container, "volumeMounts")
        if mount["name"] in modes and (found := _fault(container, pod_spec, modes[mount["name"]])) is not None
    ]
    return min(faults, key=lambda fault: fault.severity is not Severity.FAIL, default=None)


def _key_modes(pod_spec: Json, secret_name: str) -> Iterator[tuple[str, int]]:
    for volume in children(pod_spec, "volumes"):
        default = (volume.get("projected") or volume.get("secret") or {}).get("defaultMode")
        for source in sources_of(volume, secret_name):
            if path_of(source, PRIVATE_KEY) is None:
                continue
            own = next((item.get("mode") for item in children(source, "items") if item["key"] == PRIVATE_KEY), None)
            yield volume["name"], next((mode for mode in (own, default) if mode is not None), DEFAULT_MODE)


def _fault(container: Json, pod_spec: Json, mode: int) -> Finding | None:
    runs_as = _user(container, pod_spec)
    if mode & OTHERS_READ:
        return None
    of_roots_group = ROOT in runs_as.groups or runs_as.group in {None, ROOT}
    if runs_as.user in {None, ROOT}:
        message = (
            f"A server that reads its key as another user than root cannot: {PRIVATE_KEY} has mode {mode:04o} in "
            f"container {container['name']}, and the pod no securityContext.fsGroup."
        )
        return Finding(Reason.KEY_UNREADABLE, message, Severity.WARN)
    if mode & GROUP_READS and of_roots_group:
        return None
    message = (
        f"Container {container['name']} runs as user {runs_as.user} and cannot read {PRIVATE_KEY}, which belongs to "
        f"root with mode {mode:04o}: set securityContext.fsGroup of the pod to the server's group, which may then read "
        "it (mode 0440)."
    )
    return Finding(Reason.KEY_UNREADABLE, message)


def _user(container: Json, pod_spec: Json) -> _User:
    of_pod, own = pod_spec.get("securityContext") or {}, container.get("securityContext") or {}
    return _User(
        user=own.get("runAsUser", of_pod.get("runAsUser")),
        group=own.get("runAsGroup", of_pod.get("runAsGroup")),
        groups=frozenset(of_pod.get("supplementalGroups") or ()),
    )
