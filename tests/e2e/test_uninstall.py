"""`helm uninstall` in the middle of an order, on the real cluster."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import yaml

from e2e.charted import values_for
from e2e.laggard import await_proof, orders_held, proofs
from testbed.layout import project_folder

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.cluster import Cluster
    from testbed.pebble import Pebble
    from testbed.sandbox import Sandbox
    from testbed.zones import NameServer, Zone

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("crd", "operator_image")]

WITHIN = 60.0  # seconds


def install(cluster: Cluster, sandbox: Sandbox, values: dict[str, object], folder: Path) -> None:
    """Install the release for the sandbox only."""
    (folder / "values.yaml").write_text(yaml.safe_dump(values))
    chart, options = project_folder() / "charts/mailtls", ("--set=crds.install=false", "--wait", "--timeout=90s")
    place = (f"--namespace={sandbox.name}", f"--values={folder / 'values.yaml'}")
    cluster.helm("install", "mailtls", str(chart), *place, *options)


def order(sandbox: Sandbox, zone: Zone) -> None:
    """Apply a resource, and wait until its order is open."""
    spec = {"dnsNames": [zone.host("mx")], "secretName": "mx-tls"}
    kind = {"apiVersion": "mailtls.dev/v1alpha1", "kind": "MailServerTLS"}
    sandbox.apply(kind | {"metadata": {"name": "mx"}, "spec": spec})
    sandbox.wait_for("secrets", "mx-tls-next", lambda seen: bool(seen and seen["metadata"].get("finalizers")))


def test_uninstalling_in_mid_order_leaves_nothing_that_holds_the_namespace(
    cluster: Cluster, sandbox: Sandbox, zone: Zone, names: NameServer, shared_pebble: Pebble, email: str, tmp_path: Path
) -> None:
    """The proof is removed, the staged Secret is let go of, the Job is gone, and the namespace can be deleted."""
    sandbox.put_secret("tsig", {"secret": zone.key.secret.encode()})
    with orders_held(names, zone):
        install(cluster, sandbox, values_for(sandbox, zone, shared_pebble, email), tmp_path)
        order(sandbox, zone)
        await_proof(names, zone)
        begun = time.monotonic()
        cluster.helm("uninstall", "mailtls", f"--namespace={sandbox.name}", "--timeout=120s")
        assert time.monotonic() - begun < WITHIN
        assert proofs(names, zone) == []
        assert "finalizers" not in sandbox.get("secrets", "mx-tls-next")["metadata"]
        assert sandbox.objects("jobs.batch") == []
        begun = time.monotonic()
        cluster.kubectl("delete", "namespace", sandbox.name, f"--timeout={WITHIN:.0f}s")
        assert time.monotonic() - begun < WITHIN
