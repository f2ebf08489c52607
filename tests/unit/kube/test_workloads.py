"""Workloads and pods as the API server writes them, read into states."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from builders import kube
from builders.rolling import NEW, NOW, OLD, SMTP, evidence, progress, seen
from fakes.cluster import FakeCluster
from mailtls.api.reading.document import Json
from mailtls.api.resource import certificate_annotation, restart_annotation
from mailtls.api.workload import Daemon, UpdateStrategy, Workload, WorkloadKind
from mailtls.kube.interface import ApiError, Conflict
from mailtls.kube.workload import ProcessScope, Reader, WorkloadState
from mailtls.kube.workloads import observe, parse, replace_pod, restart_workload, selector
from mailtls.reasons.reason import Reason
from mailtls.rollout.policy import next_roll
from mailtls.rollout.steps import RestartWorkload, RolledOut

PATH = "/apis/apps/v1/namespaces/mail/statefulsets/postfix"
PODS = "/api/v1/namespaces/mail/pods"
LABELS = {"app": "postfix"}
COMMAND = ("postfix", "reload")


def wanted(
    strategy: UpdateStrategy = UpdateStrategy.RELOAD,
    kind: WorkloadKind = WorkloadKind.STATEFUL_SET,
    container: str | None = None,
) -> Workload:
    """Make the workload of the spec."""
    command = COMMAND if strategy is UpdateStrategy.RELOAD else ()
    return Workload(kind, "postfix", strategy, (Daemon("postfix", (), command, container),))


def read(spec: Json, of: Workload | None = None) -> WorkloadState:
    """Read a workload with this pod spec, and one pod made from it."""
    return parse(of or wanted(), kube.workload(spec=spec), [kube.pod("postfix-0", spec=spec)], "mx-tls")


def reason(state: WorkloadState) -> Reason | None:
    """Return what is wrong with the workload."""
    return state.finding.reason if state.finding else None


def test_stateful_set_and_its_pods_are_observed_by_two_requests() -> None:
    """All that a rollout wants to know comes from one get and one list."""
    told, restarted = {"mailtls.dev/certificate.mx-tls": NEW}, {"mailtls.dev/restarted-for.mx-tls": NEW}
    pods = [
        kube.pod("postfix-10", labels=LABELS),
        kube.pod("postfix-2", annotations=told, labels=LABELS),
        kube.pod("postfix-0", ready="False", labels=LABELS),
        kube.pod("another", labels={"app": "another"}),
    ]
    placed = {f"{PODS}/{each['metadata']['name']}": each for each in pods}
    cluster = FakeCluster({PATH: kube.workload(template={"annotations": restarted}), **placed})
    found = observe(cluster, "mail", wanted(), "mx-tls")
    assert cluster.requests == [("get", PATH, None), ("list", PODS, "app=postfix")]
    assert (found.finding, found.template_sha256, found.replicas_wanted) == (None, NEW, 2)
    assert [pod.name for pod in found.pods] == ["postfix-0", "postfix-2", "postfix-10"]
    assert [pod.ready for pod in found.pods] == [False, True, True]
    assert [pod.reloaded_sha256 for pod in found.pods] == [None, NEW, None]
    first = found.pods[0]
    assert first.readers == (Reader("postfix", "/etc/tls/tls.crt"),)
    assert first.addresses == ("198.18.1.7", "fd00::7")
    assert first.ready_at == datetime(2026, 5, 1, 11, 0, 5, tzinfo=UTC)


@pytest.mark.parametrize("strategy", [UpdateStrategy.RELOAD, UpdateStrategy.RESTART])
def test_upgrade_of_the_operator_restarts_and_reloads_nothing(strategy: UpdateStrategy) -> None:
    """Where no port is probed, what was told is all that is known, and it is in the earlier version's words."""
    earlier = {"mailtls.dev/certificate": NEW}
    body = kube.workload(template={"annotations": earlier})
    pods = [kube.pod("postfix-0", annotations=earlier), kube.pod("postfix-1", annotations=earlier)]
    state = parse(wanted(strategy), body, pods, "mx-tls")
    assert isinstance(next_roll([state], {}, NEW, progress(), NOW), RolledOut)
    assert not isinstance(next_roll([state], {}, OLD, progress(), NOW), RolledOut)


