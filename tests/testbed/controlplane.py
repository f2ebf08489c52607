"""Kubernetes' own programs: what each is started with, and when each counts as up."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from testbed import processes
from testbed.console import Trouble
from testbed.layout import NODE_ADDRESS, NODE_NAME, POD_RANGE, SERVICE_RANGE
from testbed.pki import ClusterAuthority, Pair

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from testbed.layout import Layout
    from testbed.tools import Tools

_RESTARTS_WITHIN = 120.0
_PASSING = ("was refused - did you specify the right host", "no matches for kind")
_SHOWN = 300  # characters of a log
_API_SERVICE = "10.96.0.1"
# The last digits of a request are its cost in writes: who, what, on which object; never the content.
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


@dataclass(frozen=True, slots=True)
class Identities:
    """Who the components are to each other."""

    authority: ClusterAuthority
    server: Pair
    kubelet_client: Pair
    service_accounts: Pair

    @classmethod
    def make(cls, layout: Layout, host_address: str) -> Identities:
        """Sign everything and write the kubeconfigs; the administrator's also works from the host."""
        authority = ClusterAuthority(layout.pki)
        hosts = (NODE_ADDRESS, host_address, _API_SERVICE, "127.0.0.1", "kubernetes", "kubernetes.default.svc")
        made = cls(
            authority,
            authority.issue("apiserver", "kube-apiserver", hosts=hosts),
            authority.issue("kubelet-client", "kube-apiserver-kubelet-client", group="system:masters"),
            authority.service_account_key(),
        )
        admin = authority.issue("admin", "admin", group="system:masters")
        authority.kubeconfig(layout.kubeconfig, f"https://{host_address}:6443", admin)
        for part, user, group in (
            ("kubelet", f"system:node:{NODE_NAME}", "system:nodes"),
            ("kube-controller-manager", "system:kube-controller-manager", ""),
            ("kube-scheduler", "system:kube-scheduler", ""),
            ("kube-proxy", "system:kube-proxy", ""),
        ):
            pair = authority.issue(part, user, group=group)
            authority.kubeconfig(component_kubeconfig(layout, part), f"https://{NODE_ADDRESS}:6443", pair)
        return made


def component_kubeconfig(layout: Layout, part: str) -> Path:
    """Where a component's kubeconfig is."""
    return layout.pki / f"{part}.kubeconfig"


def start_etcd(layout: Layout, tools: Tools) -> None:
    """Start the store; without fsync, for nothing here must outlive the machine."""
    address = "http://127.0.0.1:2379"
    processes.start(
        layout, "etcd",
        [tools.path("etcd"), f"--data-dir={layout.work}/etcd", "--unsafe-no-fsync", f"--listen-client-urls={address}",
         f"--advertise-client-urls={address}", "--listen-peer-urls=http://127.0.0.1:2380"],
    )  # fmt: skip


def start_apiserver(layout: Layout, tools: Tools) -> None:
    """Start the API server from the files that `Identities` wrote; it can be started again at any time."""
    policy = layout.work / "audit-policy.yaml"
    policy.write_text(yaml.safe_dump(_AUDIT_POLICY), encoding="utf-8")
    pki = layout.pki
    processes.start(
        layout, "kube-apiserver",
        [
            tools.path("kube-apiserver"),
            "--etcd-servers=http://127.0.0.1:2379",
            "--bind-address=0.0.0.0", f"--advertise-address={NODE_ADDRESS}", "--secure-port=6443",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            f"--client-ca-file={pki}/ca.crt",
            f"--tls-cert-file={pki}/apiserver.crt", f"--tls-private-key-file={pki}/apiserver.key",
            f"--kubelet-client-certificate={pki}/kubelet-client.crt",
            f"--kubelet-client-key={pki}/kubelet-client.key",
            # By its name the node is not found: there is no DNS for it, and exec and logs would fail.
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={pki}/service-accounts.pub",
            f"--service-account-signing-key-file={pki}/service-accounts.key",
            "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
            f"--audit-log-path={layout.audit_log}", f"--audit-policy-file={policy}", "--audit-log-maxsize=2000",
            "--audit-log-mode=blocking",
            "--shutdown-delay-duration=0s",
        ],
    )  # fmt: skip


