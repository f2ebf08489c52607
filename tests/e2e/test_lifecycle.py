"""The operator on a real cluster, from apply to proof: what a user sees, checked against the servers themselves."""

from __future__ import annotations

import base64
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from e2e.events import await_told, expect_told, told
from e2e.installation import CONDITIONS, SECRET, STAGED, TSIG, Installation, dns01
from e2e.laggard import await_challenge_record, challenge_records, orders_held
from e2e.served import served_fingerprint
from functional.otlp import collecting, values
from testbed.layout import NODE_ADDRESS
from testbed.mailserver import PORTS, MailServer
from testbed.sandbox import MAIL_SERVER_TLS, condition_of

if TYPE_CHECKING:
    from functional.otlp import Collector
    from testbed.api import Object
    from testbed.audit import AuditLog
    from testbed.zones import NameServer

pytestmark = pytest.mark.cluster

IDLE = 20.0
PREVIOUS = f"{SECRET}-previous"
AGENT = "mailtls/"
BRAKE = "/tmp/slow"


@pytest.mark.parametrize("kind", ["StatefulSet", "Deployment", "DaemonSet"])
def test_every_pod_of_a_workload_serves_the_certificate_and_its_renewal(installation: Installation, kind: str) -> None:
    """Two names are issued, rolled out and proven; a renewal by annotation brings a new key to every port."""
    host = installation.zone.host("mx")
    postfix = MailServer(installation.sandbox, host, kind=kind).deploy()
    replica = installation.start()
    installation.apply("mx", "mail", workloads=[{"kind": kind, "name": postfix.name}])
    ready = installation.await_ready()
    expect_all_is_well(ready)
    expect_served_everywhere(installation, postfix, ready)
    first = installation.leaf()
    assert names_of(first) == {host, installation.zone.host("mail")}

    installation.renew("now")
    renewed = installation.await_renewed("now")
    expect_served_everywhere(installation, postfix, renewed)
    second = installation.leaf()
    assert second.serial_number != first.serial_number
    assert second.public_key() != first.public_key()
    assert installation.leaf(PREVIOUS) == first
    assert {count for pod in postfix.pods() for count in restarts(pod)} == {0}
    assert installation.pebble.orders() == 2
    expect_probe_to_be_quiet(installation)
    replica.stop()


def test_rollback_reaches_every_pod_and_the_next_one_takes_it_back(installation: Installation) -> None:
    """The certificate before is served on every port of every pod, without an order and without a restart."""
    postfix = MailServer(installation.sandbox, installation.zone.host("mx")).deploy()
    installation.start()
    installation.apply(workloads=[{"kind": postfix.kind, "name": postfix.name}])
    installation.await_ready()
    first = installation.leaf()
    installation.renew("now")
    installation.await_renewed("now")
    second = installation.leaf()

    back = installation.roll_back("1")
    assert (installation.leaf(), installation.leaf(PREVIOUS)) == (first, second)
    expect_served_everywhere(installation, postfix, back)
    expect_all_is_well(back)
    assert "not renewed before" in back["status"]["conditions"][0]["message"]

    forward = installation.roll_back("2")
    assert (installation.leaf(), installation.leaf(PREVIOUS)) == (second, first)
    expect_served_everywhere(installation, postfix, forward)
    assert set(installation.sandbox.secret(PREVIOUS)) == {"tls.crt", "tls.key"}
    assert {count for pod in postfix.pods() for count in restarts(pod)} == {0}
    assert installation.pebble.orders() == 2
    await_told(installation, ("Normal", "RolledBack"), ("Normal", "RolledBack"))
    assert {kind for kind, _ in told(installation)} == {"Normal"}


