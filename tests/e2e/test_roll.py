"""Rollouts of new certificates into real Postfix pods on a real cluster."""

import threading
import uuid
from dataclasses import replace
from datetime import timedelta

import pytest

from e2e.postfixes import SECRET, Mail, pod_spec, workload
from mailtls.api.workload import UpdateStrategy, WorkloadKind
from mailtls.kube.workloads import WATCHED
from mailtls.reasons.reason import Reason
from mailtls.rollout.reload import reload_pod
from mailtls.rollout.steps import ReloadPod, RestartWorkload, RolledOut, RolloutFailed

pytestmark = pytest.mark.cluster

STATEFUL_SET = WorkloadKind.STATEFUL_SET


@pytest.mark.parametrize("kind", WATCHED)
def test_reload_reaches_every_pod_without_a_restart(mail: Mail, kind: WorkloadKind) -> None:
    """Each pod is told once, one after the other, and none is replaced or restarted."""
    postfix = workload(kind, UpdateStrategy.RELOAD)
    first = mail.authority.issue()
    mail.store(first)
    mail.deploy(postfix, pod_spec())
    before = mail.restarts(postfix)
    # An smtpd that only starts after the volume has changed needs no reload: see each serve before.
    assert {each.served_sha256 for each in mail.probe((mail.observe(postfix),), first)} == {first.sha256}
    renewed = mail.authority.issue()
    mail.store(renewed)
    end, steps = mail.roll(renewed, postfix)
    assert end == RolledOut()
    assert [step.pod.uid for step in steps if isinstance(step, ReloadPod)] == [
        pod.uid for pod in mail.observe(postfix).pods
    ]
    assert mail.restarts(postfix) == before
    assert set(before.values()) == {0}
    endpoints = mail.probe((mail.observe(postfix),), renewed)
    assert len(endpoints) == 3 * len(before)
    assert {endpoint.served_sha256 for endpoint in endpoints} == {renewed.sha256}
    assert [endpoint.failure for endpoint in endpoints if endpoint.failure] == []


@pytest.mark.parametrize("kind", WATCHED)
def test_rollout_replaces_every_pod_by_its_template(mail: Mail, kind: WorkloadKind) -> None:
    """One patch of the template, the controller does the rest, and the proof ends it."""
    postfix = workload(kind, UpdateStrategy.RESTART)
    mail.store(mail.authority.issue())
    mail.deploy(postfix, pod_spec(sub_path=True))
    before = set(mail.restarts(postfix))
    renewed = mail.authority.issue()
    mail.store(renewed)
    end, steps = mail.roll(renewed, postfix)
    assert end == RolledOut()
    assert steps == [RestartWorkload(postfix)]
    assert before.isdisjoint(pod.uid for pod in mail.observe(postfix).living_pods)
    again, none = mail.roll(renewed, postfix)
    assert (again, none) == (RolledOut(), [])


def test_sub_path_mount_is_named_before_any_pod_is_touched(mail: Mail) -> None:
    """A reload would never show the new file, so nobody is told."""
    postfix = workload(STATEFUL_SET, UpdateStrategy.RELOAD)
    mail.store(mail.authority.issue())
    mail.deploy(postfix, pod_spec(sub_path=True))
    renewed = mail.authority.issue()
    mail.store(renewed)
    end, steps = mail.roll(renewed, postfix)
    assert isinstance(end, RolloutFailed)
    assert (end.finding.reason, steps) == (Reason.SUB_PATH_MOUNT, [])
    assert [pod.reloaded_sha256 for pod in mail.observe(postfix).pods] == [None, None]


def test_secret_not_mounted_is_named_before_any_pod_is_touched(mail: Mail) -> None:
    """Postfix serves a certificate of its own making."""
    postfix = workload(STATEFUL_SET, UpdateStrategy.RELOAD)
    mail.deploy(postfix, pod_spec(mounted=False))
    end, steps = mail.roll(mail.authority.issue(), postfix)
    assert isinstance(end, RolloutFailed)
    assert (end.finding.reason, steps) == (Reason.SECRET_NOT_MOUNTED, [])


