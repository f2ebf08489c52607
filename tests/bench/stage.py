"""What is measured on: a namespace, a zone, an authority of its own, and the operator with rights of its own."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import requests
import yaml

from bench.operator_process import OperatorProcess, cpu_seconds, kubeconfig, running
from testbed import network, processes
from testbed.api import Api
from testbed.audit import AuditLog, Request
from testbed.layout import NODE_ADDRESS, project_folder
from testbed.pebble import Pebble, PebbleSettings
from testbed.sandbox import Sandbox, TooLate, condition_of
from testbed.zones import NameServer, Zone

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from testbed.cluster import Cluster
    from testbed.layout import Layout

ROLE = "bench-operator"
TSIG_SECRET = "tsig"
_PARTS = ("kube-apiserver", "etcd", "kube-controller-manager", "named")
_KIND = {"apiVersion": "mailtls.dev/v1alpha1", "kind": "MailServerTLS"}


class Readiness:
    """Watches the resources and notes when each was first Ready."""

    def __init__(self, layout: Layout, server: str, namespace: str) -> None:
        """Begin to watch."""
        self._at: dict[str, float] = {}
        self._news = threading.Condition()
        session = requests.Session()
        session.trust_env = False
        session.verify = str(layout.authority)
        session.cert = (str(layout.pki / "admin.crt"), str(layout.pki / "admin.key"))
        url = f"{server}/apis/mailtls.dev/v1alpha1/namespaces/{namespace}/mailservertls?watch=1&timeoutSeconds=1800"
        self._stream = session.get(url, stream=True, timeout=(10, 1800))
        threading.Thread(target=self._follow, name="readiness", daemon=True).start()

    def wait(self, names: Sequence[str], within: float) -> dict[str, float]:
        """Wait until all are Ready, and give for each the time.monotonic() at which it was."""
        with self._news:
            if not self._news.wait_for(lambda: all(name in self._at for name in names), within):
                late = [name for name in names if name not in self._at]
                message = f"{len(late)} of {len(names)} resources are not Ready after {within:.0f} s: {late[:3]}"
                raise TooLate(message)
            return {name: self._at[name] for name in names}

    def _follow(self) -> None:
        for line in self._stream.iter_lines(chunk_size=None):
            seen = json.loads(line)["object"]
            ready = condition_of(seen, "Ready") if "metadata" in seen else None
            if ready is not None and ready["status"] == "True":
                with self._news:
                    self._at.setdefault(seen["metadata"]["name"], time.monotonic())
                    self._news.notify_all()


@dataclass(frozen=True, slots=True)
class Cost:
    """Processor seconds since the stage was made: the operator's, the cluster's parts', and the whole machine's."""

    operator: float
    parts: float
    machine: float
    at: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that the measures need."""

    layout: Layout
    sandbox: Sandbox
    zone: Zone
    pebble: Pebble
    operator: OperatorProcess
    readiness: Readiness
    audit: AuditLog
    more: Mapping[str, Sandbox]
    """Further namespaces that the operator serves, by what they are for."""

    def apply(self, name: str, hosts: Iterable[str]) -> None:
        """Apply a resource without workloads."""
        names = [self.zone.host(host) for host in hosts]
        spec = {"dnsNames": names, "secretName": f"{name}-tls"}
        self.sandbox.apply({**_KIND, "metadata": {"name": name}, "spec": spec})

    def requests(self, since: int) -> list[Request]:
        """What the operator asked the API server for since a mark, its lease left out."""
        return [each for each in self.all_requests(since) if each.resource != "leases"]

    def all_requests(self, since: int) -> list[Request]:
        """What the operator asked the API server for since a mark."""
        return self.audit.requests(since=since, user=f"system:serviceaccount:{self.sandbox.name}:{ROLE}")

    def cost(self) -> Cost:
        """Processor time used so far."""
        records = (processes.recorded(self.layout, part) for part in (*_PARTS, self.pebble.name))
        parts = sum(cpu_seconds(record.pid) for record in records if record)
        busy = Path("/proc/stat").read_text(encoding="utf-8").splitlines()[0].split()[1:9]
        user, nice, system, _, _, irq, softirq, _ = (int(ticks) / 100 for ticks in busy)
        return Cost(self.operator.cpu_seconds(), parts, user + nice + system + irq + softirq)


