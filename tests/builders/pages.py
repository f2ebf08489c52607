"""Mail servers as the status page shows them: a few with every kind of trouble, or thousands."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from builders.resources import resource
from mailtls.api.reading.document import Json
from mailtls.api.resource_view import ResourceView
from mailtls.kube.resource_views import view
from mailtls.times import format_rfc3339, parse_rfc3339

NOW: Final = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
HOSTILE: Final = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u202e&amp;\x00"
_NEW, _OLD = "ab" * 32, "cd" * 32


def _certificate(days: float, life: float = 90) -> dict[str, str]:
    ends = NOW + timedelta(days=days)
    begins = ends - timedelta(days=life)
    return {
        "serialNumber": "04:3f:9a:61:bc:02:77:1e:55:90:aa:01:9c:e4:0d:12:6b:f8",
        "issuer": "CN=E7,O=Let's Encrypt,C=US",
        "fingerprintSHA256": _NEW,
        "notBefore": format_rfc3339(begins),
        "notAfter": format_rfc3339(ends),
        "renewalTime": format_rfc3339(ends - timedelta(days=life / 3)),
    }


def _port(pod: str, port: int, **other: Any) -> dict[str, Any]:
    return {
        "from": "Pods",
        "pod": pod,
        "port": port,
        "address": f"10.42.0.{7 + int(pod[-1])}",
        "result": "OK",
        "tlsVersion": "TLSv1.3",
        "cipher": "TLS_AES_256_GCM_SHA384",
        "servedFingerprintSHA256": _NEW,
        "servedNotAfter": format_rfc3339(NOW + timedelta(days=84)),
        "checkedAt": "2026-11-30T11:47:12Z",
        **other,
    }


_STALE: Final = {
    "result": "Fail",
    "reason": "ServingOldCertificate",
    "message": "postfix-1:465 still serves the certificate with serial 03:aa, which is not the stored one. Postfix "
    "keeps what it has read: run postfix reload.",
    "servedFingerprintSHA256": _OLD,
    "servedNotAfter": "2026-12-13T09:00:00Z",
}
_WEAK: Final = {
    "result": "Warn",
    "reason": "LegacyTlsEnabled",
    "message": "TLS 1.1 is still accepted.",
    "tlsVersion": "TLSv1.2",
}
_PAST: Final = [
    {
        "time": "2026-11-24T15:00:00Z",
        "event": "Issued",
        "message": "A certificate for mx1.example.com, until 2027-02-22.",
    },
    {
        "time": "2026-11-24T15:02:11Z",
        "event": "RolledOut",
        "message": "All 3 pods have it.",
        "serialNumber": "04:3f:9a",
    },
]


def named(made: Json, name: str, namespace: str = "mail", *hosts: str) -> Json:
    """The resource under another name."""
    made["metadata"] |= {"name": name, "namespace": namespace}
    made["spec"] |= {"dnsNames": list(hosts) or [f"{name}.example.com"], "secretName": f"{name}-tls"}
    return made


def troubled_as_json() -> Json:
    """Three pods with four ports, one of which serves an old certificate."""
    ports = [_port(f"postfix-{pod}", port) for pod in range(3) for port in (25, 465, 587, 993)]
    ports[5] |= _STALE
    ports[6] |= _WEAK
    rollout = {"workloads": [{"workload": "StatefulSet/postfix", "pods": 3, "proven": 2, "inFlight": 1}]}
    made = resource("Verified", "ServingOldCertificate", endpoints=ports, history=_PAST, rollout=rollout)
    made["status"] |= {"certificate": _certificate(84), "served": "11/12", "endpointsServed": 11, "endpointsTotal": 12}
    conditions = made["status"]["conditions"]
    for condition in conditions:
        if condition["status"] == "False":
            condition["message"] = str(_STALE["message"])
    ready = next(each for each in conditions if each["type"] == "Ready")
    conditions.append(ready | {"type": "Stalled", "status": "True"})
    return named(made, "mx1", "mail", "mx1.example.com", "mail.example.com", "smtp.example.com")


def refused_as_json() -> Json:
    """No certificate at all: the CA could not validate a name."""
    attempts = {
        "failed": 3,
        "reason": "DnsNotPropagated",
        "message": "ns2.example.net never had the record.",
        "lastFailureTime": "2026-11-30T11:00:00Z",
        "nextAttemptTime": "2026-11-30T13:00:00Z",
    }
    made = resource("Issued", "DnsNotPropagated", attempts=attempts, certificate=None, served=None)
    return named(made, "relay", "team-a", "relay.team-a.example")


def few_as_json() -> list[Json]:
    """One of each kind."""
    well, late, short, fresh = (resource() for _ in range(4))
    well["status"]["certificate"] = _certificate(84)
    late["status"]["certificate"] = _certificate(9)
    short["status"]["certificate"] = _certificate(5, 6)
    fresh["status"] = {}
    paused = resource()
    paused["spec"]["suspend"] = True
    paused["status"]["certificate"] = _certificate(-3)
    return [
        troubled_as_json(),
        refused_as_json(),
        named(well, "mx2"),
        named(late, "imap", "mail", "imap.a-department-with-quite-a-long-name.example.com"),
        named(short, "submission", "team-b"),
        named(fresh, "new", "team-b"),
        named(paused, "archive", "team-b"),
    ]


def hostile_as_json() -> Json:
    """One whose every text is an attack on the page."""
    bad = {"reason": "ServingOldCertificate", "message": HOSTILE}
    port = _port("postfix-0", 25, result="Fail", **bad, tlsVersion=HOSTILE, cipher=HOSTILE, address=HOSTILE)
    made = resource("Verified", endpoints=[port], served=HOSTILE)
    made["status"]["certificate"] = _certificate(84) | {"issuer": HOSTILE, "serialNumber": HOSTILE}
    made["status"]["history"] = [{"time": "2026-11-24T15:00:00Z", "event": "Issued", "message": HOSTILE}]
    finding = {"reason": "MtaStsMissing", "severity": "Fail", "message": HOSTILE}
    made["status"]["domains"] = [{"name": HOSTILE, "checkedAt": "2026-11-24T15:00:00Z", "findings": [finding]}]
    for condition in made["status"]["conditions"]:
        condition["message"] = HOSTILE
    return named(made, "evil", "tenant", HOSTILE)


def many_as_json(number: int) -> list[Json]:
    """So many, one in forty in trouble, each with twelve ports."""
    made = []
    for index in range(number):
        whole = resource("Verified" if index % 40 == 0 else "", "ServingOldCertificate")
        whole["status"]["certificate"] = _certificate(index % 89 + 1)
        ports = [_port(f"postfix-{pod}", port) for pod in range(3) for port in (25, 465, 587, 993)]
        whole["status"]["endpoints"] = ports
        made.append(named(whole, f"mx-{index:05}", f"team-{index % 50:02}"))
    return made


def moved(part: Any, by: timedelta) -> Any:
    """The same resources as if it were so much later, for a program whose clock is the real one."""
    if isinstance(part, dict):
        return {name: moved(each, by) for name, each in part.items()}
    if isinstance(part, list):
        return [moved(each, by) for each in part]
    is_time = isinstance(part, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", part)
    return format_rfc3339(parse_rfc3339(part) + by) if is_time else part


def views(resources: Iterable[Json]) -> tuple[ResourceView, ...]:
    """These resources as they are shown, by namespace and name."""
    return tuple(sorted(map(view, resources), key=lambda each: each.key))


def troubled() -> ResourceView:
    """A server of which one port serves an old certificate."""
    return view(troubled_as_json())


def few() -> tuple[ResourceView, ...]:
    """One of each kind."""
    return views(few_as_json())


def hostile() -> ResourceView:
    """One whose every text is an attack on the page."""
    return view(hostile_as_json())


def many(number: int) -> tuple[ResourceView, ...]:
    """So many, of all kinds."""
    return views(many_as_json(number))
