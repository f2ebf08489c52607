"""Comparing the endpoints that should be equal."""

from dataclasses import replace
from typing import Any

from builders.rolling import NEW, OLD, SMTP, SMTPS, seen
from mailtls.probe.checks.comparison import differences
from mailtls.probe.target import Endpoint
from mailtls.reasons.reason import Reason, Severity


def pods(*changes: dict[str, Any]) -> list[Endpoint]:
    """One endpoint on port 25 for each set of changes."""
    fine = (seen(f"postfix-{number}", SMTP, NEW) for number in range(len(changes)))
    return [replace(each, **{"tls_version": "TLSv1.3", **change}) for each, change in zip(fine, changes, strict=True)]


def test_equal_pods_differ_in_nothing() -> None:
    """The same on each port is no finding, though the ports differ from one another."""
    other_port = seen("postfix-0", SMTPS, NEW)
    assert differences([*pods({}, {}), other_port]) == ()


def test_other_certificate_is_told_with_who_serves_it() -> None:
    """Clients meet one certificate or the other by chance; the one that is not stored fails by its own finding."""
    mixed = pods({}, {"served_sha256": OLD})
    assert [(each.reason, each.severity) for each in differences(mixed)] == [(Reason.PODS_INCONSISTENT, Severity.WARN)]
    assert "postfix-1" in differences(mixed)[0].evidence


def test_other_version_or_capabilities_is_a_warning() -> None:
    """Pods of another image are told of by what they do differently."""
    found = differences(pods({}, {"tls_version": "TLSv1.2"}, {"capabilities": ("SIZE 1",)}))
    assert [each.severity for each in found] == [Severity.WARN]
    assert "TLS version and in capabilities" in found[0].message
    assert found[0].subject == "StatefulSet/postfix port 25"


def test_pod_without_tls_is_left_to_its_own_finding() -> None:
    """An endpoint that showed no certificate says enough by itself."""
    assert differences(pods({}, {"served_sha256": None})) == ()
