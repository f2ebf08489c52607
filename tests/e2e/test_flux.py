"""How Flux waits for a resource on a real API server, by the library that its kustomize-controller waits with."""

from typing import Any

import pytest

from builders.outlooks import Seen, described
from testbed import gohealth
from testbed.sandbox import MAIL_SERVER_TLS, Sandbox

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("crd")]

STATES = {each.name: each for each in described()}
PLENTY = 120  # seconds, which nothing here takes
BRIEF = 10


def stored(sandbox: Sandbox, name: str, state: Seen) -> Any:
    """Store a resource with what the operator reports in this state."""
    spec = {"dnsNames": ["mx.example.test"], "secretName": f"{name}-tls", "external": {}}
    meta = {"name": name, "namespace": sandbox.name}
    whole = {"apiVersion": "mailtls.dev/v1alpha1", "kind": "MailServerTLS", "metadata": meta, "spec": spec}
    sandbox.apply(whole)
    sandbox.patch(MAIL_SERVER_TLS, name, {"status": state.resource["status"]}, subresource="status")
    return whole


def test_flux_ends_at_ready_and_at_once_at_stalled_and_waits_while_reconciling(sandbox: Sandbox) -> None:
    """Its error names the resource that is stalled; one whose change nobody has seen yet is waited for."""
    kubeconfig = sandbox.cluster.layout.kubeconfig
    ready = stored(sandbox, "ready", STATES["ready"])
    stalled = stored(sandbox, "stalled", STATES["CAA"])
    ordering = stored(sandbox, "ordering", STATES["first order"])
    changed = stored(sandbox, "changed", STATES["ready"])
    sandbox.patch(MAIL_SERVER_TLS, "changed", {"spec": {"suspend": True}})

    assert gohealth.flux([ready, stalled], kubeconfig, PLENTY) == [
        "",
        f"failed early due to stalled resources: [MailServerTLS/{sandbox.name}/stalled status: 'Failed']",
    ]
    assert gohealth.flux([ordering, changed], kubeconfig, BRIEF) == [
        f"timeout waiting for: [MailServerTLS/{sandbox.name}/{name} status: 'InProgress']"
        for name in ("ordering", "changed")
    ]
    stored(sandbox, "ordering", STATES["ready"])
    assert gohealth.flux([ordering], kubeconfig, PLENTY) == [""]
