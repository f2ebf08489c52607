"""A Rollout of Argo on the real cluster, its controller played by the test: pods are restarted, or reloaded."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from e2e.postfixes import Mail, pod_spec, workload
from mailtls.api.workload import UpdateStrategy, WorkloadKind
from mailtls.kube.workloads import workload_path
from mailtls.reasons.reason import Reason
from mailtls.rollout.steps import ReloadPod, RestartWorkload, RolledOut, RolloutFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.api import Api, Object

pytestmark = pytest.mark.cluster

CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "rollouts.argoproj.io"},
    "spec": {
        "group": "argoproj.io",
        "scope": "Namespaced",
        "names": {"kind": "Rollout", "plural": "rollouts", "singular": "rollout", "shortNames": ["ro"]},
        "versions": [
            {
                "name": "v1alpha1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}
HASH = "5d4f"
LABELS = {"app": "postfix", "rollouts-pod-template-hash": HASH}
BY_RESTART = workload(WorkloadKind.ROLLOUT, UpdateStrategy.RESTART)


@pytest.fixture(scope="session")
def rollouts(api: Api, cluster: Any) -> None:
    """Have the API server know Rollouts."""
    api.apply(CRD)
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=120s", "crd/rollouts.argoproj.io")


@contextmanager
def controller(mail: Mail, api: Api) -> Iterator[list[str]]:
    """Do what Argo's controller does with one Rollout: keep its status, and replace what `restartAt` makes old.

    From that time on one pod after the other is deleted while all are available, those made before; then it says so.
    """
    path, done, deleted = workload_path(mail.namespace, BY_RESTART), threading.Event(), []

    def tend() -> None:
        while not done.wait(0.1):
            rollout = api.request("GET", path)
            pods = api.request("GET", f"/api/v1/namespaces/{mail.namespace}/pods", labelSelector="app=postfix")["items"]
            restart_at = rollout["spec"].get("restartAt", "")
            restart_at = restart_at if f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}" >= restart_at else ""
            older = [each["metadata"] for each in pods if each["metadata"]["creationTimestamp"] < restart_at]
            available = [each for each in pods if is_available(each)]
            status = {"observedGeneration": str(rollout["metadata"]["generation"]), "availableReplicas": len(available)}
            if older and len(available) == rollout["spec"]["replicas"]:
                api.request("DELETE", f"/api/v1/namespaces/{mail.namespace}/pods/{older[0]['name']}")
                deleted.append(older[0]["name"])
            elif restart_at and not older:
                status["restartedAt"] = restart_at
            merge = "application/merge-patch+json"
            api.request("PATCH", f"{path}/status", body={"status": status}, kind=merge)

    thread = threading.Thread(target=tend)
    thread.start()
    try:
        yield deleted
    finally:
        done.set()
        thread.join()


def is_available(pod: Object) -> bool:
    """Whether a pod is ready and stays."""
    ready = [each for each in pod["status"].get("conditions", ()) if each["type"] == "Ready"]
    return "deletionTimestamp" not in pod["metadata"] and any(each["status"] == "True" for each in ready)


def deploy(mail: Mail, api: Api) -> None:
    """Make a Deployment that only lends its template, the Rollout, and the ReplicaSet that its controller makes."""
    lent = workload(WorkloadKind.DEPLOYMENT, UpdateStrategy.RELOAD)
    mail.deploy(lent, pod_spec(), replicas=0, wait=False)
    selector, reference = {"matchLabels": {"app": "postfix"}}, {"apiVersion": "apps/v1", "kind": "Deployment"}
    spec = {"replicas": 2, "selector": selector, "workloadRef": reference | {"name": lent.name}}
    rollout = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "postfix"}, "spec": spec}
    made = mail.cluster.create(workload_path(mail.namespace, BY_RESTART).rsplit("/", 1)[0], rollout)
    owner = {key: made[key] for key in ("apiVersion", "kind")} | {"controller": True}
    owner |= {key: made["metadata"][key] for key in ("name", "uid")}
    template = {"metadata": {"labels": LABELS}, "spec": pod_spec()}
    replica_set = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": f"postfix-{HASH}", "ownerReferences": [owner]},
        "spec": {"replicas": 2, "selector": {"matchLabels": LABELS}, "template": template},
    }
    api.apply(replica_set, mail.namespace)


def test_rollout_of_argo_is_restarted_by_its_own_field_and_its_pods_are_reloaded(
    mail: Mail, api: Api, rollouts: None
) -> None:
    """Its Deployment, which only lends the template, is told from it by name; a reload replaces no pod."""
    mail.store(first := mail.authority.issue())
    deploy(mail, api)
    with controller(mail, api) as deleted:
        before = {pod.uid for pod in mail.await_ready(BY_RESTART).pods}
        assert len(before) == 2
        lent, _ = mail.roll(first, workload(WorkloadKind.DEPLOYMENT, UpdateStrategy.RELOAD))
        assert isinstance(lent, RolloutFailed)
        assert (lent.finding.reason, "kind: Rollout" in lent.finding.message) == (Reason.NO_PODS, True)
        served = mail.probe((mail.observe(BY_RESTART),), first)
        assert {each.served_sha256 for each in served} == {first.sha256}
        mail.store(second := mail.authority.issue())
        end, steps = mail.roll(second, workload(WorkloadKind.ROLLOUT, UpdateStrategy.RELOAD))
        assert end == RolledOut()
        assert any(isinstance(step, ReloadPod) for step in steps)
        assert ({pod.uid for pod in mail.observe(BY_RESTART).pods}, deleted) == (before, [])
        mail.store(third := mail.authority.issue())
        end, steps = mail.roll(third, BY_RESTART)
        assert end == RolledOut()
        assert steps == [RestartWorkload(BY_RESTART)]
        assert before.isdisjoint(pod.uid for pod in mail.observe(BY_RESTART).living_pods)
        assert len(deleted) == 2
