"""A `MailServerTLS` as JSON for programs: what `mailtls status --json` and the status page write.

Fields are added; none is removed, and none changes its meaning.
"""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from mailtls.api.resource_view import CertificateLine, EndpointLine, ResourceView
from mailtls.api.status import Condition, ConditionType, DomainReport
from mailtls.times import format_rfc3339


def resources_json(views: Iterable[ResourceView]) -> str:
    """Write `{"resources": [...]}`; what is not known is null, times are RFC 3339 in UTC."""
    return json.dumps({"resources": [resource_as_json(view) for view in views]}, indent=2) + "\n"


def resource_as_json(view: ResourceView) -> dict[str, Any]:
    """Return all that is shown of one resource."""
    ready, obstacle, attempts = view.status.condition(ConditionType.READY), view.obstacle, view.status.attempts
    return {
        "namespace": view.key.namespace,
        "name": view.key.name,
        "host": view.host or None,
        "dnsNames": list(view.names),
        "secretName": view.secret_name or None,
        "ready": view.is_ready,
        "reason": str(ready.reason) if ready else None,
        "suspended": view.is_suspended,
        "obstacle": None if view.is_ready or obstacle is None else _condition(obstacle),
        "createdAt": _time(view.created_at),
        "expiresAt": _time(view.expires_at),
        "renewsAt": _time(view.renews_at),
        "certificate": _certificate(view.certificate) if view.certificate else None,
        "served": view.served or None,
        "endpointsServed": view.served_count.served if view.served_count else None,
        "endpointsTotal": view.served_count.total if view.served_count else None,
        "conditions": [_condition(each) for each in view.status.conditions],
        "endpoints": [_endpoint(each) for each in view.endpoints],
        "domains": [_domain(each) for each in view.status.domains],
        "attempts": attempts
        and {
            "failed": attempts.failed,
            "reason": str(attempts.reason),
            "message": attempts.message,
            "nextAttemptAt": _time(attempts.next_attempt_at),
        },
        "history": [
            {
                "at": _time(each.at),
                "event": str(each.event),
                "message": each.message,
                "serialNumber": each.serial_number,
            }
            for each in view.status.history
        ],
    }


def _condition(condition: Condition) -> dict[str, Any]:
    return {
        "type": str(condition.type),
        "status": str(condition.status),
        "reason": str(condition.reason),
        "message": condition.message,
        "since": _time(condition.transitioned_at),
    }


def _endpoint(endpoint: EndpointLine) -> dict[str, Any]:
    return {
        "server": endpoint.server,
        "address": endpoint.address or None,
        "port": endpoint.port,
        "result": endpoint.result or None,
        "reason": endpoint.reason or None,
        "message": endpoint.message or None,
        "tlsVersion": endpoint.tls_version or None,
        "cipher": endpoint.cipher or None,
        "servedFingerprintSHA256": endpoint.sha256 or None,
        "servesUntil": _time(endpoint.not_after),
        "checkedAt": _time(endpoint.checked_at),
    }


def _certificate(certificate: CertificateLine) -> dict[str, Any]:
    return {
        "serialNumber": certificate.serial_number or None,
        "issuer": certificate.issuer or None,
        "fingerprintSHA256": certificate.sha256 or None,
        "notBefore": _time(certificate.not_before),
    }


def _domain(report: DomainReport) -> dict[str, Any]:
    return {
        "name": report.name,
        "checkedAt": _time(report.checked_at),
        "findings": [
            {"severity": str(each.severity), "reason": str(each.reason), "message": each.message}
            for each in report.findings
        ],
    }


def _time(moment: datetime | None) -> str | None:
    return format_rfc3339(moment) if moment else None