def three_containers() -> Json:
    """Postfix and Dovecot mount the certificate, and a logger does not."""
    spec = kube.pod_spec()
    mounts = spec["containers"][0]["volumeMounts"]
    spec["containers"] += [{"name": "dovecot", "volumeMounts": mounts}, {"name": "logger"}]
    return spec


def together(*containers: str) -> Workload:
    """Make a workload with a daemon in each of these containers."""
    daemons = (Daemon(f"daemon-{n}", (), COMMAND, container) for n, container in enumerate(containers))
    return replace(wanted(), daemons=tuple(daemons))


def test_each_daemon_is_reloaded_in_its_container_and_reads_the_file_there() -> None:
    """Several may share one, as in docker-mailserver; one that mounts nothing has no file."""
    found = read(three_containers(), together("dovecot", "postfix", "postfix", "logger"))
    assert found.finding is None
    mounted = "/etc/tls/tls.crt"
    assert found.pods[0].readers == (
        Reader("dovecot", mounted),
        Reader("postfix", mounted),
        Reader("postfix", mounted),
        Reader("logger"),
    )


def test_container_of_a_second_daemon_is_judged_as_the_first() -> None:
    """One that is not there, and one that mounts the file by subPath."""
    assert reason(read(kube.pod_spec(), together("postfix", "imap"))) is Reason.CONTAINER_NOT_FOUND
    spec = three_containers()
    spec["containers"][1]["volumeMounts"] = [{"name": "tls", "mountPath": "/tls.crt", "subPath": "tls.crt"}]
    assert reason(read(spec, together("postfix", "dovecot"))) is Reason.SUB_PATH_MOUNT
    assert reason(read(spec, together("postfix"))) is None


@pytest.mark.parametrize(
    ("more", "scope"),
    [
        ({}, ProcessScope.CONTAINER),
        ({"shareProcessNamespace": True}, ProcessScope.POD),
        ({"hostPID": True}, ProcessScope.NODE),
    ],
)
def test_whose_processes_a_container_sees_is_read_from_the_pod(more: Json, scope: ProcessScope) -> None:
    """A signal by name could reach those of other pods where it sees the node's."""
    assert read(kube.pod_spec(**more)).pods[0].process_scope is scope


def test_pod_of_two_daemons_started_with_the_first_and_runs_with_both() -> None:
    """The older process may have read an older certificate; a command can be run only where the container runs."""
    made = kube.pod("postfix-0", spec=three_containers())
    running = {"running": {"startedAt": "2026-05-01T11:00:00Z"}}
    later = {"running": {"startedAt": "2026-05-01T11:30:00Z"}}
    names = ("postfix", "dovecot")
    made["status"]["containerStatuses"] = [
        {"name": name, "state": state} for name, state in zip(names, (later, running), strict=True)
    ]
    found = parse(together(*names), kube.workload(), [made], "mx-tls").pods[0]
    assert (found.started_at, found.is_running) == (datetime(2026, 5, 1, 11, tzinfo=UTC), True)
    made["status"]["containerStatuses"][1]["state"] = {"waiting": {"reason": "CrashLoopBackOff"}}
    found = parse(together(*names), kube.workload(), [made], "mx-tls").pods[0]
    assert (found.started_at, found.is_running) == (None, False)


def test_container_that_restarts_in_place_makes_another_run_of_the_same_pod() -> None:
    """Name, uid and addresses stay; only the runtime's ID of the container tells."""
    before, after, successor = (kube.pod("postfix-0") for _ in range(3))
    for each, container in ((before, "containerd://1"), (after, "containerd://2"), (successor, "containerd://1")):
        each["status"]["containerStatuses"] = [{"name": "postfix", "containerID": container}]
    successor["metadata"]["uid"] = "another"
    pods = [parse(wanted(), kube.workload(), [each], "mx-tls").pods[0] for each in (before, after, successor)]
    assert len({pod.run for pod in pods}) == 3
    assert replace(pods[1], run=pods[0].run) == pods[0]


