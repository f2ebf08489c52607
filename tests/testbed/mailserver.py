"""Postfix workloads: the manifests that a user would have, and the pods that come of them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from testbed.images import POSTFIX
from testbed.sandbox import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from testbed.api import Object
    from testbed.sandbox import Sandbox

PORTS = {"smtp": 25, "smtps": 465, "submission": 587}
_SCALED = ("StatefulSet", "Deployment")
_KEPT = "/run/kept-tls"
_KEEP = f"""\
cat >/usr/local/sbin/keep-tls <<'END'
#!/bin/sh
now=$(mktemp -d {_KEPT}.XXXXXX)
cp -L /etc/mail-tls/tls.crt /etc/mail-tls/tls.key $now
ln -s $now $now.link
mv -T $now.link {_KEPT}
END
cat >/usr/local/sbin/postfix <<'END'
#!/bin/sh
[ "$1" != reload ] || keep-tls
exec /usr/sbin/postfix "$@"
END
chmod +x /usr/local/sbin/keep-tls /usr/local/sbin/postfix
keep-tls
export TLS_DIR={_KEPT}
"""


@dataclass(frozen=True, slots=True)
class MailServer:
    """A Postfix workload, its Secret and its Service, as one test deploys it."""

    sandbox: Sandbox
    host: str
    kind: str = "StatefulSet"
    name: str = "postfix"
    secret: str | None = "mx-tls"
    replicas: int = 2
    sub_path: bool = False
    image: str = POSTFIX
    keeps: bool = False
    """Whether it serves the certificate that it read when it began, or was reloaded.

    Postfix reads a renewed file by itself too, as soon as it needs a new process after the kubelet has written the
    file: at any time. A test of what is between two certificates needs a server that keeps its own until its turn.
    """

    def deploy(self, *, wait: bool = True) -> MailServer:
        """Write the Secret with a self-signed certificate (unless it is there), the Service and the workload."""
        if self.secret is not None and self.sandbox.find("secrets", self.secret) is None:
            self.sandbox.put_placeholder(self.secret, self_signed([self.host]))
        self.sandbox.apply(self.service(), self.workload())
        if wait:
            self.wait_until_ready()
        return self

    def wait_until_ready(self, *, within: float = PATIENCE) -> None:
        """Wait until every replica of the present template is ready."""
        plural = f"{self.kind.lower()}s.apps"
        self.sandbox.wait_for(plural, self.name, is_rolled_out, within=within)

    def pods(self) -> list[Object]:
        """Its pods, by name."""
        found = self.sandbox.objects("pods", f"app={self.name}")
        return sorted(found, key=lambda pod: str(pod["metadata"]["name"]))

    def addresses(self) -> dict[str, str]:
        """Pod name to pod address."""
        return {pod["metadata"]["name"]: pod["status"].get("podIP", "") for pod in self.pods()}

    def service_address(self) -> str:
        """The Service's cluster address: what an A record may point at."""
        return str(self.sandbox.get("services", self.name)["spec"]["clusterIP"])

    def service(self) -> Object:
        """The Service's manifest."""
        ports = [{"name": name, "port": port} for name, port in PORTS.items()]
        spec = {"selector": {"app": self.name}, "ports": ports}
        return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": self.name}, "spec": spec}

    def workload(self) -> Object:
        """The workload's manifest."""
        labels = {"app": self.name}
        spec: dict[str, Any] = {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": self._pod()},
        }
        if self.kind in _SCALED:
            spec["replicas"] = self.replicas
        if self.kind == "StatefulSet":
            spec |= {"serviceName": self.name, "podManagementPolicy": "Parallel"}
        return {"apiVersion": "apps/v1", "kind": self.kind, "metadata": {"name": self.name}, "spec": spec}

    def _pod(self) -> dict[str, Any]:
        container: dict[str, Any] = {
            "name": "postfix",
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            "env": [{"name": "TLS_NAME", "value": self.host}],
            "ports": [{"name": name, "containerPort": port} for name, port in PORTS.items()],
            "readinessProbe": {"tcpSocket": {"port": 25}, "periodSeconds": 1},
        }
        if self.keeps:
            container["command"] = keeping()
        pod: dict[str, Any] = {"terminationGracePeriodSeconds": 1, "containers": [container]}
        if self.secret is not None:
            files: Sequence[str] = ("tls.crt", "tls.key") if self.sub_path else ()
            container["volumeMounts"] = [
                {"name": "tls", "mountPath": f"/etc/mail-tls/{file}", "subPath": file, "readOnly": True}
                for file in files
            ] or [{"name": "tls", "mountPath": "/etc/mail-tls", "readOnly": True}]
            pod["volumes"] = [{"name": "tls", "secret": {"secretName": self.secret}}]
        return pod


def keeping(start: str = "exec postfix-start") -> list[str]:
    """A container's command for a Postfix that keeps its certificate until it is reloaded."""
    return ["sh", "-ec", f"{_KEEP}{start}"]


def is_rolled_out(workload: Object | None) -> bool:
    """Whether a workload's own controller is done: every replica of the present template is ready."""
    if workload is None:
        return False
    status = workload.get("status", {})
    if status.get("observedGeneration") != workload["metadata"]["generation"]:
        return False
    counts: tuple[str, ...] = ("updatedReplicas", "readyReplicas", "replicas")
    wanted = int(workload["spec"].get("replicas", 0))
    if workload["kind"] == "DaemonSet":
        counts, wanted = ("updatedNumberScheduled", "numberReady"), int(status.get("desiredNumberScheduled", 0)) or 1
    return {status.get(count, 0) for count in counts} == {wanted}


def self_signed(names: Sequence[str], *, days: float = 30) -> dict[str, bytes]:
    """What a TLS Secret holds: a certificate that nobody vouches for, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    return {
        "tls.crt": certificate.public_bytes(encoding),
        "tls.key": key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    }
