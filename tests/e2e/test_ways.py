"""The ways to the pods on a real cluster: by a Service, and by a public name that the DNS leads somewhere."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mailservers.on_the_way import stripping
from testbed.filters import dropped
from testbed.mailserver import PORTS, MailServer, self_signed
from testbed.sandbox import MAIL_SERVER_TLS, condition_of

if TYPE_CHECKING:
    from e2e.installation import Installation
    from testbed.api import Object
    from testbed.zones import NameServer

pytestmark = pytest.mark.cluster

LOOPBACK = "127.0.0.1"
FILTERED = 2599  # a port of this test alone


@pytest.fixture
def postfix(installation: Installation) -> MailServer:
    """Two pods behind a Service, and an operator."""
    postfix = MailServer(installation.sandbox, installation.zone.host("mx")).deploy()
    installation.start()
    return postfix


def apply(installation: Installation, *ways: str, **public: object) -> None:
    """Ask for these ways besides the pods."""
    probe = {"from": ["Pods", *ways], **({"public": public} if public else {})}
    installation.apply(workloads=[{"kind": "StatefulSet", "name": "postfix"}], probe=probe)


def endpoints(resource: Object, way: str) -> list[Object]:
    """What the status tells of one way."""
    return [each for each in resource["status"]["endpoints"] if each["from"] == way]


def test_service_and_public_name_are_asked_and_told_beside_the_pods(
    installation: Installation, names: NameServer, postfix: MailServer
) -> None:
    """Each port by each way, once all pods have the certificate, and again with the next one."""
    address = postfix.service_address()
    names.set_record(installation.zone, postfix.host, "A", address)
    apply(installation, "Service", "Public")
    ready = installation.await_ready()
    assert ready["status"]["served"] == "12/12"
    told = {(each["service"], each["address"], each["port"]) for each in endpoints(ready, "Service")}
    assert told == {("postfix", address, port) for port in PORTS.values()}
    assert {(each["host"], each["port"]) for each in endpoints(ready, "Public")} == {
        (postfix.host, port) for port in PORTS.values()
    }
    installation.renew("now")
    renewed = installation.await_renewed("now")
    assert {each["servedFingerprintSHA256"] for each in renewed["status"]["endpoints"]} == {installation.fingerprint()}
    assert len(endpoints(renewed, "Service")) == len(PORTS)


def test_service_that_also_leads_to_a_pod_with_another_certificate_fails(
    installation: Installation, postfix: MailServer
) -> None:
    """The pods of the workload are proven; a stray pod with their labels is met by the Service, sooner or later."""
    sandbox = installation.sandbox
    sandbox.put_secret("stray-tls", self_signed([postfix.host]), "kubernetes.io/tls")
    stray = replace(postfix, name="stray", secret="stray-tls").workload()["spec"]["template"]
    meta = {"name": "stray", "labels": {"app": postfix.name}}
    sandbox.apply({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": stray["spec"]})
    sandbox.wait_for_condition("pods", "stray")
    apply(installation, "Service")
    for chapter in ("Issued", "RolledOut"):
        sandbox.wait_for_condition(MAIL_SERVER_TLS, "mx", chapter)
    seen, message = await_unlucky(installation)
    assert message.startswith(f"Service/postfix at {postfix.service_address()}:")
    assert "The Service postfix leads there" in message
    assert "Fail" not in {each["result"] for each in endpoints(seen, "Pods")}
    rolled_out = condition_of(seen, "RolledOut")
    assert rolled_out is not None
    assert rolled_out["status"] == "True"


def await_unlucky(installation: Installation) -> tuple[Object, str]:
    """Ask until a port is met at the wrong one of three pods; gives the resource and what Verified says."""
    for wanted in range(30):
        seen = await_probed(installation, str(wanted))
        verified = condition_of(seen, "Verified")
        if verified is not None and verified["status"] == "False":
            return seen, verified["message"]
    pytest.fail("thirty times three connections all went to the same two pods")


def await_probed(installation: Installation, wanted: str) -> Object:
    """Ask for a probe, as a user does, and wait until it is told."""
    installation.sandbox.annotate(MAIL_SERVER_TLS, "mx", mailtls_dev__probe=wanted)

    def handled(seen: Object | None) -> bool:
        status = (seen or {}).get("status", {})
        return bool(status.get("lastHandledProbe") == wanted and condition_of(seen, "Verified"))

    seen = installation.sandbox.wait_for(MAIL_SERVER_TLS, "mx", handled)
    assert seen is not None
    return seen


def test_middlebox_that_strips_starttls_at_the_public_address_fails(
    installation: Installation, names: NameServer, postfix: MailServer
) -> None:
    """All pods are proven, and the message says at which address the world meets something else."""
    names.set_record(installation.zone, postfix.host, "A", LOOPBACK)
    with stripping((postfix.service_address(), 25)) as port:
        apply(installation, "Public", ports=[{"port": port, "tlsMode": "StartTLS"}])
        message = installation.await_reason("StarttlsNotAdvertised")["message"]
    assert message.startswith(f"Public/{postfix.host} at {LOOPBACK}:{port}: ")
    assert f"This answers at {LOOPBACK}, the public address of {postfix.host}" in message
    resource = installation.get()
    assert "Fail" not in {each["result"] for each in endpoints(resource, "Pods")}
    assert resource["status"]["served"] == "6/7"


def test_filtered_public_address_is_a_warning_and_a_family_that_we_have_not_another(
    installation: Installation, names: NameServer, postfix: MailServer
) -> None:
    """The pods are fine, and nobody knows whose filter it is."""
    names.set_record(installation.zone, postfix.host, "A", LOOPBACK)
    names.set_record(installation.zone, postfix.host, "AAAA", "2001:db8::1")
    with ExitStack() as stack:
        stack.enter_context(dropped("input", f"tcp dport {FILTERED}"))
        apply(installation, "Public", ports=[{"port": FILTERED, "tlsMode": "StartTLS"}])
        ready = installation.await_ready()
    assert ready["status"]["served"] == "6/8"
    told = {(each["address"], each["result"], each["reason"]) for each in endpoints(ready, "Public")}
    assert told == {(LOOPBACK, "Warn", "PortBlocked"), ("2001:db8::1", "Warn", "PortBlocked")}
    verified = condition_of(ready, "Verified")
    assert verified is not None
    assert "PortBlocked" in verified["message"]


def test_missing_ways_are_told_and_found_once_they_are_there(
    installation: Installation, names: NameServer, postfix: MailServer
) -> None:
    """A name without an address, then a workload without a Service; each is looked for again within seconds."""
    service = postfix.service()
    apply(installation, "Public", ports=[{"port": 25, "tlsMode": "StartTLS"}])
    assert postfix.host in installation.await_reason("DnsLookupFailed")["message"]
    names.set_record(installation.zone, postfix.host, "A", postfix.service_address())
    assert installation.await_ready()["status"]["served"] == "7/7"

    installation.sandbox.delete("services", postfix.name)
    apply(installation, "Service")
    assert "StatefulSet/postfix" in installation.await_reason("ServiceMissing")["message"]
    installation.sandbox.apply(service)
    assert installation.await_ready()["status"]["served"] == "9/9"