def test_start_of_the_container_that_reads_the_certificate_is_told() -> None:
    """A sidecar that started later read nothing; a container that does not run has no start."""
    states = {"postfix": "2026-05-01T11:00:00Z", "sidecar": "2026-05-01T11:30:00Z"}
    made = kube.pod("postfix-0")
    made["status"]["containerStatuses"] = [
        {"name": name, "state": {"running": {"startedAt": at}}} for name, at in states.items()
    ]
    waiting = kube.pod("postfix-1")
    waiting["status"]["containerStatuses"] = [{"name": "postfix", "state": {"waiting": {}}}]
    runs, waits = parse(wanted(), kube.workload(), [made, waiting], "mx-tls").pods
    assert (runs.started_at, waits.started_at) == (datetime(2026, 5, 1, 11, tzinfo=UTC), None)


def test_missing_workload_is_named_with_its_namespace() -> None:
    """The message says what is missing where."""
    found = observe(FakeCluster(), "mail", wanted(), "mx-tls")
    assert reason(found) is Reason.WORKLOAD_NOT_FOUND
    assert found.finding is not None
    assert "StatefulSet/postfix" in found.finding.message
    assert "namespace mail" in found.finding.message


@pytest.mark.parametrize(("verb", "named"), [("get", "get statefulsets"), ("list", "list pods")])
def test_forbidden_request_names_the_permission(verb: str, named: str) -> None:
    """RBAC mistakes end in the status, with the rule to add."""
    refusal = ApiError(403, "Forbidden", "no")
    cluster = FakeCluster({PATH: kube.workload()}, refuse={verb: refusal})
    found = observe(cluster, "mail", wanted(), "mx-tls")
    assert reason(found) is Reason.FORBIDDEN
    assert found.finding is not None
    assert named in found.finding.message


def test_other_refusal_is_raised() -> None:
    """A server error is no state of the workload."""
    cluster = FakeCluster(refuse={"get": ApiError(500, "InternalError", "etcd")})
    with pytest.raises(ApiError):
        observe(cluster, "mail", wanted(), "mx-tls")


@pytest.mark.parametrize(
    ("kind", "owner", "labels", "is_owned"),
    [
        ("StatefulSet", ("StatefulSet", "postfix", "uid-of-postfix"), {}, True),
        ("StatefulSet", ("StatefulSet", "postfix", "uid-of-its-predecessor"), {}, False),
        ("DaemonSet", ("DaemonSet", "postfix", "uid-of-postfix"), {}, True),
        ("Deployment", ("ReplicaSet", "postfix-5d4f", "u"), {"pod-template-hash": "5d4f"}, True),
        ("Deployment", ("ReplicaSet", "postfix-relay-5d4f", "u"), {"pod-template-hash": "5d4f"}, False),
        ("Deployment", ("Job", "postfix-5d4f", "u"), {"pod-template-hash": "5d4f"}, False),
        ("Deployment", ("ReplicaSet", "postfix-5d4f", "u"), {}, False),
    ],
)
def test_only_pods_of_the_workload_count(
    kind: str, owner: tuple[str, str, str], labels: dict[str, str], is_owned: bool
) -> None:
    """Selectors of other workloads may match the same labels; owners do not lie."""
    pods = [kube.pod("postfix-x", owner=owner, labels=labels)]
    found = parse(wanted(kind=WorkloadKind(kind)), kube.workload(), pods, "mx-tls")
    assert bool(found.pods) is is_owned


def test_pod_without_controller_is_left_out() -> None:
    """A pod started by hand is nobody's."""
    bare = kube.pod("postfix-debug")
    del bare["metadata"]["ownerReferences"]
    assert parse(wanted(), kube.workload(), [bare], "mx-tls").pods == ()


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
def test_dead_pod_is_left_out(phase: str) -> None:
    """Evicted pods stay in lists for days."""
    assert parse(wanted(), kube.workload(), [kube.pod("postfix-0", phase=phase)], "mx-tls").pods == ()


def test_pod_being_deleted_is_terminating() -> None:
    """It still serves, but not for long."""
    leaving = kube.pod("postfix-0", deletionTimestamp="2026-05-01T12:00:00Z")
    found = parse(wanted(), kube.workload(), [leaving], "mx-tls")
    assert found.pods[0].terminating
    assert found.living_pods == ()


