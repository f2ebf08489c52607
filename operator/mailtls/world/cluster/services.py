"""Reads the Services of a namespace that lead to pods by a selector."""

from collections.abc import Iterator
from typing import Final

from mailtls.model.service import Service, ServicePort
from mailtls.world.cluster.mounts import children
from mailtls.world.ports import Cluster, Json

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
