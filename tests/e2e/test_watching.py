"""Pods that change are noticed when they change, an hour before the next probe is due."""

from __future__ import annotations

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


def test_container_that_restarts_in_place_without_starttls_is_noticed_before_the_next_probe_is_due(
    installation: Installation, postfix: MailServer
) -> None:
    """Same pod, same address, same Secret: only the run of its container tells; its repair is noticed too."""
    before = uids(postfix)
    restart(installation, "touch")
    installation.sandbox.wait_for("pods", "postfix-1", has_restarted)
    installation.await_reason("StarttlsNotAdvertised")
    assert uids(postfix) == before
    told = installation.get()
    failing = [pod for pod in ("postfix-0", "postfix-1") if endpoint(told, pod, 25)["result"] == "Fail"]
    assert failing == ["postfix-1"]  # the other one may be warned of for being different
    restart(installation, "rm")
    installation.await_ready()


def test_pod_that_is_added_is_proven_without_a_probe_that_is_due(
    installation: Installation, postfix: MailServer
) -> None:
    """Three ports more, and six ports less."""
    installation.sandbox.patch("statefulsets.apps", postfix.name, {"spec": {"replicas": 3}})
    postfix.wait_until_ready()
    installation.sandbox.wait_for(MAIL_SERVER_TLS, "mx", serves("9/9"))
    installation.sandbox.patch("statefulsets.apps", postfix.name, {"spec": {"replicas": 1}})
    installation.sandbox.wait_for(MAIL_SERVER_TLS, "mx", serves("3/3"))


def test_rollout_by_the_template_comes_to_rest(
    installation: Installation, postfix: MailServer, audit: AuditLog
) -> None:
    """Our own change of the workload, and all that follows from it, is looked at and then left alone."""
    installation.apply(workloads=[{"kind": postfix.kind, "name": postfix.name, "updateStrategy": "Restart"}])
    before = uids(postfix)
    installation.renew("now")
    assert installation.await_renewed("now")["status"]["served"] == "6/6"
    assert before.isdisjoint(uids(postfix))
    audit.await_rest(installation.sandbox.name, AGENT, IDLE)


def restart(installation: Installation, mark: str) -> None:
    """Mark how the second pod's next container starts, and end the one that runs."""
    stop = "(sleep 3; postfix stop) >/dev/null 2>&1 &"  # after the exec, which would be cut off with the container
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
    """Whether the resource is Ready, and its status counts so many endpoints that serve the certificate."""
    return lambda seen: seen is not None and is_ready(seen) and seen["status"].get("served") == wanted


def is_ready(seen: Object) -> bool:
    """Whether the resource is Ready."""
    found = condition_of(seen, "Ready")
    return found is not None and found["status"] == "True"
