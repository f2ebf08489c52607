"""What tests of the whole operator ask for: an installation of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.installation import Installation
from testbed.layout import project_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", folder)


@pytest.fixture
def installation(crd: None, sandbox: Sandbox, zone: Zone, pebble: Pebble, tmp_path: Path) -> Iterator[Installation]:
    """Give an installation with a namespace, a zone and an authority of its own; no replica runs yet."""
    made = Installation(sandbox, zone, pebble, tmp_path)
    yield made
    made.remove()
