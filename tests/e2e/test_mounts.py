"""How the Secret comes into pods, on a real cluster: what a reload reaches, what a restart, and unreadable keys."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from e2e.postfixes import SECRET, Mail, pod_spec, workload
from mailservers.preset_relays import exim_settings
from mailtls.api.workload import Daemon, UpdateStrategy, Workload, WorkloadKind
from mailtls.kube.workloads import workload_path
from mailtls.probe.target import Port, TlsMode, TlsPolicy
from mailtls.reasons.reason import Reason
from mailtls.rollout.steps import ReloadPod, RestartWorkload, RolledOut, RolloutFailed
from testbed import containers, trees
from testbed.images import PAUSE

if TYPE_CHECKING:
    from mailtls.api.reading.document import Json
    from testbed.cluster import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("servers-image")]

DEPLOYMENT, RELOAD, RESTART = WorkloadKind.DEPLOYMENT, UpdateStrategy.RELOAD, UpdateStrategy.RESTART
FOLDER = "/etc/mail-tls"
SHORT = timedelta(seconds=4)
EXIM_USER, EXIM_GROUP = 100, 101  # Debian-exim in the image
EXIM = exim_settings("2525", pid_file_path="/tmp/exim.pid")


def copied() -> Json:
    """A pod whose init container copies the Secret for the server."""
    spec = pod_spec()
    init = {"name": "copy", "image": spec["containers"][0]["image"], "imagePullPolicy": "IfNotPresent"}
    init["command"] = ["sh", "-c", f"cp -L /tls/tls.* {FOLDER}/"]
    init["volumeMounts"] = [{"name": "tls", "mountPath": "/tls"}, {"name": "copy", "mountPath": FOLDER}]
    spec["containers"][0]["volumeMounts"] = [{"name": "copy", "mountPath": FOLDER}]
    spec["volumes"].append({"name": "copy", "emptyDir": {}})
    return spec | {"initContainers": [init]}


def from_environment() -> Json:
    """A pod whose server gets the Secret as variables."""
    spec = pod_spec(mounted=False)
    refs = {name: {"name": SECRET, "key": key} for name, key in (("CRT", "tls.crt"), ("KEY", "tls.key"))}
    spec["containers"][0] |= {
        "env": [{"name": name, "valueFrom": {"secretKeyRef": ref}} for name, ref in refs.items()],
        "command": ["sh", "-c", f"cd {FOLDER} && printenv CRT >tls.crt && printenv KEY >tls.key && exec postfix-start"],
        "volumeMounts": [{"name": "files", "mountPath": FOLDER}],
    }
    return spec | {"volumes": [{"name": "files", "emptyDir": {}}]}


def in_a_sidecar() -> Json:
    """A pod whose server is a native sidecar beside another container."""
    spec = pod_spec()
    (server,) = spec["containers"]
    main = {"name": "main", "image": PAUSE, "imagePullPolicy": "IfNotPresent"}
    return spec | {"initContainers": [server | {"restartPolicy": "Always"}], "containers": [main]}


def projected() -> Json:
    """A pod that has certificate and key from two sources of one volume, under other names."""
    spec = pod_spec()
    names = {"tls.crt": "mail/cert.pem", "tls.key": "mail/key.pem"}
    items = [[{"key": key, "path": path}] for key, path in names.items()]
    sources = [{"secret": {"name": SECRET, "items": each, "optional": True}} for each in items]
    spec["volumes"] = [{"name": "tls", "projected": {"sources": sources}}]
    files = f"smtpd_tls_chain_files={FOLDER}/mail/key.pem,{FOLDER}/mail/cert.pem"
    spec["containers"][0]["command"] = ["sh", "-c", f"postconf -e {files} && exec postfix start-fg"]
    return spec


def test_each_way_of_the_secret_into_a_pod_is_named_or_works(mail: Mail) -> None:
    """Reload is refused before a pod is touched where the file never changes; each way has a strategy that works."""
    ways = {
        "sidecar": (RELOAD, in_a_sidecar()),
        "projected": (RELOAD, projected()),
        "copied": (RESTART, copied()),
        "environment": (RESTART, from_environment()),
    }
    workloads = {name: workload(DEPLOYMENT, strategy, name=name) for name, (strategy, _) in ways.items()}
    mail.store(first := mail.authority.issue())
    for name, (_, spec) in ways.items():
        mail.deploy(workloads[name], spec, replicas=1, wait=False)
    states = tuple(mail.await_ready(each) for each in workloads.values())
    assert {each.served_sha256 for each in mail.probe(states, first)} == {first.sha256}
    before = {name: state.pods[0].uid for name, state in zip(ways, states, strict=True)}
    mail.store(renewed := mail.authority.issue())
    for name, reason in (
        ("copied", Reason.SECRET_COPIED_AT_START),
        ("environment", Reason.SECRET_IN_ENVIRONMENT),
    ):
        end, steps = mail.roll(renewed, workload(DEPLOYMENT, RELOAD, name=name))
        assert isinstance(end, RolloutFailed)
        assert (end.finding.reason, "updateStrategy: Restart" in end.finding.message, steps) == (reason, True, [])
    end, steps = mail.roll(renewed, *workloads.values())
    assert end == RolledOut()
    assert {step.workload.name for step in steps if isinstance(step, RestartWorkload)} == {"copied", "environment"}
    assert {step.workload.name for step in steps if isinstance(step, ReloadPod)} <= {"sidecar", "projected"}
    after = {name: mail.observe(each).living_pods for name, each in workloads.items()}
    assert {name for name, pods in after.items() if pods[0].uid == before[name]} == {"sidecar", "projected"}
    assert {each.served_sha256 for each in mail.probe(tuple(map(mail.observe, workloads.values())), renewed)} == {
        renewed.sha256
    }


@pytest.fixture(scope="module")
def image(cluster: Cluster) -> str:
    """The image with Exim, known to the cluster."""
    containers.import_image(cluster.layout, trees.ensure_image())
    return trees.IMAGE


def exim_spec(image: str) -> Json:
    """A pod of Exim as a user of its own, whose key belongs to root alone."""
    spec = pod_spec(image=image)
    spec["volumes"][0]["secret"]["defaultMode"] = 0o400
    spec["volumes"].append({"name": "exim", "configMap": {"name": "exim"}})
    (server,) = spec["containers"]
    server |= {"name": "exim", "command": ["/usr/sbin/exim4", "-bdf"]}
    server["volumeMounts"].append({"name": "exim", "mountPath": "/etc/exim4"})
    server["readinessProbe"]["tcpSocket"]["port"] = 2525
    return spec


def exim(name: str) -> Workload:
    """Exim's place in a spec, reloaded by a program that is no shell's."""
    port = Port(2525, TlsMode.START_TLS, TlsPolicy.OPPORTUNISTIC)
    hup = ("/usr/sbin/start-stop-daemon", "--stop", "--signal", "HUP", "--pid", "1")
    return Workload(DEPLOYMENT, name, RELOAD, (Daemon("exim", (port,), hup),))


def test_key_that_the_server_cannot_read_is_named_and_an_image_without_a_shell_is_reloaded(
    mail: Mail, image: str
) -> None:
    """Exim says 454 while the Secret is fine, and with fsGroup it serves; another has no sh, cat or timeout."""
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "exim"}, "data": {"exim4.conf": EXIM}}
    mail.cluster.create(f"/api/v1/namespaces/{mail.namespace}/configmaps", config)
    mail.store(first := mail.authority.issue())
    blind, bare = exim("blind"), exim("bare")
    mail.deploy(blind, exim_spec(image) | {"securityContext": {"runAsUser": EXIM_USER}}, 1, wait=False)
    readable = exim_spec(image) | {"securityContext": {"runAsUser": EXIM_USER, "fsGroup": EXIM_GROUP}}
    readable["volumes"].append({"name": "nothing", "emptyDir": {}})
    readable["containers"][0]["volumeMounts"].append({"name": "nothing", "mountPath": "/usr/bin"})
    mail.deploy(bare, readable, 1)
    mail.await_ready(blind)
    end, steps = mail.roll(first, blind, timeout=SHORT)
    assert isinstance(end, RolloutFailed)
    assert (end.finding.reason, steps) == (Reason.KEY_UNREADABLE, [])
    assert all(part in end.finding.message for part in (f"user {EXIM_USER}", "mode 0400", "fsGroup", "454"))
    group = {"spec": {"template": {"spec": {"securityContext": {"fsGroup": EXIM_GROUP}}}}}
    mail.cluster.merge(workload_path(mail.namespace, blind), group)
    mail.await_ready(blind)
    assert {each.served_sha256 for each in mail.probe(tuple(map(mail.observe, (blind, bare))), first)} == {first.sha256}
    mail.store(renewed := mail.authority.issue())
    end, steps = mail.roll(renewed, bare, blind)
    assert end == RolledOut()
    # What comes second may be there by itself: Exim looks at its files, and the kubelet writes them when it likes.
    assert [step.workload.name for step in steps if isinstance(step, ReloadPod)] in (["bare", "blind"], ["bare"])