def test_pod_not_scheduled_yet_has_no_address() -> None:
    """A pending pod has hardly any status."""
    pending = kube.pod("postfix-0")
    pending["status"] = {"phase": "Pending"}
    found = parse(wanted(), kube.workload(), [pending], "mx-tls").pods[0]
    assert (found.addresses, found.ready, found.ready_at) == ((), False, None)


RENAMED = [{"key": "tls.key", "path": "key.pem"}, {"key": "tls.crt", "path": "mail/cert.pem"}]


def projected(*sources: Json) -> Json:
    """Make a projected volume."""
    return {"projected": {"sources": list(sources), "defaultMode": 420}}


@pytest.mark.parametrize(
    ("volume", "mount", "path", "sub_path"),
    [
        (None, {}, "/etc/tls/tls.crt", False),
        (None, {"mountPath": "/etc/tls/"}, "/etc/tls/tls.crt", False),
        ({"secret": {"secretName": "mx-tls", "items": RENAMED}}, {}, "/etc/tls/mail/cert.pem", False),
        (projected({"configMap": {"name": "mx-tls"}}, {"secret": {"name": "mx-tls"}}), {}, "/etc/tls/tls.crt", False),
        (projected({"secret": {"name": "mx-tls", "items": RENAMED}}), {}, "/etc/tls/mail/cert.pem", False),
        (None, {"mountPath": "/etc/cert.pem", "subPath": "tls.crt"}, "/etc/cert.pem", True),
        (None, {"mountPath": "/etc/cert.pem", "subPathExpr": "tls.crt"}, "/etc/cert.pem", True),
        (
            {"secret": {"secretName": "mx-tls", "items": RENAMED}},
            {"mountPath": "/etc/mail", "subPath": "mail"},
            "/etc/mail/cert.pem",
            True,
        ),
    ],
)
def test_mounted_certificate_is_found_at_its_path(volume: Json | None, mount: Json, path: str, sub_path: bool) -> None:
    """Volumes, projections, renamed items and sub-paths all lead to one file."""
    found = read(kube.pod_spec(volume=volume, mount=mount))
    assert found.pods[0].readers == (Reader("postfix", path, sub_path),)
    assert reason(found) is (Reason.SUB_PATH_MOUNT if sub_path else None)


@pytest.mark.parametrize(
    ("volume", "mount"),
    [
        ({"secret": {"secretName": "another"}}, {}),
        ({"secret": {"secretName": "mx-tls", "items": [{"key": "tls.key", "path": "key.pem"}]}}, {}),
        (projected({"configMap": {"name": "mx-tls"}}), {}),
        (projected({"secret": {"name": "another"}}), {}),
        (None, {"mountPath": "/etc/key.pem", "subPath": "tls.key"}),
        (None, {"name": "queue"}),
    ],
)
def test_certificate_that_no_container_mounts_is_named(volume: Json | None, mount: Json) -> None:
    """Before anything is touched, and even while no pod runs."""
    spec = kube.pod_spec(volume=volume, mount=mount)
    found = parse(wanted(), kube.workload(spec=spec), [], "mx-tls")
    assert reason(found) is Reason.SECRET_NOT_MOUNTED
    assert found.finding is not None
    assert "Secret mx-tls" in found.finding.message


def two_containers() -> Json:
    """Make a spec where Dovecot mounts the Secret by sub-path and Postfix mounts the whole volume."""
    spec = kube.pod_spec()
    sub = [{"name": "tls", "mountPath": "/etc/cert.pem", "subPath": "tls.crt"}]
    spec["containers"].insert(0, {"name": "dovecot", "volumeMounts": sub})
    spec["containers"].insert(0, {"name": "logger"})
    return spec