def start_controllers(layout: Layout, tools: Tools) -> None:
    """Start the controller manager and the scheduler; one of each, so they need elect nobody."""
    pki = layout.pki
    manager, scheduler = "kube-controller-manager", "kube-scheduler"
    processes.start(
        layout, manager,
        [
            tools.path(manager), f"--kubeconfig={component_kubeconfig(layout, manager)}", "--leader-elect=false",
            f"--service-account-private-key-file={pki}/service-accounts.key", f"--root-ca-file={pki}/ca.crt",
            f"--cluster-signing-cert-file={pki}/ca.crt", f"--cluster-signing-key-file={pki}/ca.key",
            "--use-service-account-credentials=true", f"--cert-dir={layout.work}/{manager}",
            # Every test makes and deletes a namespace: the default of 20 calls a second would be the bottleneck.
            "--kube-api-qps=200", "--kube-api-burst=300", "--concurrent-namespace-syncs=20",
        ],
    )  # fmt: skip
    processes.start(
        layout, scheduler,
        [
            tools.path(scheduler), f"--kubeconfig={component_kubeconfig(layout, scheduler)}",
            f"--authentication-kubeconfig={component_kubeconfig(layout, scheduler)}",
            f"--authorization-kubeconfig={component_kubeconfig(layout, scheduler)}",
            "--leader-elect=false", f"--cert-dir={layout.work}/{scheduler}",
        ],
    )  # fmt: skip


def start_node(layout: Layout, tools: Tools) -> None:
    """Start the kubelet and the proxy of the only node."""
    kubelet = _write(layout.work / "kubelet.yaml", _kubelet_settings(layout))
    processes.start(
        layout, "kubelet",
        [
            tools.path("kubelet"), f"--kubeconfig={component_kubeconfig(layout, 'kubelet')}", f"--config={kubelet}",
            f"--root-dir={layout.work}/kubelet", f"--cert-dir={layout.work}/kubelet-pki",
            f"--hostname-override={NODE_NAME}", f"--node-ip={NODE_ADDRESS}",
        ],
    )  # fmt: skip
    proxy = _write(layout.work / "kube-proxy.yaml", _proxy_settings(layout))
    processes.start(
        layout, "kube-proxy", [tools.path("kube-proxy"), f"--config={proxy}", f"--hostname-override={NODE_NAME}"]
    )


def _kubelet_settings(layout: Layout) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{layout.containerd_socket}",
        "failSwapOn": False,
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{layout.cgroup}",
        "enforceNodeAllocatable": [],
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": str(layout.authority)},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "clusterDomain": "cluster.local",
        "clusterDNS": [NODE_ADDRESS],
        "maxPods": 250,
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "localStorageCapacityIsolation": False,
        "registryPullQPS": 0,
        "serializeImagePulls": False,
        "podLogsDir": f"{layout.work}/pod-logs",
        "volumePluginDir": f"{layout.work}/volume-plugins",
    }


def _proxy_settings(layout: Layout) -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": str(component_kubeconfig(layout, "kube-proxy"))},
        "clusterCIDR": POD_RANGE,
        "conntrack": {"maxPerCore": 0, "min": 0},
        "nftables": {"minSyncPeriod": "100ms"},
    }


def _write(path: Path, content: dict[str, object]) -> Path:
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def kubectl(layout: Layout, tools: Tools, *arguments: str, stdin: str | None = None) -> str:
    """Run kubectl in the namespace and give what it prints."""
    command = processes.inside(layout, [tools.path("kubectl"), f"--kubeconfig={layout.kubeconfig}", *arguments])
    done = subprocess.run(command, check=False, capture_output=True, text=True, input=stdin)
    if done.returncode != 0:
        message = f"kubectl {' '.join(arguments)}: {done.stderr.strip()}"
        raise Trouble(message)
    return done.stdout


def patient_kubectl(layout: Layout, tools: Tools, *arguments: str, stdin: str | None = None) -> str:
    """Run kubectl, again while the API server takes no connections: a test beside this one may restart it.

    Again, too, while it does not know a kind: it publishes a new one a moment after it is established.
    """
    deadline = time.monotonic() + _RESTARTS_WITHIN
    while True:
        try:
            return kubectl(layout, tools, *arguments, stdin=stdin)
        except Trouble as trouble:
            if not any(each in str(trouble) for each in _PASSING) or time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def await_apiserver(layout: Layout, tools: Tools, *, within: float = 240.0) -> None:
    """Wait until the API server says that it is ready."""
    _await(layout, "kube-apiserver", lambda: kubectl(layout, tools, "get", "--raw", "/readyz"), within)


def await_node(layout: Layout, tools: Tools, *, within: float = 240.0) -> None:
    """Wait until the node takes pods."""
    ready = '{.status.conditions[?(@.type=="Ready")].status}'

    def node_is_ready() -> None:
        if kubectl(layout, tools, "get", "node", NODE_NAME, "-o", f"jsonpath={ready}") != "True":
            message = f"node {NODE_NAME} is not Ready"
            raise Trouble(message)

    _await(layout, "kubelet", node_is_ready, within)


def _await(layout: Layout, process: str, check: Callable[[], object], within: float) -> None:
    deadline = time.monotonic() + within
    while True:
        try:
            check()
        except Trouble as trouble:
            if time.monotonic() > deadline or not processes.is_alive(layout, process):
                log = layout.logs / f"{process}.log"
                last = log.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
                message = f"{process} does not come up ({trouble}); see {log}, which ends: {last[-_SHOWN:]}"
                raise Trouble(message) from trouble
            time.sleep(0.2)
        else:
            return
