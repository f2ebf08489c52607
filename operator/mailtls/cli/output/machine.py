"""The report for programs: JSON of a stable shape, described by `survey.schema.json` beside this module.

Fields are added within a version; a field that changes its meaning or goes away makes a new `schemaVersion`.
"""

import json
from datetime import datetime
from importlib.resources import files
from typing import Any, Final

from mailtls import __version__
from mailtls.cli.output.words import advice_on, days_left, explanation, safe
from mailtls.cli.results import Omitted, Probed, Survey, SurveyedDomain, Verdict
from mailtls.pki.served_certificate import ServedCertificate, key_band, read_served
from mailtls.reasons.reason import Finding
from mailtls.times import format_rfc3339

SCHEMA_VERSION: Final = 2


def json_report(survey: Survey, *, strict: bool = False) -> str:
    """Write the survey as JSON, ending in a line break; only ASCII, so that it passes through anything."""
    return json.dumps(as_json(survey, strict=strict), indent=2) + "\n"


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 7) that every report fits."""
    schema: dict[str, Any] = json.loads(files(__package__).joinpath("survey.schema.json").read_text("utf-8"))
    return schema


def as_json(survey: Survey, *, strict: bool = False) -> dict[str, Any]:
    """Return the survey as JSON knows it."""
    return {
        "schemaVersion": SCHEMA_VERSION,
        "mailtls": __version__,
        "startedAt": format_rfc3339(survey.started_at),
        "seconds": round(survey.took.total_seconds(), 3),
        "depth": str(survey.depth),
        "result": str(survey.verdict),
        "exitCode": int(survey.exit_code(strict=strict)),
        "counts": {verdict.lower(): survey.count(verdict) for verdict in (Verdict.OK, Verdict.WARN, Verdict.FAIL)},
        "domains": [_domain(domain) for domain in survey.domains],
        "endpoints": [_endpoint(probed) for probed in survey.endpoints],
        "unresolved": [_finding(finding, None) for finding in survey.unresolved],
        "omitted": [_omitted(omitted) for omitted in survey.omitted],
        "notOffered": [_omitted(omitted) for omitted in survey.not_offered],
    }


def _domain(domain: SurveyedDomain) -> dict[str, Any]:
    return {
        "domain": domain.name,
        "displayName": domain.display_name,
        "result": str(domain.verdict),
        "hosts": [safe(host) for host in domain.hosts],
        "published": [{"topic": topic, "text": safe(text)} for topic, text in domain.published],
        "findings": [_finding(finding, None) for finding in domain.findings],
    }


def _endpoint(probed: Probed) -> dict[str, Any]:
    endpoint, target = probed.endpoint, probed.endpoint.target
    chain = [read_served(der) for der in probed.facts.session.chain] if probed.facts.session else []
    return {
        "domain": probed.domain or None,
        "host": safe(target.pod),
        "address": target.address,
        "port": target.port.port,
        "protocol": str(target.port.protocol),
        "tlsMode": str(target.port.tls_mode),
        "tlsPolicy": str(target.port.tls_policy),
        "serverName": target.server_name,
        "checkedAt": format_rfc3339(endpoint.checked_at),
        "result": str(probed.verdict),
        "reason": str(endpoint.failure.reason) if endpoint.failure else None,
        "software": str(probed.software) if probed.software else None,
        "greeting": safe(probed.greeting) or None,
        "tlsVersion": endpoint.tls_version,
        "cipher": endpoint.cipher,
        "login": str(probed.login.outcome) if probed.login else None,
        "chain": [_certificate(each, endpoint.checked_at) for each in chain if each is not None],
        "findings": [_finding(finding, probed) for finding in endpoint.findings],
    }


def _certificate(served: ServedCertificate, now: datetime) -> dict[str, Any]:
    return {
        "subject": safe(served.subject),
        "issuer": safe(served.issuer),
        "names": [safe(name) for name in served.identities],
        "notBefore": format_rfc3339(served.not_before),
        "notAfter": format_rfc3339(served.not_after),
        "daysLeft": days_left(served.not_after, now),
        "fingerprintSHA256": served.sha256,
        "keyAlgorithm": served.key_kind,
        "keyBits": served.key_bits,
        "keyBand": key_band(served.key_kind, served.key_bits),
    }


def _finding(finding: Finding, probed: Probed | None) -> dict[str, Any]:
    advice = advice_on(finding, probed)
    return {
        "reason": str(finding.reason),
        "severity": str(finding.severity),
        "message": safe(finding.message),
        "evidence": safe(finding.evidence) or None,
        "subject": safe(finding.subject) or None,
        "meaning": explanation(finding.reason).meaning,
        "symptom": advice.symptom or None,
        "fix": advice.whole_fix,
        "rfc": advice.rfc or None,
        "tlsrpt": advice.tlsrpt or None,
    }


def _omitted(omitted: Omitted) -> dict[str, Any]:
    return {"subject": safe(omitted.subject), "message": safe(omitted.why), "blind": omitted.is_blind}
