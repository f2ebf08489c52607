"""The status subresource as JSON, both ways. Reading never fails: a status is a report, never an input."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from mailtls.api.reading.document import Json
from mailtls.api.resource import Request
from mailtls.api.status import (
    Attempts,
    Condition,
    ConditionType,
    DomainReport,
    HistoryEntry,
    OpenOrder,
    Report,
    RolloutReport,
    Schedule,
    Status,
    Stored,
    Truth,
    WorkloadReport,
)
from mailtls.pki.certificate import Certificate
from mailtls.probe.target import Endpoint, Route
from mailtls.reasons.reason import Finding, Reason, Severity
from mailtls.times import format_rfc3339, parse_rfc3339

ENDPOINTS_SHOWN = 100
HISTORY_SHOWN = 10
FINDINGS_SHOWN = 10  # of one domain


def read(status: Json) -> Status:
    """Read what the last reconcile reported; a part that cannot be read counts as absent."""
    return Status(
        conditions=tuple(_many(_condition, status.get("conditions"))),
        attempts=next(_many(_attempts, [status.get("attempts")]), None),
        schedule=next(_many(_schedule, [status.get("certificate")]), None),
        history=tuple(_many(_history, status.get("history"))),
        handled_probe=_text(status.get(Request.PROBE.last_handled)),
        deep_probed_at=next(_many(parse_rfc3339, [status.get("deepProbeTime")]), None),
        has_order=bool(status.get("order")),
        stored=next(_many(_stored, [status.get("secret")]), None),
        domains=tuple(_many(_domain, status.get("domains"))),
        rollout=next(_many(_rollout, [status.get("rollout")]), None),
    )


def _many(reader: Any, items: Any) -> Any:
    for item in items if isinstance(items, list) else ():
        with suppress(KeyError, ValueError, TypeError, AttributeError):
            yield reader(item)


def _condition(item: Json) -> Condition:
    return Condition(
        ConditionType(item["type"]),
        Truth(item["status"]),
        Reason(item["reason"]),
        item["message"],
        parse_rfc3339(item["lastTransitionTime"]),
        int(item.get("observedGeneration", 0)),
    )


def _attempts(item: Json) -> Attempts:
    upcoming = item.get("nextAttemptTime")
    return Attempts(
        failed=int(item["failed"]),
        reason=Reason(item["reason"]),
        message=item["message"],
        last_failure_at=parse_rfc3339(item["lastFailureTime"]),
        next_attempt_at=parse_rfc3339(upcoming) if upcoming else None,
        observed_generation=int(item.get("observedGeneration", 0)),
        observed_renew=item.get("observedRenew"),
    )


def _schedule(item: Json) -> Schedule:
    window = item.get("ari") or {}
    return Schedule(
        sha256=item["fingerprintSHA256"],
        renewal_at=parse_rfc3339(item["renewalTime"]),
        window_start=parse_rfc3339(window["windowStart"]) if window else None,
        window_end=parse_rfc3339(window["windowEnd"]) if window else None,
        explanation_url=window.get("explanationURL"),
    )


def _stored(item: Json) -> Stored:
    begins, ends = (parse_rfc3339(item[name]) if name in item else None for name in ("notBefore", "notAfter"))
    is_trial, is_verified = bool(item.get("staging")), bool(item.get("verified"))
    proven_in = tuple(map(str, item.get("provenIn") or ()))
    return Stored(
        item["name"], item.get("uid"), item["fingerprintSHA256"], begins, ends, is_trial, is_verified, proven_in
    )


def _history(item: Json) -> HistoryEntry:
    return HistoryEntry(parse_rfc3339(item["time"]), Reason(item["event"]), item["message"], item.get("serialNumber"))


def _domain(item: Json) -> DomainReport:
    return DomainReport(item["name"], parse_rfc3339(item["checkedAt"]), tuple(_many(_finding, item.get("findings"))))


def _finding(item: Json) -> Finding:
    return Finding(Reason(item["reason"]), item["message"], Severity(item["severity"]))


def _rollout(item: Json) -> RolloutReport:
    reason, until = item.get("waitingFor"), item.get("waitingUntil")
    return RolloutReport(
        tuple(_many(_workload, item["workloads"])),
        Reason(reason) if reason else None,
        parse_rfc3339(until) if until else None,
    )


def _workload(item: Json) -> WorkloadReport:
    return WorkloadReport(item["workload"], *(int(item[name]) for name in ("pods", "proven", "inFlight")))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def write(report: Report) -> Json:
    """Write the whole status; keys that are None are removed."""
    served = report.served
    return (
        write_conditions(report.generation, report.conditions, report.docs_url)
        | {
            "certificate": _certificate_json(report.certificate, report.schedule) if report.certificate else None,
            "secret": _stored_json(report.stored),
            "order": _order_json(report.order),
            "attempts": _attempts_json(report.attempts),
            "endpoints": [_endpoint_json(each) for each in report.endpoints[:ENDPOINTS_SHOWN]] or None,
            "deepProbeTime": format_rfc3339(report.deep_probed_at) if report.deep_probed_at else None,
            "served": str(served) if served else None,
            "endpointsServed": served.served if served else None,
            "endpointsTotal": served.total if served else None,
            "rollout": _rollout_json(report.rollout),
            "domains": [_domain_json(each) for each in report.domains] or None,
            "history": [_history_json(each) for each in report.history[-HISTORY_SHOWN:]] or None,
        }
        | {each.last_handled: report.handled.get(each) for each in Request}
    )


def write_conditions(generation: int, conditions: Iterable[Condition], docs_url: str | None = None) -> Json:
    """Write what is said of a spec of this generation, and where it is explained; no more."""
    said = [_condition_json(each) for each in conditions]
    return {"observedGeneration": generation, "conditions": said, "docsURL": docs_url}


def _present(fields: Json) -> Json:
    return {name: value for name, value in fields.items() if value is not None}


def _condition_json(condition: Condition) -> Json:
    return {
        "type": str(condition.type),
        "status": str(condition.status),
        "reason": str(condition.reason),
        "message": condition.message,
        "lastTransitionTime": format_rfc3339(condition.transitioned_at),
        "observedGeneration": condition.observed_generation,
    }


def _certificate_json(certificate: Certificate, schedule: Schedule | None) -> Json:
    known = schedule if schedule and schedule.sha256 == certificate.sha256 else None
    window = None
    if known and known.window_start and known.window_end:
        window = {
            "windowStart": format_rfc3339(known.window_start),
            "windowEnd": format_rfc3339(known.window_end),
            "explanationURL": known.explanation_url,
        }
    return {
        "serialNumber": certificate.serial_number,
        "fingerprintSHA256": certificate.sha256,
        "spkiSHA256": certificate.spki_sha256,
        "issuer": certificate.issuer,
        "notBefore": format_rfc3339(certificate.not_before),
        "notAfter": format_rfc3339(certificate.not_after),
        "renewalTime": format_rfc3339(known.renewal_at) if known else None,
        "ari": window,
    }


def _stored_json(stored: Stored | None) -> Json | None:
    if stored is None:
        return None
    dates = {"notBefore": stored.not_before, "notAfter": stored.not_after}
    return {
        "name": stored.name,
        "uid": stored.uid,
        "fingerprintSHA256": stored.sha256,
        # A merge patch takes nothing away but what is null.
        **{name: format_rfc3339(at) if at is not None else None for name, at in dates.items()},
        "staging": stored.is_trial or None,
        "verified": stored.is_verified or None,
        "provenIn": list(stored.proven_in) or None,
    }


def _order_json(order: OpenOrder | None) -> Json | None:
    return _present({"url": order.url, "since": format_rfc3339(order.since)}) if order else None


def _attempts_json(attempts: Attempts | None) -> Json | None:
    if attempts is None:
        return None
    upcoming = attempts.next_attempt_at
    return {
        "failed": attempts.failed,
        "reason": str(attempts.reason),
        "message": attempts.message,
        "lastFailureTime": format_rfc3339(attempts.last_failure_at),
        "nextAttemptTime": format_rfc3339(upcoming) if upcoming else None,
        "observedGeneration": attempts.observed_generation,
        "observedRenew": attempts.observed_renew,
    }


_NAMED = {Route.PODS: "pod", Route.SERVICE: "service", Route.PUBLIC: "host"}


def _endpoint_json(endpoint: Endpoint) -> Json:
    failure = endpoint.failure
    finding = failure or next(iter(endpoint.findings), None)
    result = "Fail" if failure else "Warn" if finding else "OK"
    fields = {
        "from": str(endpoint.target.route),
        _NAMED[endpoint.target.route]: endpoint.target.pod or None,
        "workload": endpoint.target.workload or None,
        "address": endpoint.target.address or None,
        "port": endpoint.target.port.port,
        "servedFingerprintSHA256": endpoint.served_sha256,
        "servedNotAfter": format_rfc3339(endpoint.served_not_after) if endpoint.served_not_after else None,
        "tlsVersion": endpoint.tls_version,
        "cipher": endpoint.cipher,
        "result": result,
        "reason": str(finding.reason) if finding else None,
        "message": finding.message if finding else None,
        "checkedAt": format_rfc3339(endpoint.checked_at),
    }
    return _present(fields)


def _rollout_json(rollout: RolloutReport | None) -> Json | None:
    if rollout is None:
        return None
    until = rollout.waiting_until
    return {
        # A merge patch takes nothing away but what is null.
        "waitingFor": str(rollout.waiting_for) if rollout.waiting_for else None,
        "waitingUntil": format_rfc3339(until) if until else None,
        "workloads": [
            {
                "workload": each.workload,
                "pods": each.pods,
                "proven": each.proven,
                "inFlight": each.in_flight,
                "waiting": each.waiting,
            }
            for each in rollout.workloads
        ],
    }


def _domain_json(report: DomainReport) -> Json:
    shown = [
        {"reason": str(each.reason), "severity": str(each.severity), "message": each.message}
        for each in report.findings[:FINDINGS_SHOWN]
    ]
    return {"name": report.name, "checkedAt": format_rfc3339(report.checked_at), "findings": shown}


def _history_json(entry: HistoryEntry) -> Json:
    fields = {"time": format_rfc3339(entry.at), "event": str(entry.event), "message": entry.message}
    return _present(fields | {"serialNumber": entry.serial_number})