def test_failing_reload_stops_at_the_canary_and_is_mended_by_the_next_attempt(mail: Mail) -> None:
    """The second pod keeps the old certificate until the command is right."""
    broken = workload(STATEFUL_SET, UpdateStrategy.RELOAD, command=("postfix", "relaod"))
    old = mail.authority.issue()
    mail.store(old)
    mail.deploy(broken, pod_spec())
    renewed = mail.authority.issue()
    mail.store(renewed)
    end, steps = mail.roll(renewed, broken)
    assert isinstance(end, RolloutFailed)
    assert end.finding.reason is Reason.RELOAD_FAILED
    assert "exit code 1" in end.finding.message
    assert len(steps) == 1
    assert [pod.reloaded_sha256 for pod in mail.observe(broken).pods] == [renewed.sha256, None]
    mended, steps = mail.roll(renewed, workload(STATEFUL_SET, UpdateStrategy.RELOAD), retry=True)
    assert mended == RolledOut()
    # The second pod may have got there alone: smtpd processes that start meanwhile read the file by themselves.
    told = [step.pod.name for step in steps if isinstance(step, ReloadPod)]
    assert told in (["postfix-0", "postfix-1"], ["postfix-0"])


def test_reload_that_does_nothing_fails_the_canary_and_one_that_goes_on_has_its_settle_time(mail: Mail) -> None:
    """A command that succeeds proves nothing; what it began may take longer than the usual ten seconds."""
    idle = workload(STATEFUL_SET, UpdateStrategy.RELOAD, command=("postconf", "-h", "myhostname"))
    mail.store(mail.authority.issue())
    mail.deploy(idle, pod_spec())
    # Fresh smtpd processes read the file by themselves: make Postfix keep serving the old one from elsewhere.
    copy = "cp -L /etc/mail-tls/tls.* /tmp"
    for pod in mail.observe(idle).pods:
        freeze = f"{copy} && postconf -e smtpd_tls_chain_files=/tmp/tls.key,/tmp/tls.crt"
        done = mail.cluster.execute(
            mail.namespace, pod.name, "postfix", ("sh", "-c", f"{freeze} && postfix reload"), 10
        )
        assert done.exit_code == 0, done.stderr
    renewed = mail.authority.issue()
    mail.store(renewed)
    end, steps = mail.roll(renewed, idle)
    assert isinstance(end, RolloutFailed)
    assert end.finding.reason is Reason.CANARY_FAILED
    for part in ("postfix-0", "port 25", "ServingOldCertificate"):
        assert part in end.finding.message
    assert len(steps) == 1
    assert mail.observe(idle).pods[1].reloaded_sha256 is None
    later = f"(sleep 12; {copy} && postfix reload) >/dev/null 2>&1 &"
    slow = workload(STATEFUL_SET, UpdateStrategy.RELOAD, command=("sh", "-c", later))
    end, steps = mail.roll(renewed, replace(slow, settle_time=timedelta(minutes=2)), retry=True)
    assert end == RolledOut()
    assert [step.pod.name for step in steps if isinstance(step, ReloadPod)] == ["postfix-0", "postfix-1"]


