"""`python -m demo`: bring the cluster up, install the operator by Helm, tell the story, say how to look around."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import yaml

from demo.story import Story, screen
from testbed import network, operator_image
from testbed.api import Api
from testbed.cluster import Cluster
from testbed.console import Trouble, step
from testbed.layout import DEFAULT_NAME, Layout, project_folder
from testbed.pebble import Pebble
from testbed.ready import ensure_up
from testbed.sandbox import Sandbox, TooLate
from testbed.zones import NameServer, Zone

if TYPE_CHECKING:
    from pathlib import Path

RELEASE = "mailtls"
NAMESPACE = "mailtls"
PEBBLE_PORT = 14000


def main() -> int:
    """Run the demo; what cannot go on is one sentence, not a traceback."""
    started_at = time.monotonic()
    try:
        cluster = Cluster(Layout.of(os.environ.get("MAILTLS_TESTBED", DEFAULT_NAME)))
        ensure_up(cluster)
        network.enter(cluster.layout)
        tell(cluster, started_at)
    except (Trouble, TooLate) as trouble:
        screen.print(f"[red]demo: {trouble}[/red]")
        return 1
    return 0


def tell(cluster: Cluster, started_at: float) -> None:
    """Install the operator and tell the story in a namespace of its own."""
    os.environ["KUBECONFIG"] = str(cluster.layout.kubeconfig)
    api, names = Api(cluster.layout), NameServer(cluster.layout)
    sandbox = Sandbox.create(cluster, api, "demo")
    zone = names.add_zone(f"{sandbox.name}.test")
    install(cluster, sandbox, zone)
    story = Story(sandbox, zone.host("mx"), started_at)
    story.tell()
    say_goodbye(story)


def install(cluster: Cluster, sandbox: Sandbox, zone: Zone) -> None:
    """Install the chart with the image built from this checkout, as a user of a private authority would."""
    api = sandbox.api
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    api.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "tsig", "namespace": NAMESPACE},
            "stringData": {"secret": zone.key.secret},
        },
        NAMESPACE,
    )
    values = cluster.layout.work / "demo-values.yaml"
    values.write_text(yaml.safe_dump(settings(cluster, zone, sandbox.name) | {"crds": {"install": not keep_crds(api)}}))
    with step("helm upgrade --install mailtls charts/mailtls"):
        helm(
            cluster,
            "upgrade",
            "--install",
            "--take-ownership",
            RELEASE,
            str(project_folder() / "charts/mailtls"),
            values=values,
        )


def keep_crds(api: Api) -> bool:
    """Whether the CRDs were applied without Helm; then they are brought up to date the same way."""
    crd = yaml.safe_load((project_folder() / "crds/mailservertls.yaml").read_text())
    there = api.find(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{crd['metadata']['name']}")
    if there is None or there["metadata"].get("labels", {}).get("app.kubernetes.io/managed-by") == "Helm":
        return False
    api.apply(crd)
    return True


def settings(cluster: Cluster, zone: Zone, namespace: str) -> dict[str, object]:
    """The chart's values: a private authority, its roots, and how to prove names."""
    pebble = Pebble(cluster.layout, PEBBLE_PORT)
    rfc2136 = {
        "server": zone.server,
        "tsigKeyName": zone.key.name,
        "tsigAlgorithm": zone.key.algorithm,
        "tsigSecretRef": {"name": "tsig", "key": "secret"},
    }
    repository, _, tag = operator_image.NAME.rpartition(":")
    return {
        "image": {"repository": repository, "tag": tag, "pullPolicy": "Never"},
        "acme": {
            "server": pebble.directory_url,
            "email": f"postmaster@{zone.name}",
            "caBundle": {"inline": pebble.authority.read_text()},
            "solvers": [{"dns01": {"rfc2136": rfc2136}}],
        },
        "trust": {"inline": pebble.root()},
        "watchNamespaces": [namespace],
    }


def helm(cluster: Cluster, *arguments: str, values: Path) -> None:
    """Run Helm and wait until the operator is ready."""
    command = [cluster.tools.path("helm"), *arguments, "-n", NAMESPACE, "-f", str(values), "--wait", "--timeout=90s"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Trouble(f"Helm could not install the operator: {done.stderr.strip()}")


def say_goodbye(story: Story) -> None:
    """Say how to look around and how to clean up."""
    took = time.monotonic() - story.started_at
    namespace = story.sandbox.name
    story.title(f"That was the road from apply to proof, in {took:.0f} seconds. Look around:")
    for command in (
        f"make kubectl ARGS='get mst -n {namespace}'",
        story.look_around(),
        f"make kubectl ARGS='get events -n {namespace}'",
        f"make kubectl ARGS='logs deploy/mailtls -n {NAMESPACE}'",
    ):
        screen.print(f"    {command}")
    screen.print("Clean up:\n    make cluster-down")


if __name__ == "__main__":
    sys.exit(main())
