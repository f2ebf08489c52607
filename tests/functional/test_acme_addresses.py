"""The operator as it is wired from its settings: which ACME servers it connects to."""

from threading import Event
from time import monotonic
from typing import Any

import pytest

from functional.bent_ca import bent_ca
from functional.operator_core import KEY, FaultyCluster
from mailtls.api.resource import resource_path
from mailtls.controller.composition import build
from mailtls.controller.election import Leadership
from mailtls.controller.parts import Parts
from mailtls.issuance.solvers.http01_server import Tokens
from mailtls.kube.claims import Claims
from mailtls.metrics import Metrics
from mailtls.reasons.reason import Reason
from mailtls.settings import Settings


def _issued(environment: dict[str, str], server: str, roots_pem: str) -> Any:
    """Reconcile one resource as a process with these settings would, and return its condition Issued."""
    cluster, leadership = FaultyCluster(), Leadership()
    leadership.extend(monotonic() + 60)
    settings = Settings.from_environment({"MAILTLS_NAMESPACE": "mailtls-system"} | environment)
    parts = Parts(settings, cluster, Metrics(), leadership, Tokens(), Claims(), Event())
    acme = {"server": server, "solvers": [{"http01": {"selfCheck": False}}]}
    acme["caBundle"] = {"configMapKeyRef": {"name": "roots", "key": "ca.pem"}}  # type: ignore[assignment]
    body = {
        "metadata": {
            "name": KEY.name,
            "namespace": KEY.namespace,
            "uid": "uid-1",
            "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "resourceVersion": "1",
        },
        "spec": {"dnsNames": ["mx.example.com"], "secretName": "mx-tls", "acme": acme},
    }
    cluster.objects[resource_path(KEY)] = body
    cluster.objects[f"/api/v1/namespaces/{KEY.namespace}/configmaps/roots"] = {
        "metadata": {"name": "roots", "resourceVersion": "1"},
        "data": {"ca.pem": roots_pem},
    }
    parts.claims.note(body)
    work = build(parts)
    work.note_event(KEY)
    work.reconcile(KEY)
    status = cluster.objects[resource_path(KEY)]["status"]
    return next(each for each in status["conditions"] if each["type"] == "Issued")


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({}, Reason.ADDRESS_REFUSED),
        ({"MAILTLS_PRIVATE_SERVERS": "true"}, Reason.ADDRESS_REFUSED),
        ({"MAILTLS_ALLOWED_NETWORKS": "10.0.0.0/8"}, Reason.ADDRESS_REFUSED),
        ({"MAILTLS_ALLOWED_NETWORKS": "127.0.0.0/8,::1/128"}, Reason.ISSUED),
    ],
)
def test_server_on_loopback_needs_a_setting(environment: dict[str, str], reason: Reason) -> None:
    """Whoever names it: nothing in a resource can admit an address."""
    with bent_ca() as ca:
        issued = _issued(environment, ca.directory_url, ca.roots_pem)
        assert issued["reason"] == reason, issued
        assert bool(ca.requests) is (reason is Reason.ISSUED)
