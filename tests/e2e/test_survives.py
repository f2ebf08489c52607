"""Accidents in the middle of a rollout, on the real cluster: it ends well, and nothing is rolled back for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from e2e.installation import SECRET, Installation
from e2e.served import served_fingerprint
from testbed.mailserver import PORTS, MailServer
from testbed.sandbox import MAIL_SERVER_TLS, condition_of

if TYPE_CHECKING:
    from testbed.api import Object

pytestmark = pytest.mark.cluster

ANNOTATION = f"mailtls.dev/certificate.{SECRET}"
STATEFUL_SETS = "statefulsets.apps"
SLOW = {"command": ["sh", "-c", "sleep 2; postfix reload"]}


def test_rollout_ends_well_over_deleted_pods_scaling_a_changed_spec_and_a_renamed_workload(
    installation: Installation,
) -> None:
    """Each comes while pods wait for their turn; a workload that is gone is named until the spec names another."""
    postfix = MailServer(installation.sandbox, installation.zone.host("mx"), replicas=4, keeps=True).deploy()
    installation.start()
    installation.apply(workloads=[slowly(postfix)])
    installation.await_ready()

    begin(installation, postfix, "over deleted pods")
    installation.sandbox.delete("pods", "postfix-3")
    installation.sandbox.delete("pods", "postfix-0")
    finish(installation, postfix, 4)

    begin(installation, postfix, "while it grows")
    installation.sandbox.patch(STATEFUL_SETS, postfix.name, {"spec": {"replicas": 6}})
    finish(installation, postfix, 6)

    begin(installation, postfix, "while it shrinks and the spec changes")
    installation.sandbox.patch(STATEFUL_SETS, postfix.name, {"spec": {"replicas": 2}})
    installation.apply(workloads=[slowly(postfix)], probe={"interval": "2h"})
    finish(installation, postfix, 2)

    begin(installation, postfix, "while it is renamed")
    installation.sandbox.delete(STATEFUL_SETS, postfix.name)
    assert "StatefulSet/postfix does not exist" in installation.await_reason("WorkloadNotFound")["message"]
    renamed = MailServer(installation.sandbox, postfix.host, name="relay", replicas=2, keeps=True).deploy()
    installation.apply(workloads=[slowly(renamed)])
    finish(installation, renamed, 2)
    events = [each["event"] for each in installation.get()["status"]["history"]]
    assert set(events) == {"Issued"}


def test_pod_on_a_lost_node_is_named_and_keeps_no_other_pod_from_the_certificate(installation: Installation) -> None:
    """It is waited for, and so is one that is deleted there and does not go; without its Node all ends well."""
    sandbox = installation.sandbox
    lost = f"lost-{sandbox.name}"
    sandbox.api.apply(a_node(lost))
    try:
        postfix = MailServer(sandbox, installation.zone.host("mx"), replicas=1).deploy()
        grown = {"replicas": 2, "template": {"spec": SPREAD}}
        sandbox.patch(STATEFUL_SETS, postfix.name, {"spec": grown})
        pod = sandbox.wait_for("pods", "postfix-1", lambda seen: node_of(seen) == lost)
        assert pod is not None
        installation.start()
        installation.apply(workloads=[{"kind": postfix.kind, "name": postfix.name}])
        await_told(installation, f"Pod postfix-1 on node {lost} is not ready")
        stored = installation.fingerprint()
        sandbox.wait_for("pods", "postfix-0", lambda seen: noted(seen) == stored)
        sandbox.delete("pods", "postfix-1")
        await_told(installation, f"Pod postfix-1 is being deleted; where node {lost} is lost")
    finally:
        sandbox.api.request("DELETE", f"/api/v1/nodes/{lost}")
    finish(installation, postfix, 2)


def a_node(name: str) -> Object:
    """A node that no kubelet stands behind; only pods that tolerate it come there."""
    room = {"cpu": "1", "memory": "1Gi", "pods": "5"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {"taints": [{"key": "mailtls.dev/test", "value": name, "effect": "NoSchedule"}]},
        "status": {"capacity": room, "allocatable": room},
    }


EVERY_NODE = {
    "maxSkew": 1,
    "topologyKey": "kubernetes.io/hostname",
    "whenUnsatisfiable": "DoNotSchedule",
    "labelSelector": {"matchLabels": {"app": "postfix"}},
    "nodeTaintsPolicy": "Honor",
}
SPREAD = {"topologySpreadConstraints": [EVERY_NODE], "tolerations": [{"operator": "Exists"}]}
"""A pod on each node, this one included: also while Kubernetes marks it as not ready, or as one that is gone."""


def node_of(pod: Object | None) -> str:
    """Where a pod is to run."""
    return str((pod or {"spec": {}})["spec"].get("nodeName", ""))


def await_told(installation: Installation, words: str) -> None:
    """Wait until RolledOut says so."""

    def is_told(seen: Object | None) -> bool:
        return words in (condition_of(seen, "RolledOut") or {"message": ""})["message"]

    installation.sandbox.wait_for(MAIL_SERVER_TLS, "mx", is_told)


def slowly(postfix: MailServer) -> dict[str, Any]:
    """Name a workload whose pods take two seconds each."""
    return {"kind": postfix.kind, "name": postfix.name, "reload": SLOW}


def begin(installation: Installation, postfix: MailServer, wanted: str) -> None:
    """Renew, and wait until the first pod has its turn."""
    before = installation.fingerprint()
    installation.renew(wanted)
    first = f"{postfix.name}-0"
    installation.sandbox.wait_for("pods", first, lambda seen: noted(seen) not in {None, before})


def noted(pod: Object | None) -> str | None:
    """The certificate that a pod was last told to load."""
    return ((pod or {"metadata": {}})["metadata"].get("annotations") or {}).get(ANNOTATION)


def finish(installation: Installation, postfix: MailServer, replicas: int) -> None:
    """Wait until as many pods serve the certificate that is stored now, by the status and by what they show."""

    def is_done(seen: Object | None) -> bool:
        ready, status = condition_of(seen, "Ready"), (seen or {}).get("status", {})
        fingerprints = [each.get("servedFingerprintSHA256") for each in status.get("endpoints", ())]
        wanted = [installation.fingerprint()] * replicas * len(PORTS)
        return ready is not None and ready["status"] == "True" and fingerprints == wanted

    installation.sandbox.wait_for(MAIL_SERVER_TLS, "mx", is_done)
    roots = installation.pebble.root()
    staying = [each for each in postfix.pods() if "deletionTimestamp" not in each["metadata"]]
    places = [(each["status"]["podIP"], port) for each in staying for port in PORTS.values()]
    assert len(places) == replicas * len(PORTS)
    assert {served_fingerprint(*place, postfix.host, roots) for place in places} == {installation.fingerprint()}
