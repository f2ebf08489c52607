"""The test bed itself: what tests build on must be there, must work, and must leave no trace."""

from __future__ import annotations

import socket
from functools import partial
from typing import TYPE_CHECKING

import pytest

from testbed.mailserver import PORTS
from testbed.pebble import PebbleSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from testbed.api import Object
    from testbed.audit import AuditLog
    from testbed.cluster import Cluster
    from testbed.mailserver import MailServer
    from testbed.pebble import Pebble
    from testbed.sandbox import Sandbox
    from testbed.zones import NameServer, Zone

pytestmark = pytest.mark.cluster


def test_postfix_serves_its_secret_on_every_port_through_its_service(postfix: MailServer, sandbox: Sandbox) -> None:
    """A client reaches the mounted certificate behind the Service's address by STARTTLS and by implicit TLS."""
    wanted = sandbox.secret("mx-tls")["tls.crt"].decode().strip()
    address = postfix.service_address()
    for port in PORTS.values():
        await_led(sandbox, address, port)
        starttls = [] if port == PORTS["smtps"] else ["-starttls", "smtp"]
        seen = sandbox.run("openssl", "s_client", "-connect", f"{address}:{port}", "-showcerts", *starttls)
        assert wanted in seen, port


def await_led(sandbox: Sandbox, address: str, port: int) -> None:
    """Wait until kube-proxy leads to the pods, which is a moment after they are ready."""

    def is_led(_seen: Object | None) -> bool:
        with socket.socket() as client:
            client.settimeout(10)
            return client.connect_ex((address, port)) == 0

    sandbox.wait_for("services", "postfix", is_led)


def test_pod_reaches_another_pod_by_the_address_of_a_service(postfix: MailServer, sandbox: Sandbox) -> None:
    """The reply comes back through the node, so the translation of addresses holds."""
    address = postfix.service_address()
    await_led(sandbox, address, 25)
    for pod in postfix.addresses():
        assert "220 " in sandbox.exec(pod, "bash", "-c", f"exec 3<>/dev/tcp/{address}/25; head -1 <&3")


def test_zone_takes_updates_by_its_own_key_only(names: NameServer, zone: Zone) -> None:
    """Whoever has the key writes; another zone's key is refused."""
    names.set_record(zone, zone.host("mx"), "A", "192.0.2.1")
    assert names.lookup(zone.host("mx"), "A") == ["192.0.2.1"]
    other = names.add_zone(f"other-{zone.name}")
    try:
        with pytest.raises(RuntimeError, match=r"REFUSED|NOTAUTH"):
            names.set_record(type(zone)(zone.name, other.key), zone.host("mx"), "A", "192.0.2.2")
    finally:
        names.remove_zone(other)
    assert len(names.records(zone)) == 1


def test_pebble_of_ones_own_counts_only_its_own_requests(
    pebbles: Callable[[PebbleSettings], Pebble], shared_pebble: Pebble
) -> None:
    """Two authorities run side by side, and each knows what it was asked."""
    pebble = pebbles(PebbleSettings(alternate_roots=2))
    assert pebble.directory_url != shared_pebble.directory_url
    assert pebble.get("/dir").keys() >= {"newNonce", "newAccount", "newOrder", "renewalInfo"}
    assert pebble.requests() == [("GET", "/dir")]
    assert pebble.orders() == pebble.accounts() == 0
    assert len({pebble.root(number) for number in range(3)}) == 3


def test_pebble_that_is_unreachable_comes_back_as_it_was(pebble: Pebble) -> None:
    """An outage refuses connections at once, and the roots stay the same."""
    before = pebble.root()
    with pebble.unreachable(), pytest.raises(OSError, match="refused"):
        pebble.get("/dir")
    assert pebble.get("/dir")
    assert pebble.root() == before


def test_audit_log_tells_who_wrote_what(audit: AuditLog, sandbox: Sandbox) -> None:
    """Each write of a test is found by its namespace; a read is none."""
    mark = audit.mark()
    sandbox.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "seen"}, "data": {"a": "1"}})
    sandbox.patch("configmaps", "seen", {"data": {"a": "2"}})
    sandbox.get("configmaps", "seen")
    wrote = partial(audit.writes, since=mark, namespace=sandbox.name, user="admin")
    sandbox.wait_for("configmaps", "seen", lambda _: len(wrote()) >= 2)  # written down when the answer is on its way
    writes = wrote()
    assert [(write.verb, write.what, write.name) for write in writes] == [("patch", "configmaps", "seen")] * 2


def test_service_has_a_name_once_it_is_published(names: NameServer, sandbox: Sandbox, postfix: MailServer) -> None:
    """Pods find a published Service by its short name, as with CoreDNS."""
    address = postfix.service_address()
    names.publish_service(sandbox.name, "postfix", address)
    pod = next(iter(postfix.addresses()))
    assert address in sandbox.exec(pod, "getent", "hosts", "postfix")


def test_cluster_is_kubernetes_as_users_have_it(cluster: Cluster) -> None:
    """Every part is up, and client and server are of the same version."""
    assert cluster.is_up
    assert "ok" in cluster.kubectl("get", "--raw", "/readyz")
    versions = {line.partition(": ")[2] for line in cluster.kubectl("version").splitlines() if "v1." in line}
    assert len(versions) == 1