@contextmanager
def stage(
    cluster: Cluster, *, namespaces: Sequence[str] = (), settings: Mapping[str, str] | None = None
) -> Iterator[Stage]:
    """Set the stage on a running cluster, and clear it away afterwards.

    `namespaces` are made besides the one of the measures; `settings` go before the stage's own.
    """
    layout = cluster.layout
    if not network.is_inside(layout):
        network.enter(layout)
    api, names = Api(layout), NameServer(layout)
    for file in sorted((project_folder() / "crds").glob("*.yaml")):
        api.apply(yaml.safe_load(file.read_text(encoding="utf-8")))
    sandbox = Sandbox.create(cluster, api, "bench")
    more = {name: Sandbox.create(cluster, api, name) for name in namespaces}
    zone = names.add_zone(f"{sandbox.name}.test")
    pebble = Pebble.launch(layout, PebbleSettings())
    try:
        server = yaml.safe_load(layout.kubeconfig.read_text(encoding="utf-8"))["clusters"][0]["cluster"]["server"]
        with TemporaryDirectory() as folder, running(
            _settings(sandbox, zone, pebble, _kubeconfig(Path(folder), sandbox, server))
            | {"MAILTLS_WATCH_NAMESPACES": ",".join(each.name for each in (sandbox, *more.values()))}
            | dict(settings or {}),
            layout.logs / "bench.log",
        ) as operator:  # fmt: skip
            readiness = Readiness(layout, server, sandbox.name)
            yield Stage(layout, sandbox, zone, pebble, operator, readiness, AuditLog.of(layout), more)
    finally:
        pebble.stop()
        names.remove_zone(zone)
        sandbox.delete("clusterrolebindings.rbac.authorization.k8s.io", sandbox.name)
        for each in (sandbox, *more.values()):
            each.remove()


def solvers(zone: Zone) -> list[dict[str, Any]]:
    """DNS-01 by the test bed's name server, in the shape of spec.acme.solvers."""
    rfc2136 = {
        "server": NODE_ADDRESS,
        "tsigKeyName": zone.key.name,
        "tsigSecretRef": {"name": TSIG_SECRET, "key": "secret"},
    }
    return [{"dns01": {"rfc2136": rfc2136}}]


def _settings(sandbox: Sandbox, zone: Zone, pebble: Pebble, config: Path) -> dict[str, str]:
    sandbox.put_secret(TSIG_SECRET, {"secret": zone.key.secret.encode()})
    return {
        "KUBECONFIG": str(config),
        "MAILTLS_NAMESPACE": sandbox.name,
        "MAILTLS_WATCH_NAMESPACES": sandbox.name,
        "MAILTLS_LOG_FORMAT": "json",
        "MAILTLS_LOG_LEVEL": "info",
        "MAILTLS_ACME_SERVER": pebble.directory_url,
        "MAILTLS_ACME_EMAIL": f"postmaster@{zone.name}",
        "MAILTLS_ACME_CA_BUNDLE_FILE": str(pebble.authority),
        "MAILTLS_ACME_SOLVERS": json.dumps(solvers(zone)),
    }


def _kubeconfig(folder: Path, sandbox: Sandbox, server: str) -> Path:
    """Give the operator a service account: the audit log then tells its requests from those of all others."""
    account = {"kind": "ServiceAccount", "name": ROLE, "namespace": sandbox.name}
    sandbox.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ROLE}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": sandbox.name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [account],
        },
    )
    wanted = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 7200}}
    path = f"/api/v1/namespaces/{sandbox.name}/serviceaccounts/{ROLE}/token"
    token = sandbox.api.request("POST", path, body=wanted)["status"]["token"]
    file = folder / "kubeconfig"
    file.touch(mode=0o600)
    file.write_text(kubeconfig(server, sandbox.cluster.layout.authority, token), encoding="utf-8")
    return file