@pytest.mark.parametrize(
    ("container", "reloaded", "path", "finding"),
    [
        (None, "postfix", "/etc/tls/tls.crt", None),
        ("postfix", "postfix", "/etc/tls/tls.crt", None),
        ("dovecot", "dovecot", "/etc/cert.pem", Reason.SUB_PATH_MOUNT),
        ("logger", "logger", None, None),
        ("nginx", "nginx", None, Reason.CONTAINER_NOT_FOUND),
    ],
)
def test_container_to_reload_is_the_named_one_else_the_first_that_updates(
    container: str | None, reloaded: str, path: str | None, finding: Reason | None
) -> None:
    """A named container wins; without a name one with an updating mount does."""
    found = read(two_containers(), wanted(container=container))
    assert [(each.container, each.path) for each in found.pods[0].readers] == [(reloaded, path)]
    assert reason(found) is finding


def test_unknown_container_message_lists_the_known_ones() -> None:
    """A typing mistake is mended by choosing from a list."""
    found = read(two_containers(), wanted(container="nginx"))
    assert found.finding is not None
    assert "logger, dovecot, postfix" in found.finding.message


def init_container(**more: Any) -> Json:
    """Make a spec where only an init container mounts the Secret."""
    spec = kube.pod_spec(mount={"name": "queue"})
    mounts = [{"name": "tls", "mountPath": "/tls"}]
    spec["initContainers"] = [{"name": "copy", "volumeMounts": mounts, **more}]
    return spec


def test_init_container_alone_cannot_be_reloaded() -> None:
    """It has ended long ago, and its copy stays as it is."""
    assert reason(read(init_container())) is Reason.SECRET_COPIED_AT_START


def test_init_container_alone_is_enough_for_a_rollout() -> None:
    """A fresh pod runs it again."""
    assert reason(read(init_container(), wanted(UpdateStrategy.RESTART))) is None


def test_sidecar_can_be_reloaded() -> None:
    """An init container that restarts always lives as long as the pod."""
    found = read(init_container(restartPolicy="Always"))
    assert reason(found) is None
    assert found.pods[0].readers[0].container == "copy"


@pytest.mark.parametrize(
    "environment",
    [
        {"envFrom": [{"configMapRef": {"name": "c"}}, {"secretRef": {"name": "mx-tls"}}]},
        {"env": [{"name": "A", "value": "b"}, {"name": "C", "valueFrom": {"secretKeyRef": {"name": "mx-tls"}}}]},
    ],
)
def test_secret_in_the_environment_is_enough_for_a_rollout(environment: Json) -> None:
    """A fresh pod reads it; a running one never does."""
    spec = {"containers": [{"name": "postfix", **environment}]}
    assert reason(read(spec, wanted(UpdateStrategy.RESTART))) is None
    assert reason(read(spec)) is Reason.SECRET_IN_ENVIRONMENT


def test_sub_path_is_fine_for_a_rollout() -> None:
    """A fresh pod mounts the fresh file."""
    spec = kube.pod_spec(mount={"mountPath": "/etc/cert.pem", "subPath": "tls.crt"})
    assert reason(read(spec, wanted(UpdateStrategy.RESTART))) is None


@pytest.mark.parametrize(
    ("strategy", "expected"), [(UpdateStrategy.RESTART, Reason.SECRET_NOT_MOUNTED), (UpdateStrategy.NONE, None)]
)
def test_secret_nowhere_matters_where_the_operator_acts(strategy: UpdateStrategy, expected: Reason | None) -> None:
    """With `updateStrategy: None` the certificate may come by ways that only the user knows."""
    assert reason(read({"containers": [{"name": "postfix", "volumeMounts": None}]}, wanted(strategy))) is expected


