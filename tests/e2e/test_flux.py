"""How Flux applies and waits on a real API server, by the library that its kustomize-controller does both with."""

from typing import Any

import pytest

from builders.outlooks import Seen, described
from e2e.installation import Installation
from mailtls.api.resource import PAUSE_ROLLOUT
from testbed import gohealth
from testbed.api import Object
from testbed.mailserver import MailServer, is_rolled_out
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


def test_flux_leaves_what_mailtls_wrote_and_takes_back_what_kubectl_annotated(installation: Installation) -> None:
    """A restart by the operator is no drift, replaces no pod again; a pause by kubectl goes, by mailtls it stays."""
    sandbox, kubeconfig = installation.sandbox, installation.sandbox.cluster.layout.kubeconfig
    server = MailServer(sandbox, installation.zone.host("mx"), "Deployment", sub_path=True, replicas=1)
    workload = {"kind": server.kind, "name": server.name, "updateStrategy": "Restart"}
    spec = {"dnsNames": [server.host], "secretName": "mx-tls", "bootstrap": "SelfSigned", "workloads": [workload]}
    meta = {"name": "mx", "namespace": sandbox.name}
    resource = {"apiVersion": "mailtls.dev/v1alpha1", "kind": "MailServerTLS", "metadata": meta, "spec": spec}
    kept = [server.workload(), resource]
    kept[0]["metadata"]["namespace"] = sandbox.name
    assert gohealth.flux_apply(kept, kubeconfig) == {"Deployment": "created", "MailServerTLS": "created"}
    installation.start()
    installation.await_ready()
    installation.renew("for a restart")
    installation.await_renewed("for a restart")
    sandbox.wait_for("deployments.apps", server.name, was_restarted)
    template = sandbox.get("deployments.apps", server.name)["spec"]["template"]
    pods = {pod["metadata"]["uid"] for pod in server.pods()}
    assert gohealth.flux(kept, kubeconfig, PLENTY) == ["", ""]

    pause(sandbox, "kubectl-annotate")
    assert gohealth.flux_apply(kept, kubeconfig) == {"Deployment": "unchanged", "MailServerTLS": "configured"}
    assert PAUSE_ROLLOUT not in installation.get()["metadata"]["annotations"]
    pause(sandbox, "mailtls")
    assert set(gohealth.flux_apply(kept, kubeconfig).values()) == {"unchanged"}
    assert installation.get()["metadata"]["annotations"][PAUSE_ROLLOUT] == "true"
    assert sandbox.get("deployments.apps", server.name)["spec"]["template"] == template
    assert {pod["metadata"]["uid"] for pod in server.pods()} <= pods  # one that was replaced may end late


def was_restarted(workload: Object | None) -> bool:
    """Whether mailtls wrote into the pod template, and its pods are there."""
    annotations = workload["spec"]["template"]["metadata"].get("annotations", {}) if workload else {}
    return any(name.startswith("mailtls.dev/") for name in annotations) and is_rolled_out(workload)


def pause(sandbox: Sandbox, manager: str) -> None:
    """Pause the rollout of the resource, by a program that calls itself so."""
    path = f"/apis/mailtls.dev/v1alpha1/namespaces/{sandbox.name}/mailservertls/mx"
    body = {"metadata": {"annotations": {PAUSE_ROLLOUT: "true"}}}
    sandbox.api.request("PATCH", path, body=body, kind="application/merge-patch+json", fieldManager=manager)
