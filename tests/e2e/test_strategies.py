"""Workloads that do not replace their pods by themselves: what a person has to do is said, and seen when it is done."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from testbed.mailserver import MailServer
from testbed.sandbox import MAIL_SERVER_TLS, condition_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.installation import Installation
    from testbed.api import Object

pytestmark = pytest.mark.cluster

DEPLOYMENTS = "deployments.apps"
TOOL = "gitops-tool"
ON_DELETE = {"type": "OnDelete", "rollingUpdate": None}
PARTITIONED = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}


@pytest.mark.parametrize(
    ("strategy", "by_hand"), [(ON_DELETE, ["postfix-0", "postfix-1"]), (PARTITIONED, ["postfix-0"])]
)
def test_pods_that_a_person_has_to_replace_are_said_and_then_judged_by_what_they_serve(
    installation: Installation, strategy: dict[str, Any], by_hand: list[str]
) -> None:
    """No time-out blames the workload; once the pods serve the certificate it is rolled out, whatever the revision."""
    server = MailServer(installation.sandbox, installation.zone.host("mx"), sub_path=True).deploy()
    installation.sandbox.patch("statefulsets.apps", server.name, {"spec": {"updateStrategy": strategy}})
    installation.start()
    workload = {"kind": server.kind, "name": server.name, "updateStrategy": "Restart"}
    installation.apply(workloads=[workload], rollout={"timeout": "10s"})
    installation.sandbox.wait_for(MAIL_SERVER_TLS, "mx", lambda seen: "yourself" in told(seen))
    uids = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in server.pods()}
    for name in by_hand:
        installation.sandbox.delete("pods", name)
    installation.await_ready()
    after = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in server.pods()}
    assert [name for name in by_hand if uids[name] == after[name]] == []


def test_paused_deployment_is_waited_for_until_somebody_resumes_it(installation: Installation) -> None:
    """No time-out; the template names the certificate already, so that to resume it is all."""
    server = MailServer(installation.sandbox, installation.zone.host("mx"), "Deployment", sub_path=True, replicas=1)
    server.deploy()
    pause(installation, server, paused=True)
    installation.start()
    workload = {"kind": server.kind, "name": server.name, "updateStrategy": "Restart"}
    installation.apply(workloads=[workload], rollout={"timeout": "10s"})
    installation.sandbox.wait_for(MAIL_SERVER_TLS, "mx", lambda seen: "rollout resume" in told(seen))
    reconcile(installation, "again")
    assert "rollout resume" in told(installation.get())
    pause(installation, server, paused=False)
    installation.await_ready()


def pause(installation: Installation, server: MailServer, *, paused: bool) -> None:
    """Pause a Deployment, or resume it."""
    installation.sandbox.patch(DEPLOYMENTS, server.name, {"spec": {"paused": paused}})


def test_restart_that_a_tool_takes_back_is_asked_for_once_and_the_tool_is_named(installation: Installation) -> None:
    """Neither the next attempt nor the next process begins it anew; a restart by hand ends it."""
    server = MailServer(installation.sandbox, installation.zone.host("mx"), "Deployment", sub_path=True, replicas=1)
    server.deploy()
    with taking_back(installation, server) as reverted:
        installation.start()
        workload = {"kind": server.kind, "name": server.name, "updateStrategy": "Restart"}
        installation.apply(workloads=[workload], rollout={"timeout": "30s"})
        said = installation.await_reason("TemplateReverted")
        assert f"field manager {TOOL}" in said["message"]
        reconcile(installation, "in another attempt", retries=1)
        installation.replica().kill()
        installation.start()
        reconcile(installation, "in another process")
        assert installation.await_reason("TemplateReverted")["message"] == said["message"]
        assert len(reverted) == 1
        by_hand = {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "2026-11-30T10:00:00Z"}}}
        installation.sandbox.patch(DEPLOYMENTS, server.name, {"spec": {"template": by_hand}})
        installation.await_ready()
        assert len(reverted) == 1


def reconcile(installation: Installation, wanted: str, *, retries: int = 0) -> None:
    """Wait until a probe that is asked for now was made, and as many attempts to roll out have failed besides."""
    before = installation.retries("rollout") if retries else 0.0
    installation.sandbox.annotate(MAIL_SERVER_TLS, "mx", mailtls_dev__probe=wanted)

    def is_done(seen: Object | None) -> bool:
        handled = (seen or {}).get("status", {}).get("lastHandledProbe") == wanted
        return handled and (not retries or installation.retries("rollout") >= before + retries)

    installation.sandbox.wait_for(MAIL_SERVER_TLS, "mx", is_done)


@contextmanager
def taking_back(installation: Installation, server: MailServer) -> Iterator[list[str]]:
    """Run a tool that owns the pod template and takes our annotation out of it, as often as it comes."""
    path = f"/apis/apps/v1/namespaces/{installation.sandbox.name}/deployments/{server.name}"
    api, done, reverted = installation.sandbox.api, threading.Event(), []

    def write(annotations: dict[str, str | None]) -> None:
        body = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
        api.request("PATCH", path, body=body, kind="application/merge-patch+json", fieldManager=TOOL)

    def tend() -> None:
        while not done.wait(0.05):
            found = api.request("GET", path)["spec"]["template"]["metadata"].get("annotations") or {}
            for name in (each for each in found if each.startswith("mailtls.dev/")):
                write({name: None})
                reverted.append(found[name])

    write({"gitops.example.com/revision": "1"})
    server.wait_until_ready()
    tool = threading.Thread(target=tend)
    tool.start()
    try:
        yield reverted
    finally:
        done.set()
        tool.join()


def told(seen: Object | None) -> str:
    """What is said of the rollout, where it has not failed."""
    condition = condition_of(seen, "RolledOut") or {"reason": "", "message": ""}
    return str(condition["message"]) if condition["reason"] == "RollingOut" else ""