def test_suspending_in_mid_rollout_leaves_the_next_pod_alone(installation: Installation) -> None:
    """The brake is pulled while the first pod runs its reload command; the second one is not told."""
    postfix = MailServer(installation.sandbox, installation.zone.host("mx"), keeps=True).deploy()
    slow = {"command": ["sh", "-c", f"while test -e {BRAKE}; do sleep 0.2; done; postfix reload"]}
    installation.start()
    installation.apply(workloads=[{"kind": postfix.kind, "name": postfix.name, "reload": slow}])
    installation.await_ready()
    first = installation.fingerprint()
    installation.sandbox.exec("postfix-0", "touch", BRAKE)
    installation.renew("now")
    installation.sandbox.wait_for("pods", "postfix-0", lambda pod: told_of(pod) not in {None, first})
    installation.sandbox.patch(MAIL_SERVER_TLS, "mx", {"spec": {"suspend": True}})
    installation.sandbox.exec("postfix-0", "rm", BRAKE)
    installation.await_reason("Suspended")
    assert [told_of(pod) for pod in postfix.pods()] == [installation.fingerprint(), first]
    installation.sandbox.patch(MAIL_SERVER_TLS, "mx", {"spec": {"suspend": False}})
    expect_served_everywhere(installation, postfix, installation.await_ready())


def test_quota_that_is_used_up_is_named_and_raising_it_helps(installation: Installation) -> None:
    """The condition and an Event name the quota, and the log has no traceback."""
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}}
    held = len(installation.sandbox.objects("secrets"))
    installation.sandbox.apply(quota | {"spec": {"hard": {"count/secrets": str(held)}}})
    installation.sandbox.wait_for("resourcequotas", "small", lambda seen: "used" in (seen or {}).get("status", {}))
    replica = installation.start()
    installation.apply()
    assert "small" in installation.await_reason("QuotaExceeded")["message"]
    await_told(installation, ("Warning", "QuotaExceeded"))
    assert "Traceback" not in replica.text()
    installation.sandbox.patch("resourcequotas", "small", {"spec": {"hard": {"count/secrets": "20"}}})
    installation.await_ready()


def test_rollback_to_a_placeholder_is_refused(installation: Installation) -> None:
    """What the Secret held before the first certificate was only there for the servers to start."""
    MailServer(installation.sandbox, installation.zone.host("mx"), replicas=1).deploy()
    installation.start()
    installation.apply()
    installation.await_ready()
    before = installation.leaf()
    told = installation.roll_back("1")["status"]["history"][-1]
    assert told["event"] == "RollbackRefused"
    assert "self-signed" in told["message"]
    assert installation.leaf() == before
    expect_told(installation, ("Normal", "Issued"), ("Warning", "RollbackRefused"))


def test_http01_proves_names_by_the_service_that_leads_to_the_replica(
    installation: Installation, names: NameServer
) -> None:
    """The authority reaches the operator by the Service's address, port 80, and the slice that the operator writes."""
    sandbox = installation.sandbox
    installation.http01_service, installation.solvers = "acme-http01", [{"http01": {}}]
    spec = {"ports": [{"name": "http01", "port": 80, "protocol": "TCP"}]}
    manifest = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "acme-http01"}, "spec": spec}
    address = sandbox.apply(manifest)[0]["spec"]["clusterIP"]
    for label in ("mx", "mail"):
        names.set_record(installation.zone, installation.zone.host(label), "A", address)
    installation.start()
    installation.apply("mx", "mail")
    installation.await_ready()
    assert names_of(installation.leaf()) == {installation.zone.host(label) for label in ("mx", "mail")}
    slices = sandbox.objects("endpointslices", "kubernetes.io/service-name=acme-http01")
    assert [endpoint["addresses"] for each in slices for endpoint in each["endpoints"]] == [[NODE_ADDRESS]]


