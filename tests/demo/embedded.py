"""The stage in the embedded cluster: its Pebble, its name server, and pods that this machine reaches by address."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from demo import chart
from demo.authority import name_of
from demo.client import PORTS, Target
from demo.stage import Stage
from testbed import network, operator_image
from testbed.api import Api
from testbed.cluster import Cluster
from testbed.layout import Layout
from testbed.pebble import Pebble
from testbed.ready import ensure_up, refresh_operator_image
from testbed.sandbox import Sandbox
from testbed.zones import NameServer, Zone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.mailserver import MailServer

NAMESPACE = "mailtls"
PEBBLE_PORT = 14000


@dataclass(frozen=True, slots=True)
class EmbeddedStage(Stage):
    """This process lives in the cluster's network namespace: pods are reached by their addresses."""

    def targets(self, server: MailServer) -> list[Target]:
        """Every port at its pod's own address."""
        return [Target(pod, port, (address, port)) for pod, address in server.addresses().items() for port in PORTS]

    def kubectl(self, line: str) -> str:
        """By way of make, which knows where the cluster is."""
        return f"make kubectl ARGS='{line}'"

    @property
    def operator_namespace(self) -> str:
        """The operator's own, as an administrator would install it."""
        return NAMESPACE

    @property
    def clean_up(self) -> tuple[str, ...]:
        """The whole cluster goes."""
        return ("make cluster-down",)


@contextmanager
def stage() -> Iterator[Stage]:
    """Bring the cluster up, install the operator by Helm, and make a namespace and a DNS zone for the story."""
    cluster = Cluster(Layout.of())
    ensure_up(cluster, with_operator=True)
    refresh_operator_image(cluster)
    network.enter(cluster.layout)
    os.environ["KUBECONFIG"] = str(cluster.layout.kubeconfig)
    api = Api(cluster.layout)
    sandbox = Sandbox.create(cluster, api, "demo")
    zone = NameServer(cluster.layout).add_zone(f"{sandbox.name}.test")
    install(cluster, sandbox, zone)
    yield EmbeddedStage(sandbox, zone.host("mx"), name_of(Pebble(cluster.layout, PEBBLE_PORT).root(1)))


def install(cluster: Cluster, sandbox: Sandbox, zone: Zone) -> None:
    """Install the chart with the image built from this checkout, as a user of a private authority would."""
    api = sandbox.api
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    tsig = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "tsig"},
        "stringData": {"secret": zone.key.secret},
    }
    api.apply(tsig, NAMESPACE)
    values = settings(cluster, zone, sandbox.name) | {"crds": {"enabled": not keep_crds(api)}}
    helm = [cluster.tools.path("helm")]
    chart.install(helm, NAMESPACE, values, "--take-ownership", "--wait", "--timeout=90s")


def keep_crds(api: Api) -> bool:
    """Whether the CRDs were applied without Helm; then they are brought up to date the same way."""
    there = chart.installed_crd(api)
    if there is None or there["metadata"].get("labels", {}).get("app.kubernetes.io/managed-by") == "Helm":
        return False
    api.apply(chart.crd())
    return True


def settings(cluster: Cluster, zone: Zone, namespace: str) -> dict[str, object]:
    """The chart's values: a private authority, its roots, and how names are validated."""
    pebble = Pebble(cluster.layout, PEBBLE_PORT)
    rfc2136 = {
        "server": zone.server,
        "tsigKeyName": zone.key.name,
        "tsigAlgorithm": zone.key.algorithm,
        "tsigSecretRef": {"name": "tsig", "key": "secret"},
    }
    return {
        "image": chart.image(operator_image.NAME) | {"pullPolicy": "Never"},
        "acme": {
            "server": pebble.directory_url,
            "email": f"postmaster@{zone.name}",
            "caBundle": {"inline": pebble.authority.read_text()},
            "solvers": [{"dns01": {"rfc2136": rfc2136}}],
        },
        "trust": {"inline": pebble.root()},
        "watchNamespaces": [namespace],
    }
