"""An ACME server as a Deployment, in a cluster that is not the testbed's."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509

from testbed.api import Refused
from testbed.console import Trouble
from testbed.pebble import PebbleSettings
from testbed.pki import ClusterAuthority

if TYPE_CHECKING:
    from demo.supply import Supply
    from testbed.api import Object
    from testbed.sandbox import Sandbox

NAME = "pebble"
PORT = 14000
MANAGEMENT = 24000
_LABELS = {"app": NAME}


@dataclass(frozen=True, slots=True)
class Authority:
    """A running Pebble: where its directory is, and the roots of its HTTPS and of what it issues.

    `other_root` is the name of the root that its alternate chain leads to.
    """

    directory_url: str
    ca_bundle: str
    root: str
    other_root: str


def name_of(root_pem: str) -> str:
    """The common name of a root."""
    subject = x509.load_pem_x509_certificate(root_pem.encode()).subject
    return str(subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)


def deploy(sandbox: Sandbox, supply: Supply) -> Authority:
    """Start Pebble behind a Service, with a certificate for the Service's name; it asks the pods' own resolver."""
    host = f"{NAME}.{sandbox.name}.svc.cluster.local"
    settings = PebbleSettings()
    with tempfile.TemporaryDirectory() as folder:
        authority = ClusterAuthority(Path(folder))
        pair = authority.issue(NAME, NAME, hosts=(host,))
        files = {"pebble.crt": pair.certificate.read_bytes(), "pebble.key": pair.key.read_bytes()}
        ca_bundle = authority.certificate.read_text(encoding="utf-8")
    sandbox.put_secret(NAME, files)
    config = json.dumps(settings.config(PORT, Path("/pki")))
    sandbox.apply(_config_map(config), _service(), _deployment(supply.pebble, settings))
    supply.await_rollout(sandbox, "deployments.apps", NAME)
    return Authority(f"https://{host}:{PORT}/dir", ca_bundle, _root(sandbox), name_of(_root(sandbox, 1)))


def _root(sandbox: Sandbox, number: int = 0, within: float = 20.0) -> str:
    """Ask through the API server, which reaches every Service; its own view of a new one may lag a little."""
    path = f"/api/v1/namespaces/{sandbox.name}/services/https:{NAME}:{MANAGEMENT}/proxy/roots/{number}"
    deadline = time.monotonic() + within
    while True:
        try:
            return str(sandbox.api.request("GET", path))
        except Refused as refusal:
            if time.monotonic() > deadline:
                message = f"Pebble's root is not to be had through the API server: {refusal}"
                raise Trouble(message) from refusal
            time.sleep(0.5)


def _config_map(config: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME}, "data": {"config.json": config}}


def _service() -> Object:
    ports = [{"name": "acme", "port": PORT}, {"name": "management", "port": MANAGEMENT}]
    spec = {"selector": _LABELS, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": NAME}, "spec": spec}


def _deployment(image: str, settings: PebbleSettings) -> Object:
    container = {
        "name": NAME,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["-strict", "-config=/config/config.json"],
        "env": [{"name": name, "value": value} for name, value in settings.environment().items()],
        "readinessProbe": {"httpGet": {"scheme": "HTTPS", "path": "/dir", "port": PORT}, "periodSeconds": 1},
        "volumeMounts": [
            {"name": "config", "mountPath": "/config", "readOnly": True},
            {"name": "pki", "mountPath": "/pki", "readOnly": True},
        ],
    }
    volumes = [{"name": "config", "configMap": {"name": NAME}}, {"name": "pki", "secret": {"secretName": NAME}}]
    pod = {"terminationGracePeriodSeconds": 1, "containers": [container], "volumes": volumes}
    template = {"metadata": {"labels": _LABELS}, "spec": pod}
    spec = {"replicas": 1, "selector": {"matchLabels": _LABELS}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": NAME}, "spec": spec}