def test_command_that_hangs_is_ended_in_its_pod(mail: Mail) -> None:
    """Neither the command nor what it started is left to run beside the next one."""
    hanging = workload(STATEFUL_SET, UpdateStrategy.RELOAD, command=("sh", "-c", "sleep 12345; postfix reload"))
    mail.store(mail.authority.issue())
    mail.deploy(hanging, pod_spec(), replicas=1)
    renewed = mail.authority.issue()
    mail.store(renewed)
    step = ReloadPod(hanging, mail.observe(hanging).pods[0])
    found = reload_pod(
        mail.cluster,
        mail.namespace,
        step,
        renewed.sha256,
        secret_name=SECRET,
        timeout=60,
        stopping=threading.Event(),
    )
    assert found is not None
    assert found.reason is Reason.RELOAD_FAILED
    assert "did not end within 30 seconds and was ended" in found.message
    listing = ("sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    listed = mail.cluster.execute(mail.namespace, "postfix-0", "postfix", listing, 10)
    assert "master" in listed.stdout
    assert "12345" not in listed.stdout


def test_image_without_cat_is_reloaded_all_the_same(mail: Mail) -> None:
    """Where the file cannot be seen, the kubelet gets its time and the probe proves the rest."""
    postfix = workload(STATEFUL_SET, UpdateStrategy.RELOAD)
    mail.store(mail.authority.issue())
    mail.deploy(postfix, pod_spec(), replicas=1)
    moved = mail.cluster.execute(mail.namespace, "postfix-0", "postfix", ("mv", "/usr/bin/cat", "/usr/bin/dog"), 10)
    assert moved.exit_code == 0, moved.stderr
    renewed = mail.authority.issue()
    mail.store(renewed)
    assert mail.roll(renewed, postfix)[0] == RolledOut()


def test_pod_replaced_between_look_and_step_is_not_told(mail: Mail) -> None:
    """Its namesake has another uid."""
    postfix = workload(STATEFUL_SET, UpdateStrategy.RELOAD)
    served = mail.authority.issue()
    mail.store(served)
    mail.deploy(postfix, pod_spec(), replicas=1)
    gone = replace(mail.observe(postfix).pods[0], uid=str(uuid.uuid4()))
    step = ReloadPod(postfix, gone)
    found = reload_pod(
        mail.cluster, mail.namespace, step, served.sha256, secret_name=SECRET, timeout=5, stopping=threading.Event()
    )
    assert found is not None
    assert found.reason is Reason.POD_NOT_READY
    assert mail.observe(postfix).pods[0].reloaded_sha256 is None


def test_missing_workload_beside_a_good_one_is_named_before_any_pod_is_touched(mail: Mail) -> None:
    """A typing mistake shows at once."""
    postfix = workload(STATEFUL_SET, UpdateStrategy.RELOAD)
    mail.store(mail.authority.issue())
    mail.deploy(postfix, pod_spec())
    renewed = mail.authority.issue()
    mail.store(renewed)
    end, steps = mail.roll(renewed, postfix, workload(WorkloadKind.DEPLOYMENT, UpdateStrategy.RELOAD, name="relay"))
    assert isinstance(end, RolloutFailed)
    assert (end.finding.reason, steps) == (Reason.WORKLOAD_NOT_FOUND, [])


def test_rollout_to_an_image_that_does_not_exist_times_out(mail: Mail) -> None:
    """The controller waits for ever; the rollout does not."""
    postfix = workload(WorkloadKind.DEPLOYMENT, UpdateStrategy.RESTART)
    mail.store(mail.authority.issue())
    mail.deploy(postfix, pod_spec())
    path = f"/apis/apps/v1/namespaces/{mail.namespace}/deployments/postfix"
    container = pod_spec(image="localhost/no-such-image:1")["containers"][0]
    renewed = mail.authority.issue()
    mail.cluster.merge(path, {"spec": {"template": {"spec": {"containers": [container]}}}})
    mail.store(renewed)
    end, _ = mail.roll(renewed, replace(postfix), timeout=timedelta(seconds=6))
    assert isinstance(end, RolloutFailed)
    assert end.finding.reason is Reason.ROLLOUT_TIMEOUT


def test_two_workloads_with_overlapping_labels_are_kept_apart(mail: Mail) -> None:
    """Only pods that a workload's controller made are its own."""
    mail.store(mail.authority.issue())
    inner = workload(WorkloadKind.DEPLOYMENT, UpdateStrategy.RELOAD, name="postfix")
    mail.deploy(inner, pod_spec(), replicas=1)
    stray = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "postfix-debug", "labels": {"app": "postfix"}}}
    mail.cluster.create(f"/api/v1/namespaces/{mail.namespace}/pods", {**stray, "spec": pod_spec()})
    assert [pod.name for pod in mail.observe(inner).pods if pod.name == "postfix-debug"] == []
    assert len(mail.observe(inner).pods) == 1
