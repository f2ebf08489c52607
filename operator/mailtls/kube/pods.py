"""Pods: where their containers read the certificate, and which Services lead to them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from mailtls.api.reading.document import Json
from mailtls.kube.interface import Cluster
from mailtls.kube.workload import Service, ServicePort

_HEADLESS: Final = "None"


def services(cluster: Cluster, namespace: str) -> tuple[Service, ...]:
    """List them; raises what the `Cluster` raises. One without a selector, or with another's name, leads to no pods."""
    found = cluster.list(f"/api/v1/namespaces/{namespace}/services")
    return tuple(parse(each) for each in found if each["spec"].get("selector") and not _is_alias(each))


def parse(service: Json) -> Service:
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


CERTIFICATE_KEY = "tls.crt"


@dataclass(frozen=True, slots=True)
class Mount:
    """Where one container reads the certificate; a `sub_path` mount keeps its first content for ever."""

    container: str
    path: str
    sub_path: bool


def children(parent: Json, *keys: str) -> list[Json]:
    """Return the list at `keys`, empty where any part is missing or null, as the API server may leave it."""
    value: Any = parent
    for key in keys:
        value = (value or {}).get(key)
    return value or []


def certificate_mounts(pod_spec: Json, secret_name: str) -> tuple[Mount, ...]:
    """List the containers that mount the certificate and can be reloaded, updating mounts first."""
    files = dict(_certificate_files(pod_spec, secret_name))
    found = [
        mount
        for container in running_containers(pod_spec)
        for mount_json in children(container, "volumeMounts")
        if (mount := _mount(container["name"], mount_json, files)) is not None
    ]
    return tuple(sorted(found, key=lambda mount: mount.sub_path))


def running_containers(pod_spec: Json) -> list[Json]:
    """Return the containers that live as long as the pod: its own, then its sidecars."""
    sidecars = [init for init in children(pod_spec, "initContainers") if init.get("restartPolicy") == "Always"]
    return children(pod_spec, "containers") + sidecars


def mentions_secret(pod_spec: Json, secret_name: str) -> bool:
    """Whether a fresh pod would read the Secret in any way, so that a restart can bring it in."""
    if any(True for _ in _certificate_files(pod_spec, secret_name)):
        return True
    containers = children(pod_spec, "containers") + children(pod_spec, "initContainers")
    return any(secret_name in _environment_secrets(container) for container in containers)


def _environment_secrets(container: Json) -> Iterator[str]:
    for source in children(container, "envFrom"):
        yield (source.get("secretRef") or {}).get("name", "")
    for variable in children(container, "env"):
        yield ((variable.get("valueFrom") or {}).get("secretKeyRef") or {}).get("name", "")


def _certificate_files(pod_spec: Json, secret_name: str) -> Iterator[tuple[str, str]]:
    """Yield the names of volumes that hold the certificate, each with its path inside the volume."""
    for volume in children(pod_spec, "volumes"):
        sources = [source["secret"] for source in children(volume, "projected", "sources") if source.get("secret")]
        if volume.get("secret"):
            sources.append(volume["secret"])
        for source in sources:
            path = _path_in_volume(source)
            if secret_name in (source.get("secretName"), source.get("name")) and path is not None:
                yield volume["name"], path


def _path_in_volume(source: Json) -> str | None:
    items = children(source, "items")
    if not items:
        return CERTIFICATE_KEY
    return next((item["path"] for item in items if item["key"] == CERTIFICATE_KEY), None)


def _mount(container: str, mount: Json, files: dict[str, str]) -> Mount | None:
    file = files.get(mount["name"])
    if file is None:
        return None
    base = mount["mountPath"].rstrip("/")
    sub_path = (mount.get("subPath") or mount.get("subPathExpr") or "").strip("/")
    if not sub_path:
        return Mount(container, f"{base}/{file}", sub_path=False)
    if sub_path == file:
        return Mount(container, base, sub_path=True)
    if file.startswith(f"{sub_path}/"):
        return Mount(container, f"{base}/{file.removeprefix(f'{sub_path}/')}", sub_path=True)
    return None
