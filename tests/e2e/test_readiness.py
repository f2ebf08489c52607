"""Pods that only the new certificate makes ready, on the real cluster: nobody waits for anybody for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.installation import SECRET, Installation
from testbed.mailserver import MailServer, self_signed

if TYPE_CHECKING:
    from testbed.api import Object

pytestmark = pytest.mark.cluster

ASK = "openssl s_client -connect 127.0.0.1:465 </dev/null 2>/dev/null"
JUDGE = f"{ASK} | openssl x509 -noout -issuer -checkend 0 > /tmp/issuer && grep -q Pebble /tmp/issuer"
READY_WITH_A_GOOD_CERTIFICATE = {"exec": {"command": ["sh", "-c", JUDGE]}, "periodSeconds": 2, "timeoutSeconds": 5}
CRASH = "test -e /etc/mail-tls/tls.crt || exit 1; exec postfix-start"


@pytest.mark.parametrize(
    ("cause", "strategy", "policy"),
    [
        ("expired", "Reload", "Parallel"),
        ("missing", "Reload", "OrderedReady"),
        ("expired", "Restart", "OrderedReady"),
        ("missing", "Restart", "Parallel"),
    ],
)
def test_pods_that_are_not_ready_for_their_certificate_get_the_new_one(
    installation: Installation, cause: str, strategy: str, policy: str
) -> None:
    """The certificate has expired, or was not there when the pods started; both make every pod NotReady."""
    server = MailServer(installation.sandbox, installation.zone.host("mx"))
    if cause == "expired":
        installation.sandbox.put_placeholder(SECRET, self_signed([server.host], days=-0.01))
    deploy(server, policy)
    installation.start()
    installation.apply(workloads=[{"kind": server.kind, "name": server.name, "updateStrategy": strategy}])
    installation.await_ready()
    assert len(server.pods()) == server.replicas


def test_server_that_crashes_without_its_certificate_is_made_anew(installation: Installation) -> None:
    """The kubelet starts them ever less often; nobody waits for that."""
    server = MailServer(installation.sandbox, installation.zone.host("mx"), replicas=1)
    deploy(server, "OrderedReady", command=["sh", "-c", CRASH])
    installation.sandbox.wait_for("pods", "postfix-0", lambda pod: restarts(pod) > 0)
    installation.start()
    installation.apply(workloads=[{"kind": server.kind, "name": server.name}])
    installation.await_ready()


def deploy(server: MailServer, policy: str, command: list[str] | None = None) -> None:
    """Create the StatefulSet, and wait until its first server runs and is found not ready."""
    manifest = server.workload()
    manifest["spec"]["podManagementPolicy"] = policy
    spec = manifest["spec"]["template"]["spec"]
    spec["volumes"][0]["secret"]["optional"] = True
    spec["containers"][0] |= {"command": command} if command else {"readinessProbe": READY_WITH_A_GOOD_CERTIFICATE}
    server.sandbox.apply(server.service(), manifest)
    if not command:
        server.sandbox.wait_for("pods", f"{server.name}-0", runs_and_is_not_ready)


def runs_and_is_not_ready(pod: Object | None) -> bool:
    """Whether the server has started, and its probe has found fault with it."""
    statuses = (pod or {}).get("status", {}).get("containerStatuses") or []
    return any(each["state"].get("running") and not each["ready"] for each in statuses)


def restarts(pod: Object | None) -> int:
    """How often the pod's server was started again."""
    statuses = (pod or {}).get("status", {}).get("containerStatuses") or [{"restartCount": 0}]
    return int(statuses[0]["restartCount"])