def test_of_two_resources_with_one_secret_the_older_keeps_it(installation: Installation) -> None:
    """The younger says so, touches nothing, and takes over when the older is deleted."""
    installation.start()
    installation.apply("old", name="old")
    installation.await_ready("old")
    time.sleep(1.1)  # ages are told in whole seconds
    installation.apply("new", name="new")
    assert "old" in installation.await_reason("SecretClaimed", "new")["message"]
    assert names_of(installation.leaf()) == {installation.zone.host("old")}
    installation.delete("old")
    installation.await_ready("new")
    assert names_of(installation.leaf()) == {installation.zone.host("new")}
    assert installation.pebble.orders() == 2


def test_deletion_leaves_the_serving_secret_alone(installation: Installation) -> None:
    """Mail goes on; only what belonged to the resource goes with it."""
    installation.start()
    installation.apply()
    installation.await_ready()
    before = installation.sandbox.secret(SECRET)
    installation.delete()
    assert installation.sandbox.find(MAIL_SERVER_TLS, "mx") is None
    installation.sandbox.wait_for("secrets", STAGED, lambda seen: seen is None)
    assert installation.sandbox.secret(SECRET) == before


def test_deletion_in_mid_order_cleans_up_and_is_not_blocked(installation: Installation, names: NameServer) -> None:
    """The resource is gone at once; its staged key and its challenge record follow without anybody's help."""
    with orders_held(names, installation.zone):
        installation.start()
        installation.apply()
        installation.await_order()
        await_challenge_record(names, installation.zone)
        installation.delete()
        assert installation.sandbox.find(MAIL_SERVER_TLS, "mx") is None
        installation.sandbox.wait_for("secrets", STAGED, lambda seen: seen is None)
        assert challenge_records(names, installation.zone) == []
        assert installation.sandbox.find("secrets", SECRET) is None


def test_deletion_while_the_authority_is_away_is_not_blocked_either(
    installation: Installation, names: NameServer
) -> None:
    """What cannot be cleaned up yet is cleaned up when the authority is back."""
    with orders_held(names, installation.zone):
        installation.start()
        installation.apply()
        installation.await_order()
        await_challenge_record(names, installation.zone)
        with installation.pebble.unreachable():
            installation.delete()
            assert installation.sandbox.find(MAIL_SERVER_TLS, "mx") is None
            installation.replica().await_text("clean-up of an order failed")
        installation.sandbox.wait_for("secrets", STAGED, lambda seen: seen is None)
        assert challenge_records(names, installation.zone) == []


@pytest.mark.parametrize("is_gone", [False, True], ids=["all answer", "CA and DNS are gone"])
def test_deletion_while_no_operator_runs_is_finished_by_the_next_one(
    installation: Installation, names: NameServer, *, is_gone: bool
) -> None:
    """The journal of an open order holds a namespace for a minute after the start at most, whatever still answers."""
    with orders_held(names, installation.zone):
        replica = installation.start()
        installation.apply()
        installation.await_order()
        await_challenge_record(names, installation.zone)
        replica.kill()
        installation.delete()
        deleted = installation.sandbox.wait_for("secrets", STAGED, _is_on_its_way_out)
        assert deleted is not None
        with installation.pebble.unreachable() if is_gone else nullcontext():
            if is_gone:
                names.remove_zone(installation.zone)
            installation.start()
            installation.sandbox.wait_for("secrets", STAGED, lambda seen: seen is None)


def _is_on_its_way_out(secret: Object | None) -> bool:
    return bool(secret and secret["metadata"].get("deletionTimestamp"))


def test_events_tell_of_transitions_only(installation: Installation) -> None:
    """One Event for each certificate, none for a restart that finds all as it was."""
    replica = installation.start()
    installation.apply()
    installation.await_ready()
    expect_told(installation, ("Normal", "Issued"))
    replica.stop()
    installation.start()
    installation.renew("again")
    installation.await_renewed("again")
    expect_told(installation, ("Normal", "Issued"), ("Normal", "Issued"))


