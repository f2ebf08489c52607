"""Reads resources for people; forgives everything, because a status of another version must still be shown."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any

from mailtls.api.reading.document import Json, Node
from mailtls.api.reading.rollout import is_paused
from mailtls.api.resource import Request, annotations_of, resource_path, resources_path
from mailtls.api.resource_view import CertificateLine, EndpointLine, ResourceView
from mailtls.api.spec import Key
from mailtls.api.status import ServedCount
from mailtls.api.status_json import read
from mailtls.kube.interface import Cluster
from mailtls.reasons.pages import docs_address
from mailtls.times import parse_rfc3339


def find(cluster: Cluster, key: Key) -> ResourceView | None:
    """Return one resource, None when it does not exist; raises what the `Cluster` raises."""
    found = cluster.get(resource_path(key))
    return None if found is None else view(found)


def find_all(cluster: Cluster, namespace: str | None) -> tuple[ResourceView, ...]:
    """Return the resources of a namespace, or of all of them for None, by namespace and name."""
    found = (view(resource) for resource in cluster.list(resources_path(namespace)))
    return tuple(sorted(found, key=lambda each: each.key))


def view(resource: Json) -> ResourceView:
    """Make a view of a resource's JSON."""
    metadata, status = resource["metadata"], _object(resource.get("status"))
    certificate = _object(status.get("certificate"))
    spec = _object(resource.get("spec"))
    names = spec.get("dnsNames")
    return ResourceView(
        key=Key(metadata["namespace"], metadata["name"]),
        names=tuple(map(str, names)) if isinstance(names, list) else (),
        created_at=_time(metadata.get("creationTimestamp")),
        generation=int(metadata.get("generation", 0)),
        is_suspended=spec.get("suspend") is True,
        is_external=spec.get("external") is not None,
        is_paused=is_paused(Node("metadata.annotations", annotations_of(resource))),
        status=read(status),
        served=_text(status.get("served")),
        served_count=_served_count(status),
        expires_at=_time(certificate.get("notAfter")),
        renews_at=_time(certificate.get("renewalTime")),
        certificate=_certificate(certificate),
        secret_name=_text(spec.get("secretName")),
        endpoints=tuple(_endpoints(status.get("endpoints"))),
        handled={each: value for each in Request if isinstance(value := status.get(each.last_handled), str)},
        docs_url=_docs_url(status.get("docsURL")),
    )


def _docs_url(value: Any) -> str:
    """Take no address that the operator would not have taken: it becomes a link."""
    with suppress(ValueError):
        return docs_address(_text(value))
    return ""


def _endpoints(items: Any) -> Iterator[EndpointLine]:
    for item in items if isinstance(items, list) else ():
        with suppress(KeyError, ValueError, TypeError, AttributeError):
            yield EndpointLine(
                server=_server(item),
                port=int(item["port"]),
                address=_text(item.get("address")),
                result=_text(item.get("result")),
                reason=_text(item.get("reason")),
                message=_text(item.get("message")),
                tls_version=_text(item.get("tlsVersion")),
                not_after=_time(item.get("servedNotAfter")),
                sha256=_text(item.get("servedFingerprintSHA256")),
                cipher=_text(item.get("cipher")),
                checked_at=_time(item.get("checkedAt")),
            )


def _certificate(item: Json) -> CertificateLine | None:
    serial, issuer, sha256 = (_text(item.get(name)) for name in ("serialNumber", "issuer", "fingerprintSHA256"))
    return CertificateLine(serial, issuer, sha256, _time(item.get("notBefore"))) if item else None


def _server(item: Json) -> str:
    """Say it as `Target.label` does; an endpoint without the names that we know is none."""
    if "pod" in item:
        return str(item["pod"])
    name = _text(item.get("service")) or _text(item.get("host"))
    return f"{item['from']}/{name}".rstrip("/")


def _served_count(status: Json) -> ServedCount | None:
    """An older operator wrote the column alone, without the numbers."""
    numbers = status.get("endpointsServed"), status.get("endpointsTotal")
    served, total = (each if isinstance(each, int) and not isinstance(each, bool) else None for each in numbers)
    return None if served is None or total is None else ServedCount(served, total)


def _object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _time(value: Any) -> datetime | None:
    try:
        return parse_rfc3339(value) if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None
