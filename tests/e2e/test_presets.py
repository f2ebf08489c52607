"""Every preset in pods of the real cluster: the operator renews, and the real server takes it as the preset says."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from e2e.preset_pods import PresetPod, containers_of
from mailservers.preset_mailboxes import MAILBOXES
from mailservers.preset_relays import POSTFIX_BY_NAME, RELAYS
from mailtls.api.presets import PRESETS
from mailtls.reasons.software import Software
from testbed import containers, trees
from testbed.mailserver import MailServer, self_signed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from e2e.installation import Installation
    from testbed.cluster import Cluster
    from testbed.sandbox import Sandbox

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("servers-image")]

HAPROXY = """
global
  ssl-load-extra-files key
  ssl-load-extra-del-ext
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend smtps
  bind :465 ssl crt /etc/mail-tls/tls.crt
  default_backend postfix
backend postfix
  server postfix {behind}:25
"""
NGINX = """
load_module modules/ngx_mail_module.so;
daemon off;
error_log stderr;
events {{ }}
mail {{
  server_name {host};
  auth_http 127.0.0.1:9000/auth;
  ssl_certificate /etc/mail-tls/tls.crt;
  ssl_certificate_key /etc/mail-tls/tls.key;
  server {{ listen 587; protocol smtp; starttls only; }}
  server {{ listen 993 ssl; protocol imap; }}
}}
"""

IN_TREES = [setup for setup in (*RELAYS, *MAILBOXES) if setup.software not in (Software.POSTFIX, Software.HAPROXY)]


@pytest.fixture(scope="module")
def image(cluster: Cluster) -> str:
    """The image of both, known to the cluster."""
    containers.import_image(cluster.layout, trees.ensure_image())
    return trees.IMAGE


@dataclass(frozen=True, slots=True)
class Server:
    """One server in a StatefulSet of two pods; its program is process 1 of the container."""

    sandbox: Sandbox
    host: str
    image: str
    name: str
    command: tuple[str, ...]
    configuration: str
    port: int
    beside: Server | None = None  # another server in the same pods

    def deploy(self) -> None:
        """Write its configuration, its Secret and its workload, and wait for its pods."""
        postfix = MailServer(self.sandbox, self.host, name=self.name, image=self.image)
        manifest = postfix.workload()
        pod = manifest["spec"]["template"]["spec"]
        (plain,) = pod["containers"]
        servers = [self, *([self.beside] if self.beside else [])]
        pod["containers"] = [each.container(plain) for each in servers]
        pod["volumes"] += [{"name": each.name, "configMap": {"name": each.name}} for each in servers]
        for each in servers:
            each.configure()
        self.sandbox.put_placeholder("mx-tls", self_signed([self.host]))
        self.sandbox.apply(manifest)
        postfix.wait_until_ready()

    def configure(self) -> None:
        """Write its configuration."""
        data = {"data": {f"{self.name}.conf": self.configuration}}
        self.sandbox.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": self.name}, **data})

    def container(self, plain: dict[str, Any]) -> dict[str, Any]:
        """Its container, made from one of Postfix."""
        made = deepcopy(plain) | {"name": self.name, "command": list(self.command)}
        made["ports"] = []
        made["readinessProbe"]["tcpSocket"]["port"] = self.port
        made["volumeMounts"].append({"name": self.name, "mountPath": f"/etc/{self.name}"})
        return made

    def runs(self) -> dict[str, list[tuple[str, int]]]:
        """Of each pod its containers, and how often these were restarted."""
        pods = self.sandbox.objects("pods", f"app={self.name}")
        return {pod["metadata"]["uid"]: containers_of(pod) for pod in pods}


def renewed_in_place(installation: Installation, server: Server, entry: dict[str, Any]) -> None:
    """From a placeholder to a certificate, and to the next one: proven in every pod, and nothing was restarted."""
    before = server.runs()
    assert len(before) == 2
    installation.apply(workloads=[{"kind": "StatefulSet", "name": server.name, **entry}])
    installation.start()
    installation.await_ready()
    first = installation.fingerprint()
    installation.renew("again")
    seen = installation.await_renewed("again")
    assert installation.fingerprint() != first
    served = {each["servedFingerprintSHA256"] for each in seen["status"]["endpoints"]}
    assert served == {installation.fingerprint()}
    assert server.runs() == before


def test_haproxy_and_nginx_take_the_new_certificate_in_the_same_pods(installation: Installation, image: str) -> None:
    """The master of haproxy starts new workers, the Postfix behind answers inside TLS, and nginx reloads itself."""
    host = installation.zone.host("mx")
    behind = MailServer(installation.sandbox, host, secret=None, replicas=1).deploy()
    nginx = Server(installation.sandbox, host, image, "nginx", ("nginx",), NGINX.format(host=host), 993)
    configuration = HAPROXY.format(behind=behind.service_address())
    command = ("haproxy", "-W", "-db", "-f", "/etc/haproxy/haproxy.conf")
    server = Server(installation.sandbox, host, image, "haproxy", command, configuration, 465, nginx)
    server.deploy()
    own = [{"port": 587, "tlsMode": "StartTLS"}, {"port": 993, "tlsMode": "Implicit", "protocol": "imap"}]
    daemons = [
        {"container": "haproxy", "preset": "haproxy", "ports": [{"port": 465, "tlsMode": "Implicit"}]},
        {"container": "nginx", "preset": "nginx", "ports": own},
    ]
    renewed_in_place(installation, server, {"daemons": daemons})


def wake_those_left_alone(installation: Installation, servers: Sequence[PresetPod], known: Mapping[str, str]) -> None:
    """Have the kubelet bring a new Secret at once where the operator leaves the pods alone."""
    for server in servers:
        if server.strategy == "None":
            installation.wake_pods(server.name, server.secret, known[server.name])


def test_each_preset_takes_the_new_certificate_in_its_pods(installation: Installation) -> None:
    """What is reloaded goes on in the same containers; what must be restarted comes back, and every port is proven."""
    sandbox, host = installation.sandbox, installation.zone.host("mx")
    lean = [trees.ensure_lean_image(tree) for tree in {setup.tree for setup in IN_TREES}]
    for archive in (trees.ensure_busybox(), *lean):
        containers.import_image(sandbox.cluster.layout, archive)
    servers = [PresetPod(sandbox, host, setup) for setup in (POSTFIX_BY_NAME, *IN_TREES)]
    servers += [PresetPod(sandbox, host, setup, "maddy") for setup in IN_TREES if setup.software is Software.MADDY]
    for server in servers:
        server.deploy()
    for server in servers:
        server.server().wait_until_ready()
    installation.start()
    before = {server.name: server.runs() for server in servers}
    placeholders = {server.name: installation.fingerprint(server.secret) for server in servers}
    sandbox.apply(*(server.resource() for server in servers))
    wake_those_left_alone(installation, servers, placeholders)
    for server in servers:
        installation.await_ready(server.name)
    first = {server.name: installation.fingerprint(server.secret) for server in servers}
    for server in servers:
        installation.renew("again", server.name)
    wake_those_left_alone(installation, servers, first)
    for server in servers:
        installation.await_renewed("again", server.name)
        renewed = installation.fingerprint(server.secret)
        assert renewed != first[server.name]
        ports = {port.port for port in PRESETS[server.setup.software].ports}
        assert (server.name, server.served()) == (server.name, dict.fromkeys(ports, renewed))
        after = server.runs()
        assert {count for run in after.values() for _, count in run} == {0}, (server.name, after)
        assert (after == before[server.name]) is (server.strategy != "Restart"), (server.name, after)
