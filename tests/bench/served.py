"""One mail server that is measured: its pods, its resource, and how far a renewal of it is."""

from __future__ import annotations

import base64
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bench.mail_clients import MailService
from mailtls.pki.certificate import parse_chain
from testbed import trees
from testbed.mailserver import MailServer, self_signed
from testbed.sandbox import MAIL_SERVER_TLS, TooLate, condition_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.stage import Stage

WITHIN: Final = 240.0  # seconds
_KIND: Final = {"apiVersion": "mailtls.dev/v1alpha1", "kind": "MailServerTLS"}
_DOVECOT: Final = """
dovecot_config_version = 2.4.1
dovecot_storage_version = 2.4.1
log_path = /dev/stderr
protocols = imap
shutdown_clients = no
ssl = required
ssl_server_cert_file = /etc/mail-tls/tls.crt
ssl_server_key_file = /etc/mail-tls/tls.key
mail_driver = maildir
mail_path = /tmp/mail
passdb static {
  password = "bench"
}
userdb static {
  fields {
    uid = 65534
    gid = 65534
    home = /tmp/home
  }
}
"""


@dataclass(frozen=True, slots=True)
class Served:
    """One resource and its pods."""

    ready: Stage
    server: MailServer
    preset: str = "postfix"

    @property
    def name(self) -> str:
        """The resource's name, which is its workload's."""
        return self.server.name

    def apply(self, **spec: Any) -> None:
        """Apply the resource."""
        entry: dict[str, Any] = {"kind": "StatefulSet", "name": self.name, "preset": self.preset}
        if self.preset == "dovecot":
            entry["ports"] = [{"port": 993, "protocol": "imap", "tlsMode": "Implicit"}]
        trust = {"configMapKeyRef": {"name": "roots", "key": "ca.crt"}}
        whole = {
            "dnsNames": [self.server.host],
            "secretName": f"{self.name}-tls",
            "workloads": [entry],
            "probe": {"trust": trust},
            **spec,
        }
        self.ready.sandbox.apply({**_KIND, "metadata": {"name": self.name}, "spec": whole})

    def stored(self) -> str:
        """SHA-256 of the leaf in the Secret."""
        data: dict[str, str] = self.ready.sandbox.get("secrets", f"{self.name}-tls").get("data", {})
        return parse_chain(base64.b64decode(data["tls.crt"]).decode()).sha256

    def renew(self) -> float:
        """Request a renewal; seconds from the changed Secret until the status says that every pod serves it."""
        before = self.stored()
        self.request("renew")
        stored_at = first(lambda: self.stored() != before)
        wanted = self.stored()
        self.await_served(wanted)
        return time.monotonic() - stored_at

    def request(self, what: str) -> None:
        """Set the annotation of a request."""
        annotations = {f"mailtls.dev/{what}": str(time.time())}
        self.ready.sandbox.patch(MAIL_SERVER_TLS, self.name, {"metadata": {"annotations": annotations}})

    def await_served(self, wanted: str) -> None:
        """Wait until the status says that every port of every pod serves it, and that all is well."""
        ports = 1 if self.preset == "dovecot" else 3

        def is_served() -> bool:
            seen = self.ready.sandbox.find(MAIL_SERVER_TLS, self.name)
            status, ready = (seen or {}).get("status", {}), condition_of(seen, "Ready")
            counted = {status.get("endpointsTotal"), status.get("endpointsServed")}
            is_of_it = (status.get("certificate") or {}).get("fingerprintSHA256") == wanted
            is_ready = ready is not None and ready["status"] == "True"
            return is_of_it and is_ready and counted == {ports * self.server.replicas}

        first(is_served)

    def service(self) -> MailService:
        """Where clients find the servers: the Service."""
        return MailService(self.server.service_address(), self.server.host, self.ready.pebble.root())


@contextmanager
def serving(ready: Stage, name: str, replicas: int, preset: str = "postfix", **spec: Any) -> Iterator[Served]:
    """Deploy a mail server, and have it serve its first certificate."""
    secret = f"{name}-tls"
    image = trees.IMAGE if preset == "dovecot" else MailServer(ready.sandbox, "").image
    server = MailServer(ready.sandbox, ready.zone.host(name), name=name, secret=secret, replicas=replicas, image=image)
    if preset == "dovecot":
        _deploy_dovecot(ready, server)
    else:
        server.deploy(wait=False)
    server.wait_until_ready(within=WITHIN)
    made = Served(ready, server, preset)
    made.apply(**spec)
    ready.sandbox.wait_for_condition(MAIL_SERVER_TLS, name, within=WITHIN)
    try:
        yield made
    finally:
        ready.sandbox.delete(MAIL_SERVER_TLS, name)
        ready.sandbox.delete("statefulsets.apps", name)


def _deploy_dovecot(ready: Stage, server: MailServer) -> None:
    sandbox, name = ready.sandbox, server.name
    configuration = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"d.conf": _DOVECOT}}
    workload, service = server.workload(), server.service()
    pod = workload["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    container |= {"name": "dovecot", "command": ["dovecot", "-F", "-c", "/etc/dovecot-bench/d.conf"], "ports": []}
    container["readinessProbe"]["tcpSocket"]["port"] = 993
    container["volumeMounts"].append({"name": "config", "mountPath": "/etc/dovecot-bench"})
    pod["volumes"].append({"name": "config", "configMap": {"name": name}})
    service["spec"]["ports"] = [{"name": "imaps", "port": 993}]
    sandbox.put_placeholder(server.secret or "", self_signed([server.host]))
    sandbox.apply(configuration, service, workload)


def first(holds: Callable[[], bool]) -> float:
    """When something was first so, to 20 ms."""
    deadline = time.monotonic() + WITHIN
    while not holds():
        if time.monotonic() > deadline:
            message = "nothing has changed"
            raise TooLate(message)
        time.sleep(0.02)
    return time.monotonic()
