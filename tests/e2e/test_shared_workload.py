"""Two resources that name one workload: both say so, each rolls its own certificate out once, and that is the end."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from testbed.mailserver import MailServer
from testbed.sandbox import MAIL_SERVER_TLS, condition_of

if TYPE_CHECKING:
    from e2e.installation import Installation
    from testbed.api import Object

pytestmark = pytest.mark.cluster

OTHER_SECRET = "other-tls"
STATEFUL_SETS = "statefulsets.apps"


def test_two_resources_on_one_workload_say_so_and_restart_it_once_each(installation: Installation) -> None:
    """Neither takes the other's mark off the pod template; the one whose certificate is served is Ready."""
    server = MailServer(installation.sandbox, installation.zone.host("mx"), replicas=1).deploy()
    mount_too(installation, server)
    generation = installation.sandbox.get(STATEFUL_SETS, server.name)["metadata"]["generation"]
    installation.start()
    workload = {"kind": server.kind, "name": server.name, "updateStrategy": "Restart"}
    installation.apply(workloads=[workload], rollout={"timeout": "10s"})
    installation.await_ready()
    installation.apply("imap", name="other", secret=OTHER_SECRET, workloads=[workload], rollout={"timeout": "10s"})
    installation.sandbox.wait_for(MAIL_SERVER_TLS, "other", lambda _seen: installation.retries("rollout") > 0)
    for name, by in (("mx", "other"), ("other", "mx")):
        installation.sandbox.wait_for(MAIL_SERVER_TLS, name, partial(says_shared, by))
    installation.sandbox.wait_for(STATEFUL_SETS, server.name, lambda seen: len(marks(seen or {})) == 2)
    server.wait_until_ready()
    installation.await_ready()
    now = installation.sandbox.get(STATEFUL_SETS, server.name)
    assert now["metadata"]["generation"] == generation + 2
    uids = [pod["metadata"]["uid"] for pod in server.pods()]
    retries = installation.retries("rollout")
    installation.sandbox.wait_for(MAIL_SERVER_TLS, "other", lambda _seen: installation.retries("rollout") > retries)
    installation.await_ready()
    assert installation.sandbox.get(STATEFUL_SETS, server.name)["metadata"]["generation"] == generation + 2
    assert [pod["metadata"]["uid"] for pod in server.pods()] == uids
    for name in ("mx", "other"):
        said = [each for each in installation.sandbox.events(name) if each["reason"] == "WorkloadShared"]
        assert len(said) == 1


def mount_too(installation: Installation, server: MailServer) -> None:
    """Mount another Secret into the same container; nothing there reads it."""
    volume = {"name": "other", "secret": {"secretName": OTHER_SECRET, "optional": True}}
    mount = {"name": "other", "mountPath": "/etc/other-tls", "readOnly": True}
    spec: dict[str, Any] = installation.sandbox.get(STATEFUL_SETS, server.name)["spec"]["template"]["spec"]
    spec["volumes"].append(volume)
    spec["containers"][0]["volumeMounts"].append(mount)
    installation.sandbox.patch(STATEFUL_SETS, server.name, {"spec": {"template": {"spec": spec}}})
    server.wait_until_ready()


def says_shared(by: str, seen: Object | None) -> bool:
    """Whether a resource says who else names its workload."""
    return f"also named by MailServerTLS {by}" in (condition_of(seen, "RolledOut") or {"message": ""})["message"]


def marks(workload: Object) -> dict[str, str]:
    """The certificates that the pod template names."""
    found: dict[str, str] = workload["spec"]["template"]["metadata"].get("annotations") or {}
    return {name: value for name, value in found.items() if name.startswith("mailtls.dev/")}
