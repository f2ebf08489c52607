"""A resource as the API server returns it, with the conditions and endpoints that the operator reports."""

from typing import Any

CHAPTERS = ("Issued", "Stored", "RolledOut", "Verified", "Ready", "DomainHealthy")
PORT = {
    "pod": "postfix-0",
    "port": 25,
    "address": "10.0.0.7",
    "result": "Fail",
    "reason": "ServingOldCertificate",
    "message": "The server still serves an older certificate.",
    "tlsVersion": "TLSv1.3",
    "servedNotAfter": "2026-12-01T00:00:00Z",
}


def resource(failing: str = "", reason: str = "CanaryFailed", **status: Any) -> dict[str, Any]:
    """A resource whose condition `failing`, and therefore Ready, is false."""
    conditions = [
        {
            "type": chapter,
            "status": "False" if failing and chapter in {failing, "Ready"} else "True",
            "reason": reason if failing and chapter in {failing, "Ready"} else chapter,
            "message": f"About {chapter}.",
            "lastTransitionTime": "2026-11-24T15:00:00Z",
            "observedGeneration": 1,
        }
        for chapter in CHAPTERS
    ]
    certificate = {"notAfter": "2027-02-22T02:14:06Z", "renewalTime": "2027-01-22T22:10:31Z"}
    return {
        "metadata": {"namespace": "mail", "name": "mx", "creationTimestamp": "2026-11-21T15:00:00Z"},
        "spec": {"dnsNames": ["mx1.example.com"]},
        "status": {"conditions": conditions, "certificate": certificate, "served": "6/6", **status},
    }
