"""What tests of the whole operator ask for: an installation of their own."""

from __future__ import annotations

import os
import uuid
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes.client import Configuration
from kubernetes.config import load_kube_config

from e2e.installation import Installation
from e2e.postfixes import Mail
from mailtls.kube.client import KubernetesCluster
from testbed.layout import Layout, project_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.cluster import Cluster
    from testbed.pebble import Pebble
    from testbed.sandbox import Sandbox
    from testbed.zones import Zone


@pytest.fixture(scope="session")
def crd(cluster: Cluster) -> None:
    """Install the CustomResourceDefinition of this checkout."""
    install_crd(cluster)


def install_crd(cluster: Cluster) -> None:
    """Apply crds/ and wait until the API server serves them."""
    folder = str(project_folder() / "crds")
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", folder)
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=120s", "-f", folder)


@pytest.fixture
def installation(crd: None, sandbox: Sandbox, zone: Zone, pebble: Pebble, tmp_path: Path) -> Iterator[Installation]:
    """Give an installation with a namespace, a zone and an authority of its own; no replica runs yet."""
    made = Installation(sandbox, zone, pebble, tmp_path)
    yield made
    made.remove()


@pytest.fixture
def mail() -> Iterator[Mail]:
    """Give each test a namespace of its own."""
    kubeconfig = os.environ.get("KUBECONFIG", str(Layout.of().kubeconfig))
    if not Path(kubeconfig).exists():
        pytest.skip("no cluster: `make cluster` starts one")
    cluster = KubernetesCluster(partial(load, kubeconfig))
    name = f"roll-{uuid.uuid4().hex[:8]}"
    cluster.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield Mail(cluster, name)
    cluster.delete(f"/api/v1/namespaces/{name}")
    cluster.close()


def load(kubeconfig: str) -> Any:
    """Read the kubeconfig; the client looks at the environment only once, when it is imported."""
    loaded = Configuration()
    load_kube_config(kubeconfig, client_configuration=loaded)  # type: ignore[no-untyped-call]
    return loaded
