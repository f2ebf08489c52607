"""Pods that change are noticed when they change, an hour before the next probe is due."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from testbed.mailserver import MailServer
from testbed.sandbox import MAIL_SERVER_TLS, condition_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.installation import Installation
    from testbed.api import Object
    from testbed.audit import AuditLog

pytestmark = pytest.mark.cluster

AT_ONCE = 10.0
IDLE = 10.0
AGENT = "mailtls/"
PLAIN = "/state/plain"  # the volume outlives the container: what it holds decides how the next one starts
START = f"[ ! -e {PLAIN} ] || postconf -e smtpd_tls_security_level=none; exec postfix-start"


@pytest.fixture
def postfix(installation: Installation) -> MailServer:
    """Give two pods that prove their certificate, of a Postfix whose containers can be made to restart without TLS."""
    server = MailServer(installation.sandbox, installation.zone.host("mx"))
    manifest = server.workload()
    pod = manifest["spec"]["template"]["spec"]
    pod["containers"][0]["command"] = ["sh", "-c", START]
    pod["containers"][0]["volumeMounts"].append({"name": "state", "mountPath": "/state"})
    pod["volumes"].append({"name": "state", "emptyDir": {}})
    installation.start()
    installation.apply()
    installation.await_ready()
    installation.sandbox.apply(server.service(), manifest)
    server.wait_until_ready()
    installation.apply(workloads=[{"kind": server.kind, "name": server.name}])
    assert installation.await_ready()["status"]["served"] == "6/6"
    return server


def test_container_that_restarts_in_place_without_starttls_is_noticed_at_once(
    installation: Installation, postfix: MailServer
) -> None:
    """Same pod, same address, same Secret: only the run of its container tells; its repair is noticed as fast."""
    before = uids(postfix)
    restart(installation, "touch")
    installation.sandbox.wait_for("pods", "postfix-1", has_restarted)
    installation.await_reason("StarttlsNotAdvertised", within=AT_ONCE)
    assert uids(postfix) == before
    told = installation.get()
    failing = [pod for pod in ("postfix-0", "postfix-1") if endpoint(told, pod, 25)["result"] == "Fail"]
    assert failing == ["postfix-1"]  # the other one may be warned of for being different
    restart(installation, "rm")
    installation.await_ready(within=AT_ONCE + 20)  # the kubelet holds a second restart back for ten seconds


def test_pod_that_is_added_is_proven_at_once(installation: Installation, postfix: MailServer) -> None:
    """Three ports more within seconds of the third pod's readiness."""
    installation.sandbox.patch("statefulsets.apps", postfix.name, {"spec": {"replicas": 3}})
    postfix.wait_until_ready()
    installation.sandbox.wait_for(MAIL_SERVER_TLS, "mx", serves("9/9"), within=AT_ONCE)
    assert is_ready(installation.get())
    installation.sandbox.patch("statefulsets.apps", postfix.name, {"spec": {"replicas": 1}})
    installation.sandbox.wait_for(MAIL_SERVER_TLS, "mx", serves("3/3"), within=AT_ONCE)
    assert is_ready(installation.get())


def test_rollout_by_the_template_comes_to_rest(
    installation: Installation, postfix: MailServer, audit: AuditLog
) -> None:
    """Our own change of the workload, and all that follows from it, is looked at and then left alone."""
    installation.apply(workloads=[{"kind": postfix.kind, "name": postfix.name, "updateStrategy": "Restart"}])
    before = uids(postfix)
    installation.renew("now")
    assert installation.await_renewed("now", within=90)["status"]["served"] == "6/6"
    assert before.isdisjoint(uids(postfix))
    time.sleep(2.0)
    mark = audit.mark()
    time.sleep(IDLE)
    asked = audit.requests(since=mark, namespace=installation.sandbox.name, agent=AGENT)
    assert {request.what for request in asked} == {"leases"}


def restart(installation: Installation, mark: str) -> None:
    """Mark how the second pod's next container starts, and end the one that runs."""
    stop = "(sleep 0.3; postfix stop) >/dev/null 2>&1 &"  # after the exec, which would be cut off with the container
    installation.sandbox.exec("postfix-1", "sh", "-c", f"{mark} {PLAIN}; {stop}")


def uids(postfix: MailServer) -> set[str]:
    """What tells the pods from their successors."""
    return {pod["metadata"]["uid"] for pod in postfix.pods()}


def endpoint(seen: Object, pod: str, port: int) -> Object:
    """What the status says of one port of one pod."""
    found: Object = next(each for each in seen["status"]["endpoints"] if (each["pod"], each["port"]) == (pod, port))
    return found


def has_restarted(pod: Object | None) -> bool:
    """Whether a pod is ready again after its container was started anew."""
    (container,) = (pod or {})["status"]["containerStatuses"]
    return bool(container["ready"] and container["restartCount"])


def serves(wanted: str) -> Callable[[Object | None], bool]:
    """Whether the status counts so many endpoints that serve the certificate."""
    return lambda seen: seen is not None and seen["status"].get("served") == wanted


def is_ready(seen: Object) -> bool:
    """Whether the resource is Ready."""
    found = condition_of(seen, "Ready")
    return found is not None and found["status"] == "True"
