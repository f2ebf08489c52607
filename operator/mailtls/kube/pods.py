"""Pods: when their containers started, and which Services lead to them."""

from collections.abc import Iterator
from datetime import datetime
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


def children(parent: Json, *keys: str) -> list[Json]:
    """Return the list at `keys`, empty where any part is missing or null, as the API server may leave it."""
    value: Any = parent
    for key in keys:
        value = (value or {}).get(key)
    return value or []


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


def time_of(written: str | None) -> datetime | None:
    """Read a time of the API server."""
    return datetime.fromisoformat(written) if written else None
