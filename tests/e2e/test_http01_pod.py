"""HTTP-01 with the operator as a pod, which asks its own Service for the answer before the authority does."""

import subprocess
import time
from pathlib import Path

import pytest

from e2e.charted import install, values_for
from e2e.installation import Installation
from testbed.pebble import Pebble
from testbed.sandbox import MAIL_SERVER_TLS, Sandbox
from testbed.zones import NameServer, Zone

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("crd", "operator_image")]

SLICE = "mailtls-http01-ipv4"
PATIENCE = 5.0  # an authority that was asked would have said no by then


@pytest.fixture
def service(sandbox: Sandbox, zone: Zone, shared_pebble: Pebble, email: str, tmp_path: Path) -> str:
    """Install the chart with its default solver; the address of its HTTP-01 Service."""
    values = values_for(sandbox, zone, shared_pebble, email)
    del values["acme"]["solvers"]
    install(sandbox, values, tmp_path)
    return str(sandbox.get("services", "mailtls-http01")["spec"]["clusterIP"])


def answer_of(*command: str) -> str:
    """What a command of a reader prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


def resource(zone: Zone) -> dict[str, object]:
    """Make a resource that has nothing but a name."""
    metadata, spec = {"name": "mx"}, {"dnsNames": [zone.host("mx")], "secretName": "mx-tls"}
    return {"apiVersion": "mailtls.dev/v1alpha1", "kind": "MailServerTLS", "metadata": metadata, "spec": spec}


def test_names_that_lead_to_the_service_are_proven_with_self_check(
    sandbox: Sandbox, zone: Zone, names: NameServer, service: str
) -> None:
    """The pod reaches itself through the Service, then the authority does, and the certificate is stored."""
    names.set_record(zone, zone.host("mx"), "A", service)
    sandbox.apply(resource(zone))
    sandbox.wait_for_condition(MAIL_SERVER_TLS, "mx")
    (pod,) = sandbox.objects("pods", "app.kubernetes.io/name=mailtls")
    slices = sandbox.objects("endpointslices", "kubernetes.io/service-name=mailtls-http01")
    addresses = [endpoint["addresses"] for each in slices for endpoint in each["endpoints"]]
    assert addresses == [[pod["status"]["podIP"]]]
    seen = answer_of("curl", "-sI", f"http://{service}/.well-known/acme-challenge/test").splitlines()
    assert " 404 " in f"{seen[0]} "
    assert "Server: mailtls" in seen


def test_authority_is_not_asked_before_the_pod_gets_its_own_answer(
    sandbox: Sandbox, zone: Zone, names: NameServer, service: str
) -> None:
    """A name that leads elsewhere costs patience and no failed attempt; the order goes on when it leads here."""
    elsewhere = str(sandbox.get("services", "mailtls-metrics")["spec"]["clusterIP"])
    names.set_record(zone, zone.host("mx"), "A", elsewhere)
    sandbox.apply(resource(zone))
    sandbox.wait_for(MAIL_SERVER_TLS, "mx", lambda seen: "order" in (seen or {}).get("status", {}))
    time.sleep(PATIENCE)
    waiting = sandbox.get(MAIL_SERVER_TLS, "mx")["status"]
    assert "attempts" not in waiting
    assert "order" in waiting
    names.set_record(zone, zone.host("mx"), "A", service)
    proven = sandbox.wait_for_condition(MAIL_SERVER_TLS, "mx")
    assert len(proven["status"]["history"]) == 1


def test_endpoint_goes_with_the_pod(sandbox: Sandbox, service: str) -> None:
    """It belongs to the pod that leads, so that nothing leads to an address that somebody else may have next."""
    assert service
    (pod,) = sandbox.objects("pods", "app.kubernetes.io/name=mailtls")
    led = sandbox.wait_for("endpointslices", SLICE, lambda seen: bool(seen and seen.get("endpoints")))
    assert led is not None
    assert [each["uid"] for each in led["metadata"]["ownerReferences"]] == [pod["metadata"]["uid"]]
    sandbox.patch("deployments", "mailtls", {"spec": {"replicas": 0}})
    sandbox.wait_for("endpointslices", SLICE, lambda seen: seen is None)


def test_leader_that_stops_withdraws_its_endpoint(installation: Installation) -> None:
    """From SIGTERM on the authority is refused, and not sent to a process that has ended; the next leader is led to."""
    installation.http01_service = "mailtls-http01"
    first = installation.start("first")
    first.await_text("working")
    led = installation.sandbox.get("endpointslices", SLICE)
    assert [each["targetRef"]["name"] for each in led["endpoints"]] == ["first"]
    first.stop()
    assert not installation.sandbox.get("endpointslices", SLICE).get("endpoints")
    second = installation.start("second")
    second.await_text("working")
    led = installation.sandbox.get("endpointslices", SLICE)
    assert [each["targetRef"]["name"] for each in led["endpoints"]] == ["second"]
