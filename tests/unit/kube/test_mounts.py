"""How the Secret comes into a pod: what follows it, what stays as it was at the start, and who may read its files."""

from dataclasses import replace
from typing import Any

import pytest

from builders import kube
from fakes.cluster import FakeCluster
from mailtls.api.reading.document import Json
from mailtls.api.workload import Daemon, UpdateStrategy, Workload, WorkloadKind
from mailtls.kube.mounts import key_fault
from mailtls.kube.workload import WorkloadState
from mailtls.kube.workloads import observe, parse
from mailtls.reasons.reason import Reason, Severity

RELOAD, RESTART, NONE = UpdateStrategy.RELOAD, UpdateStrategy.RESTART, UpdateStrategy.NONE
TLS = [{"name": "tls", "mountPath": "/etc/tls"}]
SHARED = {"name": "shared", "mountPath": "/certs"}
COPY = {"name": "copy", "volumeMounts": [*TLS, SHARED]}


def wanted(strategy: UpdateStrategy = RELOAD, container: str | None = None) -> Workload:
    """Make the workload of the spec."""
    command = ("postfix", "reload") if strategy is RELOAD else ()
    return Workload(WorkloadKind.STATEFUL_SET, "postfix", strategy, (Daemon("postfix", (), command, container),))


def read(spec: Json, of: Workload | None = None) -> WorkloadState:
    """Read a workload with this pod spec, and one pod made from it."""
    return parse(of or wanted(), kube.workload(spec=spec), [kube.pod("postfix-0", spec=spec)], "mx-tls")


def judged(spec: Json, of: Workload | None = None) -> tuple[Reason | None, str]:
    """Return the reason and the words of what is wrong with the workload."""
    found = read(spec, of).finding
    return (found.reason, found.message) if found else (None, "")


def spec_of(*containers: Json, init: tuple[Json, ...] = (), volume: Json | None = None, **more: Any) -> Json:
    """Make a pod's spec with these containers beside the Secret's volume and a shared one."""
    made = kube.pod_spec(volume=volume, **more)
    made["volumes"].append({"name": "shared", "emptyDir": {}})
    return made | {"containers": list(containers), "initContainers": list(init)}


def server(*mounts: Json, name: str = "postfix", **more: Any) -> Json:
    """Make a container."""
    return {"name": name, "volumeMounts": list(mounts), **more}


def test_copy_of_an_init_container_is_named_with_the_strategy_that_works() -> None:
    """Whether the Secret is in no running container, or in one that keeps nothing up to date for the server."""
    alone = spec_of(server(SHARED), init=(COPY,))
    beside = spec_of(server(*TLS, name="exporter"), server(SHARED), init=({"name": "fix"}, COPY))
    for spec, of in ((alone, wanted()), (alone, wanted(container="postfix")), (beside, wanted(container="postfix"))):
        reason, message = judged(spec, of)
        assert reason is Reason.SECRET_COPIED_AT_START
        assert all(part in message for part in ("Init container copy", "Secret mx-tls", "updateStrategy: Restart"))
        assert judged(spec, wanted(RESTART)) == (None, "")


def test_copy_that_a_running_container_keeps_up_to_date_is_none() -> None:
    """A sidecar copies each new certificate; the first comes by the init container."""
    sidecar = server(*TLS, SHARED, name="sync")
    for spec in (
        spec_of(server(SHARED), sidecar, init=(COPY,)),
        spec_of(server(SHARED), init=(COPY, sidecar | {"restartPolicy": "Always"})),
        spec_of(server(*TLS), init=(COPY,)),
    ):
        assert judged(spec, wanted(container="postfix")) == (None, "")


def test_init_container_that_mounts_the_secret_beside_the_server_is_remembered_of_the_pod() -> None:
    """The server may use the copy: that is worth a word where a reload was in vain."""
    found = read(spec_of(server(*TLS, SHARED), init=(COPY,)))
    assert (found.finding, found.pods[0].copier) == (None, "copy")


def test_native_sidecar_is_a_server_like_any_other() -> None:
    """Mounted there alone, it is the one that is reloaded; an ephemeral container is nobody."""
    daemon = server(*TLS, name="daemon", restartPolicy="Always")
    spec = spec_of(server(), init=(daemon,)) | {"ephemeralContainers": [server(*TLS, name="debugger")]}
    found = read(spec)
    assert (found.finding, found.pods[0].readers[0].container, found.pods[0].copier) == (None, "daemon", "")
    assert judged(spec | {"initContainers": []})[0] is Reason.SECRET_NOT_MOUNTED


@pytest.mark.parametrize("optional", [True, False])
def test_environment_is_named_unless_the_file_is_mounted_too(optional: bool) -> None:
    """Variables never change in a running container."""
    from_secret: Json = {"envFrom": [{"secretRef": {"name": "mx-tls", "optional": optional}}]}
    reason, message = judged(spec_of(server(**from_secret)))
    assert (reason, "updateStrategy: Restart" in message) == (Reason.SECRET_IN_ENVIRONMENT, True)
    assert judged(spec_of(server(**from_secret)), wanted(RESTART)) == (None, "")
    assert judged(spec_of(server(*TLS, **from_secret))) == (None, "")