def statuses() -> list[Any]:
    """List status JSON of each kind, by whether its controller has finished."""
    sts = {"observedGeneration": 3, "readyReplicas": 2, "updateRevision": "b", "currentRevision": "b"}
    dep = {"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
    dae = {"observedGeneration": 3, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2}
    return [
        pytest.param("StatefulSet", sts, True, id="stateful-set-done"),
        pytest.param("StatefulSet", {**sts, "observedGeneration": 2}, False, id="stateful-set-unseen"),
        pytest.param("StatefulSet", {**sts, "currentRevision": "a"}, False, id="stateful-set-between-revisions"),
        pytest.param("StatefulSet", {**sts, "readyReplicas": 1}, False, id="stateful-set-not-ready"),
        pytest.param("Deployment", dep, True, id="deployment-done"),
        pytest.param("Deployment", {**dep, "observedGeneration": 2}, False, id="deployment-unseen"),
        pytest.param("Deployment", {**dep, "updatedReplicas": 1}, False, id="deployment-half"),
        pytest.param("Deployment", {**dep, "replicas": 3}, False, id="deployment-old-pods-left"),
        pytest.param("Deployment", {**dep, "availableReplicas": 1}, False, id="deployment-not-available"),
        pytest.param("DaemonSet", dae, True, id="daemon-set-done"),
        pytest.param("DaemonSet", {**dae, "observedGeneration": 2}, False, id="daemon-set-unseen"),
        pytest.param("DaemonSet", {**dae, "updatedNumberScheduled": 1}, False, id="daemon-set-half"),
        pytest.param("DaemonSet", {**dae, "numberAvailable": 1}, False, id="daemon-set-not-available"),
        pytest.param("DaemonSet", {}, False, id="daemon-set-without-status"),
    ]


@pytest.mark.parametrize(("kind", "status", "rolled"), statuses())
def test_rollout_of_the_controller_is_judged_like_kubectl_does(kind: str, status: Json, rolled: bool) -> None:
    """Generation seen, all pods updated, old ones gone, all available."""
    found = parse(wanted(kind=WorkloadKind(kind)), kube.workload(status=status), [], "mx-tls")
    assert found.rolled is rolled


def test_partitioned_stateful_set_is_rolled_above_its_partition() -> None:
    """The pods below the partition keep their template by the user's wanted."""
    status = {"observedGeneration": 3, "readyReplicas": 2, "updatedReplicas": 1, "updateRevision": "b"}
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
    assert parse(wanted(), kube.workload(status=status, updateStrategy=strategy), [], "mx-tls").rolled


@pytest.mark.parametrize(("updated", "rolled"), [(1, False), (2, True)])
def test_stateful_set_with_on_delete_is_rolled_once_all_pods_are_updated(updated: int, rolled: bool) -> None:
    """Its currentRevision never follows, and a person replaces the pods."""
    status = {"observedGeneration": 3, "readyReplicas": 2, "updatedReplicas": updated, "updateRevision": "b"}
    body = kube.workload(status={**status, "currentRevision": "a"}, updateStrategy={"type": "OnDelete"})
    found = parse(wanted(), body, [], "mx-tls")
    assert found.rolled is rolled
    assert "delete the pods yourself" in found.by_hand


def test_paused_deployment_names_how_to_resume_it() -> None:
    """A paused Deployment replaces nothing until somebody resumes it."""
    body = kube.workload(status={}, paused=True)
    assert "rollout resume" in parse(wanted(kind=WorkloadKind.DEPLOYMENT), body, [], "mx-tls").by_hand


def test_daemon_set_wants_as_many_pods_as_nodes() -> None:
    """It has no replicas in its spec."""
    body = kube.workload(status={"desiredNumberScheduled": 5})
    assert parse(wanted(kind=WorkloadKind.DAEMON_SET), body, [], "mx-tls").replicas_wanted == 5


def test_selector_writes_labels_and_all_four_operators() -> None:
    """Label selectors of any form can be sent as a query."""
    expressions = [
        {"key": "a", "operator": "In", "values": ["x", "y"]},
        {"key": "b", "operator": "NotIn", "values": ["z"]},
        {"key": "c", "operator": "Exists"},
        {"key": "d", "operator": "DoesNotExist"},
    ]
    written = selector({"matchLabels": {"app": "postfix", "tier": "mx"}, "matchExpressions": expressions})
    assert written == "app=postfix,tier=mx,a in (x,y),b notin (z),c,!d"


def test_restart_names_the_certificate_in_the_template() -> None:
    """One patch, the same for the same certificate; the workload keeps it where its template is put back."""
    cluster = FakeCluster({PATH: kube.workload()})
    state = WorkloadState(wanted(UpdateStrategy.RESTART), uid=cluster.objects[PATH]["metadata"]["uid"])
    assert restart_workload(cluster, "mail", state, NEW, "mx-tls", now=NOW) is None
    named = {"annotations": {"mailtls.dev/restarted-for.mx-tls": NEW}}
    patch = {"metadata": {"uid": state.uid, **named}, "spec": {"template": {"metadata": named}}}
    assert cluster.requests == [("merge", PATH, patch)]
    reverted = cluster.objects[PATH]
    reverted["spec"]["template"] = kube.workload()["spec"]["template"]
    reverted["metadata"]["managedFields"] = [
        written_by("mailtls", "2026-05-01T12:00:02Z"),
        written_by("argocd-controller", "2026-05-01T12:00:01Z"),
        written_by("helm", "2026-05-01T12:00:00Z"),
        {"manager": "kube-controller-manager", "time": "2026-05-01T12:00:09Z", "fieldsV1": {"f:status": {}}},
    ]
    found = parse(wanted(UpdateStrategy.RESTART), reverted, [], "mx-tls")
    assert (found.template_sha256, found.restarted_sha256, found.template_keeper) == (None, NEW, "argocd-controller")


def written_by(manager: str, at: str) -> Json:
    """Record who wrote a pod template and when, as the API server does."""
    return {"manager": manager, "time": at, "fieldsV1": {"f:spec": {"f:template": {}}}}


@pytest.mark.parametrize(("status", "expected"), [(403, Reason.FORBIDDEN), (404, Reason.WORKLOAD_NOT_FOUND)])
def test_restart_refused_is_a_finding(status: int, expected: Reason) -> None:
    """What a user can mend is told, not raised."""
    cluster = FakeCluster(refuse={"merge": ApiError(status, "", "no")})
    state = WorkloadState(wanted(UpdateStrategy.RESTART), uid="uid-1")
    found = restart_workload(cluster, "mail", state, NEW, "mx-tls", now=NOW)
    assert found is not None
    assert found.reason is expected


def test_pod_is_replaced_by_its_uid() -> None:
    """A pod that has its name by now is left alone."""
    cluster = FakeCluster()
    place = "/api/v1/namespaces/mail/pods"
    cluster.create(place, kube.pod("postfix-0"))
    old = parse(wanted(), kube.workload(), [kube.pod("postfix-0")], "mx-tls").pods[0]
    with pytest.raises(ApiError):
        replace_pod(cluster, "mail", replace(old, uid="another"))
    assert replace_pod(cluster, "mail", old) is None
    assert cluster.get(f"{place}/postfix-0") is None


def test_pod_that_may_not_be_deleted_is_left_to_a_person() -> None:
    """The message names the right that is missing and the pod."""

    class Denied(FakeCluster):
        def delete(self, path: str, *, uid: str | None = None) -> None:
            raise ApiError(403, "Forbidden", f"{path} {uid}")

    old = parse(wanted(), kube.workload(), [kube.pod("postfix-0")], "mx-tls").pods[0]
    found = replace_pod(Denied(), "mail", old)
    assert found is not None
    assert found.reason is Reason.FORBIDDEN
    assert "delete pods" in found.message
    assert "delete pod postfix-0 yourself" in found.message


def test_crashing_container_started_when_its_last_run_did() -> None:
    """It waits for its next start, and no command can be run in it."""
    made = kube.pod("postfix-0", creationTimestamp="2026-05-01T10:00:00Z")
    last = {"terminated": {"startedAt": "2026-05-01T11:00:00Z", "exitCode": 1}}
    state = {"waiting": {"reason": "CrashLoopBackOff"}}
    made["status"]["containerStatuses"] = [{"name": "postfix", "state": state, "lastState": last}]
    found = parse(wanted(), kube.workload(), [made], "mx-tls").pods[0]
    assert (found.started_at, found.is_running) == (datetime(2026, 5, 1, 11, tzinfo=UTC), False)
    assert found.made_at == datetime(2026, 5, 1, 10, tzinfo=UTC)
    running = {"running": {"startedAt": "2026-05-01T11:05:00Z"}}
    made["status"]["containerStatuses"] = [{"name": "postfix", "state": running, "lastState": last}]
    found = parse(wanted(), kube.workload(), [made], "mx-tls").pods[0]
    assert (found.started_at, found.is_running) == (datetime(2026, 5, 1, 11, 5, tzinfo=UTC), True)


def test_annotations_of_long_and_of_different_secrets_differ() -> None:
    """A name of an annotation has 63 characters, that of a Secret 253."""
    names = ["mx-tls", "mx", "a" * 253, "a" * 252]
    written = {of(name) for of in (certificate_annotation, restart_annotation) for name in names}
    assert len(written) == 2 * len(names)
    assert max(len(each.partition("/")[2]) for each in written) <= 63


def test_two_resources_on_one_workload_do_not_undo_each_others_restarts() -> None:
    """Each leaves its own word in the template; before, each took the other's for an order to restart again."""
    cluster, both = FakeCluster(), {"mx-tls": NEW, "imap-tls": "2" * 64}
    spec = kube.pod_spec()
    spec["containers"][0]["envFrom"] = [{"secretRef": {"name": "imap-tls"}}]
    cluster.create(PATH.rpartition("/")[0], kube.workload(spec=spec, status={"observedGeneration": 3}))
    of, restarts = replace(wanted(UpdateStrategy.RESTART), daemons=(Daemon("postfix", (SMTP,)),)), []
    for attempt in range(8):
        secret_name = ("mx-tls", "imap-tls")[attempt % 2]
        body = cluster.get(PATH)
        assert body is not None
        pods = [
            kube.pod(f"postfix-{n}", annotations=body["spec"]["template"]["metadata"].get("annotations", {}))
            for n in (0, 1)
        ]
        state = parse(of, body, pods, secret_name)
        served = evidence([seen(f"postfix-{n}", SMTP, OLD) for n in (0, 1)])
        step = next_roll([state], served, both[secret_name], progress(retry=True), NOW)
        if isinstance(step, RestartWorkload):
            restarts.append(secret_name)
            assert restart_workload(cluster, "mail", state, both[secret_name], secret_name, now=NOW) is None
    assert restarts == ["mx-tls", "imap-tls"]


def test_restart_failing_otherwise_is_raised() -> None:
    """A server error is tried again."""
    cluster = FakeCluster(refuse={"merge": ApiError(500, "InternalError", "etcd")})
    state = WorkloadState(wanted(UpdateStrategy.RESTART), uid="uid-1")
    with pytest.raises(ApiError):
        restart_workload(cluster, "mail", state, NEW, "mx-tls", now=NOW)


def test_workload_that_was_made_anew_meanwhile_is_not_restarted() -> None:
    """Its pods are younger than what was seen, so a restart of them would be in vain."""
    cluster = FakeCluster({PATH: kube.workload()})
    seen_before = WorkloadState(wanted(UpdateStrategy.RESTART), uid="of-the-one-before")
    with pytest.raises(Conflict):
        restart_workload(cluster, "mail", seen_before, NEW, "mx-tls", now=NOW)
    assert cluster.objects[PATH] == kube.workload()


def test_labels_and_port_names_of_the_template_are_read() -> None:
    """By these a Service finds the pods and their ports, a sidecar's included."""
    spec = kube.pod_spec() | {"initContainers": [{"name": "proxy", "restartPolicy": "Always", "ports": [NAMED]}]}
    found = parse(wanted(), kube.workload(spec=spec, template={"labels": {"app": "postfix"}}), [], "mx-tls")
    assert (found.labels, found.port_names) == ({"app": "postfix"}, {"smtp": 25})


NAMED = {"name": "smtp", "containerPort": 25}


@pytest.mark.parametrize(("free_from", "expected"), [(None, {"exim"}), ("1024", {"exim"}), ("25", set()), ("0", set())])
def test_containers_that_gain_no_rights_are_read_unless_everyone_may_open_mail_ports(
    free_from: str | None, expected: set[str]
) -> None:
    """By the pod's own spec: a template may have changed since."""
    pod = kube.pod("postfix-0")
    locked = {"name": "exim", "securityContext": {"allowPrivilegeEscalation": False}}
    pod["spec"]["containers"] += [locked, {"name": "free", "securityContext": {"allowPrivilegeEscalation": True}}]
    if free_from is not None:
        sysctls = [{"name": "net.ipv4.ip_unprivileged_port_start", "value": free_from}]
        pod["spec"]["securityContext"] = {"sysctls": sysctls}
    (found,) = parse(wanted(), kube.workload(), [pod], "mx-tls").pods
    assert found.without_rights == expected