def test_private_keys_are_never_told(installation: Installation) -> None:
    """No key is in the log of the chattiest level, an Event, a status or a trace; nor the DNS key of challenges."""
    postfix = MailServer(installation.sandbox, installation.zone.host("mx"), replicas=1).deploy()
    with collecting() as collector:
        installation.more["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{collector.port}"
        replica = installation.start()
        installation.apply(workloads=[{"kind": postfix.kind, "name": postfix.name}])
        installation.await_ready()
        staged_first = installation.sandbox.secret(STAGED)["tls.key"]
        installation.renew("now")
        installation.await_renewed("now")
        replica.stop()
    keys = [staged_first, *(installation.sandbox.secret(name)["tls.key"] for name in (SECRET, STAGED))]
    accounts = [
        secret["metadata"]["name"]
        for secret in installation.sandbox.objects("secrets", "app.kubernetes.io/managed-by=mailtls")
        if secret["metadata"]["name"].startswith("mailtls-account")
    ]
    keys += [installation.sandbox.secret(name)["account.key"] for name in accounts]
    traced = collector.everything.decode("latin-1")
    told_to_all = "".join([replica.text(), str(installation.get()), str(installation.sandbox.events()), traced])
    assert len(accounts) == 1
    for secret in [trace for key in keys for trace in traces(key)] + [installation.zone.key.secret]:
        assert secret not in told_to_all
    assert "PRIVATE KEY" not in told_to_all
    expect_traced_reload(collector)


def test_mount_that_is_missing_is_named(installation: Installation) -> None:
    """A workload that cannot see the Secret is told as such, and its pods are left alone."""
    host = installation.zone.host("mx")
    postfix = MailServer(installation.sandbox, host, secret=None, replicas=1).deploy()
    installation.start()
    installation.apply(workloads=[{"kind": postfix.kind, "name": postfix.name}])
    assert SECRET in installation.await_reason("SecretNotMounted")["message"]
    assert {count for pod in postfix.pods() for count in restarts(pod)} == {0}
    expect_told(installation, ("Normal", "Issued"), ("Warning", "SecretNotMounted"))


def test_wrong_dns_key_is_named_and_its_repair_taken_up(installation: Installation) -> None:
    """The name server's refusal is the reason; the right key mends it, and the order that waited is issued."""
    key = {TSIG["key"]: base64.b64encode(b"somebody else's key, of 32 bytes")}
    installation.sandbox.put_secret(TSIG["name"], key)
    installation.start()
    installation.apply()
    assert installation.zone.key.name in installation.await_reason("DnsUpdateRefused")["message"]
    assert set(conditions(installation.get())) == set(CONDITIONS)
    installation.sandbox.put_secret(TSIG["name"], {TSIG["key"]: installation.zone.key.secret.encode()})
    installation.await_ready()
    assert installation.pebble.orders() == 1


def test_name_without_a_solver_is_named(installation: Installation) -> None:
    """Nobody can have a name validated outside of every solver's zones."""
    installation.solvers = [dns01(installation.zone, dnsZones=["elsewhere.test"])]
    installation.start()
    installation.apply()
    assert installation.zone.host("mx") in installation.await_reason("NoSolver")["message"]


def test_authority_that_is_away_at_first_is_named_and_waited_for(installation: Installation) -> None:
    """No failed attempt is counted for an authority that nobody could ask."""
    with installation.pebble.unreachable():
        installation.start()
        installation.apply()
        installation.await_reason("AcmeUnreachable")
        assert "attempts" not in installation.get()["status"]
    installation.await_ready()
    assert installation.pebble.orders() == 1


def test_idle_operator_asks_and_writes_nothing(installation: Installation, audit: AuditLog) -> None:
    """Once all is Ready, the lease is all that the API server hears of."""
    postfix = MailServer(installation.sandbox, installation.zone.host("mx"), replicas=1).deploy()
    installation.start()
    installation.apply(workloads=[{"kind": postfix.kind, "name": postfix.name}])
    installation.await_ready()
    audit.await_rest(installation.sandbox.name, AGENT, IDLE)


def told_of(pod: Object | None) -> str | None:
    """The certificate that a pod was last told of."""
    told: str | None = ((pod or {})["metadata"].get("annotations") or {}).get(f"mailtls.dev/certificate.{SECRET}")
    return told


def expect_all_is_well(ready: Object) -> None:
    """Every condition is there, true, and of this generation."""
    assert conditions(ready) == dict.fromkeys(CONDITIONS, "True")
    assert all(each["lastTransitionTime"] and each["message"] for each in ready["status"]["conditions"])
    assert ready["status"]["observedGeneration"] == ready["metadata"]["generation"]


def expect_served_everywhere(installation: Installation, postfix: MailServer, seen: Object) -> None:
    """Ask every port of every pod ourselves, then compare with the Secret and with what the status tells."""
    wanted, roots = installation.fingerprint(), installation.pebble.root()
    every = [(pod, address, port) for pod, address in postfix.addresses().items() for port in PORTS.values()]
    served = {(pod, port): served_fingerprint(address, port, postfix.host, roots) for pod, address, port in every}
    assert set(served.values()) == {wanted}
    told_of = {(each["pod"], each["port"]): each["servedFingerprintSHA256"] for each in seen["status"]["endpoints"]}
    assert told_of == served
    assert seen["status"]["served"] == f"{len(every)}/{len(every)}"
    assert seen["status"]["certificate"]["fingerprintSHA256"] == wanted


def expect_probe_to_be_quiet(installation: Installation) -> None:
    """Wanted for a probe; it is made, and as all is still well, nobody is told.

    Events follow the status by a moment: those of one probe are there once the next one was made.
    """
    await_probed(installation, "first")
    before = told(installation)
    await_probed(installation, "second")
    await_probed(installation, "third")
    assert told(installation) == before
    assert "Warning" not in {kind for kind, _ in before}


def await_probed(installation: Installation, wanted: str) -> None:
    """Request a probe, and wait until it was made."""
    installation.sandbox.annotate(MAIL_SERVER_TLS, "mx", mailtls_dev__probe=wanted)
    installation.sandbox.wait_for(
        MAIL_SERVER_TLS, "mx", lambda seen: (seen or {})["status"].get("lastHandledProbe") == wanted
    )


def expect_traced_reload(collector: Collector) -> None:
    """A reconcile has reloaded a pod by a command that succeeded, and has probed its ports."""
    within = collector.within()
    assert within[""] == {"reconcile"}
    assert {"observe", "report", "Roll"} <= within["reconcile"]
    assert {"exec", "probe"} <= within["Roll"]
    commands, probes = ([values(each) for each in collector.spans if each.name == name] for name in ("exec", "probe"))
    assert {(each["k8s.pod.name"], each["mailtls.exit_code"]) for each in commands} == {("postfix-0", 0)}
    assert {each["mailtls.endpoints"] for each in probes} == {len(PORTS)}


def conditions(seen: Object) -> dict[str, str]:
    """The conditions' states by type, those of an older generation left out."""
    found = ((kind, condition_of(seen, kind)) for kind in CONDITIONS)
    return {kind: condition["status"] for kind, condition in found if condition is not None}


def names_of(leaf: x509.Certificate) -> set[str]:
    """The names that a certificate is for."""
    found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(found.get_values_for_type(x509.DNSName))


def restarts(pod: Object) -> list[int]:
    """How often the containers of a pod were restarted."""
    return [status["restartCount"] for status in pod["status"]["containerStatuses"]]


def traces(key_pem: bytes) -> list[str]:
    """How a private key would show: each line of its PEM, and the whole of it as a Secret holds it."""
    lines = [line for line in key_pem.decode().splitlines() if line and not line.startswith("-----")]
    return [*(line for line in lines if len(line) > 16), base64.b64encode(key_pem).decode()]