@pytest.mark.parametrize(
    ("driver", "part", "by_restart"),
    [
        ("secrets-store.csi.k8s.io", "filled from the store", None),
        ("csi.cert-manager.io", "certificate of its own for each pod", Reason.SECRET_NOT_MOUNTED),
        ("csi.example.com", "is no Secret", Reason.SECRET_NOT_MOUNTED),
    ],
)
def test_csi_volume_is_named_by_its_driver(driver: str, part: str, by_restart: Reason | None) -> None:
    """What is in it is not the Secret; a fresh pod reads the store from which the Secret comes."""
    spec = spec_of(server(*TLS), volume={"csi": {"driver": driver, "readOnly": True}})
    reason, message = judged(spec)
    assert reason is Reason.SECRET_NOT_MOUNTED
    assert all(each in message for each in (driver, part))
    assert judged(spec, wanted(RESTART))[0] is by_restart
    assert judged(spec, wanted(NONE)) == (None, "")


def projected(*sources: Json) -> Json:
    """Make a projected volume."""
    return {"projected": {"sources": list(sources), "defaultMode": 0o400}}


CERTIFICATE: Json = {"secret": {"name": "mx-tls", "items": [{"key": "tls.crt", "path": "mail/cert.pem"}]}}
KEY: Json = {"secret": {"name": "mx-tls", "items": [{"key": "tls.key", "path": "mail/key.pem", "mode": 0o440}]}}


def test_projected_volume_may_have_the_certificate_in_any_of_its_sources() -> None:
    """Certificate and key by items of their own, beside another Secret and a token, and all of it optional."""
    token = {"serviceAccountToken": {"path": "token"}}
    own = [{"secret": {**each["secret"], "optional": True}} for each in (KEY, CERTIFICATE)]
    sources: list[Json] = [{"secret": {"name": "another"}}, own[0], token, own[1]]
    found = read(spec_of(server(*TLS), volume=projected(*sources)))
    assert (found.finding, found.pods[0].readers[0].path) == (None, "/etc/tls/mail/cert.pem")


@pytest.mark.parametrize(
    ("strategy", "replicas", "reason"),
    [
        (RELOAD, 1, Reason.SECRET_IMMUTABLE),
        (RESTART, 2, Reason.SECRET_IMMUTABLE),
        (RESTART, 1, None),
        (NONE, 2, None),
    ],
)
def test_immutable_secret_reaches_fresh_pods_only_where_none_is_left_on_the_node(
    strategy: UpdateStrategy, replicas: int, reason: Reason | None
) -> None:
    """A kubelet keeps what it read first while any pod mounts it. What is impossible anyway is said first."""
    path = "/apis/apps/v1/namespaces/mail/statefulsets/postfix"
    cluster = FakeCluster({path: kube.workload(replicas=replicas)})
    found = observe(cluster, "mail", wanted(strategy), "mx-tls", is_immutable=True).finding
    assert (found.reason if found else None) is reason
    assert found is None or "without immutable: true" in found.message
    cluster.objects[path] = kube.workload(spec=spec_of(server(SHARED), init=(COPY,)))
    found = observe(cluster, "mail", wanted(), "mx-tls", is_immutable=True).finding
    assert found is not None
    assert found.reason is Reason.SECRET_COPIED_AT_START


SECRET = {"secret": {"secretName": "mx-tls", "defaultMode": 0o400}}
AS_USER, AS_GROUP = {"runAsUser": 101}, {"runAsUser": 101, "runAsGroup": 101}


@pytest.mark.parametrize(
    ("volume", "pod", "container", "severity"),
    [
        (SECRET, AS_USER, {}, Severity.FAIL),
        (SECRET, {}, AS_USER, Severity.FAIL),
        (SECRET, {**AS_USER, "fsGroup": 101}, {}, None),  # the kubelet makes it 0440
        (SECRET, {"runAsUser": 0}, AS_GROUP, Severity.FAIL),
        (SECRET, AS_USER, {"runAsUser": 0}, Severity.WARN),
        (SECRET, {}, {}, Severity.WARN),  # as whom it runs, the image says
        (None, AS_GROUP, {}, None),  # mode 0644
        ({"secret": {"secretName": "mx-tls", "defaultMode": 0o440}}, AS_GROUP, {}, Severity.FAIL),
        ({"secret": {"secretName": "mx-tls", "defaultMode": 0o440}}, AS_USER, {}, None),  # in root's group
        ({"secret": {"secretName": "mx-tls", "defaultMode": 0o440}}, {**AS_GROUP, "supplementalGroups": [0]}, {}, None),
        (projected(CERTIFICATE, KEY), AS_USER, {}, None),  # the item's own mode
        (projected(CERTIFICATE, KEY), AS_GROUP, {}, Severity.FAIL),
        (projected(CERTIFICATE), AS_USER, {}, None),  # no key in it
        (projected({"secret": {"name": "mx-tls"}}), AS_USER, {}, Severity.FAIL),
        ({"secret": {"secretName": "another", "defaultMode": 0o400}}, AS_USER, {}, None),
    ],
)
def test_key_that_the_user_of_its_container_cannot_read_is_known_by_mode_and_user(
    volume: Json | None, pod: Json, container: Json, severity: Severity | None
) -> None:
    """The files are root's, of root's group or fsGroup; a user that the image names is not known."""
    spec = spec_of(server(*TLS, securityContext=container), volume=volume, securityContext=pod)
    found = key_fault(spec, "mx-tls")
    assert (found.severity if found else None) is severity
    assert found is None or "fsGroup" in found.message
    assert read(spec).pods[0].key_fault == found


def test_certain_fault_of_one_container_goes_before_the_doubt_of_another() -> None:
    """A proxy that runs as root beside a server that does not."""
    both = spec_of(server(*TLS), server(*TLS, name="exim", securityContext=AS_USER), volume=SECRET)
    found = key_fault(both, "mx-tls")
    assert found is not None
    assert (found.severity, "Container exim" in found.message) == (Severity.FAIL, True)
    assert replace(found, severity=Severity.WARN) != found
