"""How a certificate comes into a pod: by files that follow the Secret, or by what stays as it was at its start.

And whether a container's user can read the mounted key, judged by modes and users in the pod's spec.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from mailtls.api.reading.document import Json
from mailtls.kube.workload import children
from mailtls.reasons.reason import Finding, Reason, Severity

CERTIFICATE_KEY: Final = "tls.crt"
STORE_DRIVER: Final = "secrets-store.csi.k8s.io"
ISSUING_DRIVER: Final = "csi.cert-manager.io"
STARTS_ANEW: Final = "set updateStrategy: Restart or Evict"
KEPT_SINCE_START: Final = frozenset(
    {
        Reason.SUB_PATH_MOUNT,
        Reason.SECRET_COPIED_AT_START,
        Reason.SECRET_IN_ENVIRONMENT,
        Reason.SECRET_IMMUTABLE,
    }
)
"""Why a reload finds what was there when the pod started: it matters once that is an older certificate."""


@dataclass(frozen=True, slots=True)
class Mount:
    """Where one container reads the certificate; a `sub_path` mount keeps its first content for ever."""

    container: str
    path: str
    sub_path: bool


def certificate_mounts(pod_spec: Json, secret_name: str) -> tuple[Mount, ...]:
    """List the containers that mount the certificate and can be reloaded, updating mounts first."""
    found = (mount for each in running_containers(pod_spec) for mount in _mounts_in(each, pod_spec, secret_name))
    return tuple(sorted(found, key=lambda mount: mount.sub_path))


def running_containers(pod_spec: Json) -> list[Json]:
    """Return the containers that live as long as the pod: its own, then its sidecars."""
    sidecars = [init for init in children(pod_spec, "initContainers") if init.get("restartPolicy") == "Always"]
    return children(pod_spec, "containers") + sidecars


def comes_in_at_start(pod_spec: Json, secret_name: str) -> bool:
    """Whether a fresh pod would read the Secret in any way, so that a restart can bring it in.

    So it is where the driver of the secrets store mounts: it reads the store from which the Secret comes at each start.
    """
    if any(True for _ in certificate_files(pod_spec, secret_name)) or _mounted_driver(pod_spec) == STORE_DRIVER:
        return True
    containers = children(pod_spec, "containers") + children(pod_spec, "initContainers")
    return any(secret_name in _environment_secrets(container) for container in containers)


def kept_since_start(subject: str, pod_spec: Json, secret_name: str, reloaded: Iterable[str]) -> Finding | None:
    """Say why a container to be reloaded has the certificate of the pod's start for ever; None where it has not.

    `reloaded` are the containers in which reload commands run; where it is empty, no running container mounts the
    certificate.
    """
    mounts, reloaded = certificate_mounts(pod_spec, secret_name), tuple(reloaded)
    if fixed := next((each for each in mounts if each.sub_path and each.container in reloaded), None):
        return sub_path_mount(subject, fixed.container, fixed.path)
    if copier := copier_of(pod_spec, reloaded, secret_name):
        return _copied(subject, copier, secret_name)
    users = [each["name"] for each in running_containers(pod_spec) if secret_name in _environment_secrets(each)]
    return _in_environment(subject, users[0], secret_name) if users and not mounts else None


def copier_of(pod_spec: Json, reloaded: Iterable[str], secret_name: str) -> str:
    """Name the init container whose copy a reloaded container reads; empty where there is none.

    It is one that mounts the Secret, where no running container does; or one that shares a volume with a container
    that does not mount the Secret, and no running container that does keeps this volume up to date.
    """
    live = [each for each in running_containers(pod_spec) if any(_mounts_in(each, pod_spec, secret_name))]
    kept = {volume for each in live for volume in _volumes(each)}
    readers = [each for each in running_containers(pod_spec) if each["name"] in set(reloaded) and each not in live]
    wanted = {volume for each in readers for volume in _volumes(each)} - kept
    copiers = [each for each in _copiers(pod_spec, secret_name) if not live or wanted & _volumes(each)]
    return str(copiers[0]["name"]) if copiers else ""


def init_copier(pod_spec: Json, secret_name: str) -> str:
    """Name the first init container that mounts the certificate, for whatever it does with it; empty where none is."""
    return next((str(each["name"]) for each in _copiers(pod_spec, secret_name)), "")


def _copiers(pod_spec: Json, secret_name: str) -> Iterator[Json]:
    for each in children(pod_spec, "initContainers"):
        if each.get("restartPolicy") != "Always" and any(_mounts_in(each, pod_spec, secret_name)):
            yield each


def _volumes(container: Json) -> set[str]:
    return {mount["name"] for mount in children(container, "volumeMounts")}


def sub_path_mount(subject: str, container: str, path: str) -> Finding:
    """Say why a mounted file stays as it was when the pod started."""
    message = (
        f"Container {container} of {subject} mounts {path} by subPath, which the kubelet never updates; "
        f"mount the whole volume, or {STARTS_ANEW}."
    )
    return Finding(Reason.SUB_PATH_MOUNT, message)


def immutable_secret(subject: str, secret_name: str) -> Finding:
    """Say why pods do not get another content of a Secret, not even fresh ones beside those that run."""
    message = (
        f"Secret {secret_name} is immutable: a kubelet keeps what it read first, for fresh pods too, while any pod of "
        f"its node mounts it. Have it written without immutable: true, then scale {subject} to zero and back; or "
        "mount a Secret of another name."
    )
    return Finding(Reason.SECRET_IMMUTABLE, message)


def not_mounted(subject: str, pod_spec: Json, secret_name: str) -> Finding:
    """Say that the certificate does not come into the pods, and what comes into them instead."""
    message = f"No container of {subject} mounts tls.crt of Secret {secret_name}; "
    match _mounted_driver(pod_spec):
        case "":
            message += "add it to the pod template as a volume, or correct spec.secretName."
        case driver if driver == ISSUING_DRIVER:
            message += (
                f"its CSI volume of {driver} has a certificate of its own for each pod, in no Secret, and renews it "
                "itself. Mount the Secret as a volume instead, or remove the workload from spec.workloads."
            )
        case driver if driver == STORE_DRIVER:
            message += (
                f"its CSI volume of {driver} is filled from the store, and not from the Secret. Mount the Secret as a "
                f"volume too, or {STARTS_ANEW}: a fresh pod reads the store."
            )
        case driver:
            message += f"its CSI volume of {driver} is no Secret. Mount the Secret as a volume instead."
    return Finding(Reason.SECRET_NOT_MOUNTED, message)


def _copied(subject: str, copier: str, secret_name: str) -> Finding:
    message = (
        f"Init container {copier} of {subject} copies Secret {secret_name} when a pod starts, and never again: "
        f"{STARTS_ANEW}, or let the server's settings name the mounted files."
    )
    return Finding(Reason.SECRET_COPIED_AT_START, message)


def _in_environment(subject: str, container: str, secret_name: str) -> Finding:
    message = (
        f"Container {container} of {subject} reads Secret {secret_name} from environment variables, which never change "
        f"in a running container: {STARTS_ANEW}, or mount the Secret as a volume."
    )
    return Finding(Reason.SECRET_IN_ENVIRONMENT, message)


def _mounted_driver(pod_spec: Json) -> str:
    """Name the driver of the first CSI volume that a container mounts; empty where there is none."""
    containers = children(pod_spec, "containers") + children(pod_spec, "initContainers")
    mounted = {volume for each in containers for volume in _volumes(each)}
    volumes = (each for each in children(pod_spec, "volumes") if each.get("csi") and each["name"] in mounted)
    return next((str(each["csi"].get("driver", "")) for each in volumes), "")


def _environment_secrets(container: Json) -> Iterator[str]:
    for source in children(container, "envFrom"):
        yield (source.get("secretRef") or {}).get("name", "")
    for variable in children(container, "env"):
        yield ((variable.get("valueFrom") or {}).get("secretKeyRef") or {}).get("name", "")


def certificate_files(pod_spec: Json, secret_name: str) -> Iterator[tuple[str, str]]:
    """Yield the names of volumes that hold the certificate, each with its path inside the volume."""
    for volume in children(pod_spec, "volumes"):
        for source in sources_of(volume, secret_name):
            path = path_of(source, CERTIFICATE_KEY)
            if path is not None:
                yield volume["name"], path


def sources_of(volume: Json, secret_name: str) -> list[Json]:
    """Return the parts of a volume that come from the Secret, each with its `items`."""
    found = [source["secret"] for source in children(volume, "projected", "sources") if source.get("secret")]
    if volume.get("secret"):
        found.append(volume["secret"])
    return [each for each in found if secret_name in (each.get("secretName"), each.get("name"))]


def path_of(source: Json, key: str) -> str | None:
    """Return where an entry of the Secret stands in the volume; None where `items` leave it out."""
    items = children(source, "items")
    return next((item["path"] for item in items if item["key"] == key), None) if items else key


def _mounts_in(container: Json, pod_spec: Json, secret_name: str) -> Iterator[Mount]:
    files = dict(certificate_files(pod_spec, secret_name))
    for mount in children(container, "volumeMounts"):
        if mount["name"] in files and (found := _mount(container["name"], mount, files[mount["name"]])) is not None:
            yield found


def _mount(container: str, mount: Json, file: str) -> Mount | None:
    base = mount["mountPath"].rstrip("/")
    sub_path = (mount.get("subPath") or mount.get("subPathExpr") or "").strip("/")
    if not sub_path:
        return Mount(container, f"{base}/{file}", sub_path=False)
    if sub_path == file:
        return Mount(container, base, sub_path=True)
    if file.startswith(f"{sub_path}/"):
        return Mount(container, f"{base}/{file.removeprefix(f'{sub_path}/')}", sub_path=True)
    return None


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
