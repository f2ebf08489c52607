"""Releases of the chart on the real cluster: `helm test`, and `helm uninstall` in the middle of an order."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import yaml

from e2e.charted import values_for
from e2e.laggard import NODE_RANGE, await_challenge_record, challenge_records, orders_held
from testbed.console import Trouble
from testbed.layout import project_folder
from testbed.sandbox import MAIL_SERVER_TLS, Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from testbed.api import Api
    from testbed.cluster import Cluster
    from testbed.pebble import Pebble
    from testbed.zones import NameServer, Zone

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("crd", "operator_image")]

WITHIN = 180.0  # seconds
CRD = "mailservertls.mailtls.dev"
UNINSTALL = project_folder() / "docs/how-to/uninstall.md"


def install(cluster: Cluster, sandbox: Sandbox, values: dict[str, object], folder: Path, *, crds: bool = False) -> None:
    """Install the release for the sandbox only."""
    (folder / "values.yaml").write_text(yaml.safe_dump(values))
    chart, options = (
        project_folder() / "charts/mailtls",
        (f"--set=crds.enabled={str(crds).lower()}", "--wait", "--timeout=240s"),
    )
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
    """The record is removed, the staged Secret is let go of, the Job is gone, and the namespace can be deleted."""
    sandbox.put_secret("tsig", {"secret": zone.key.secret.encode()})
    values = values_for(sandbox, zone, shared_pebble, email)
    values["connections"]["allowedNetworks"].append(NODE_RANGE)
    with orders_held(names, zone, for_pods=True):
        install(cluster, sandbox, values, tmp_path)
        order(sandbox, zone)
        await_challenge_record(names, zone)
        begun = time.monotonic()
        cluster.helm("uninstall", "mailtls", f"--namespace={sandbox.name}", "--timeout=240s")
        assert time.monotonic() - begun < WITHIN
        assert challenge_records(names, zone) == []
        assert "finalizers" not in sandbox.get("secrets", "mx-tls-next")["metadata"]
        assert sandbox.find("secrets", "mx-tls") is None  # the order was not over
        assert sandbox.objects("jobs.batch") == []
        begun = time.monotonic()
        cluster.kubectl("delete", "namespace", sandbox.name, f"--timeout={WITHIN:.0f}s")
        assert time.monotonic() - begun < WITHIN


def test_helm_test_looks_at_an_installation_and_names_what_it_lacks(
    cluster: Cluster, sandbox: Sandbox, zone: Zone, names: NameServer, shared_pebble: Pebble, email: str, tmp_path: Path
) -> None:
    """As a user whom the platform picks, as OpenShift does; nothing is issued, and a right that is gone is named."""
    values = values_for(sandbox, zone, shared_pebble, email)
    values["podSecurityContext"] = dict.fromkeys(("runAsUser", "fsGroup"), 1_000_730_000) | {"runAsGroup": 0}
    install(cluster, sandbox, values, tmp_path)
    address = sandbox.get("services", "mailtls-metrics")["spec"]["clusterIP"]
    names.publish_service(sandbox.name, "mailtls-metrics", address)
    place = (f"--namespace={sandbox.name}", "--timeout=240s")
    sandbox.wait_for(
        "leases.coordination.k8s.io", "mailtls", lambda seen: bool(seen and seen["spec"].get("holderIdentity"))
    )
    cluster.helm("test", "mailtls", *place)
    seen = cluster.kubectl("logs", "mailtls-check-installation", f"--namespace={sandbox.name}")
    for words in ("OK   CRD", "OK   rights", "OK   leader", "OK   metrics"):
        assert words in seen, seen
    role = sandbox.get("roles.rbac.authorization.k8s.io", "mailtls")
    role["rules"] = [rule for rule in role["rules"] if "pods/exec" not in rule["resources"]]
    sandbox.patch("roles.rbac.authorization.k8s.io", "mailtls", {"rules": role["rules"]})
    with pytest.raises(Trouble):
        cluster.helm("test", "mailtls", *place)
    seen = cluster.kubectl("logs", "mailtls-check-installation", f"--namespace={sandbox.name}")
    assert f"create pods/exec in {sandbox.name}" in " ".join(seen.split()), seen
    assert sandbox.objects(MAIL_SERVER_TLS) == []
    cluster.helm("uninstall", "mailtls", f"--namespace={sandbox.name}")


@pytest.fixture
def homes(cluster: Cluster, api: Api) -> Iterator[tuple[Sandbox, Sandbox]]:
    """Two namespaces for the operator, one after the other."""
    made = tuple(Sandbox.create(cluster, api, purpose) for purpose in ("old", "new"))
    try:
        yield made[0], made[1]
    finally:
        for each in made:
            with suppress(Trouble):
                cluster.helm("uninstall", "mailtls", f"--namespace={each.name}", "--no-hooks", "--ignore-not-found")
            each.remove()


def test_operator_moves_to_another_namespace_as_documented(
    cluster: Cluster,
    sandbox: Sandbox,
    homes: tuple[Sandbox, Sandbox],
    zone: Zone,
    shared_pebble: Pebble,
    email: str,
    tmp_path: Path,
) -> None:
    """Uninstalled and installed elsewhere, the CRD having stayed: the resource is renewed by the new one, and Ready."""
    old, new = homes
    values = values_for(sandbox, zone, shared_pebble, email)
    for home in homes:
        home.put_secret("tsig", {"secret": zone.key.secret.encode()})
    cluster.kubectl("label", "crd", CRD, "--overwrite", "app.kubernetes.io/managed-by=Helm")
    tell_helm(cluster, old)
    install(cluster, old, values, tmp_path, crds=True)
    spec = {"dnsNames": [zone.host("mx")], "secretName": "mx-tls"}
    kind = {"apiVersion": "mailtls.dev/v1alpha1", "kind": "MailServerTLS"}
    sandbox.apply(kind | {"metadata": {"name": "mx"}, "spec": spec})
    first = sandbox.wait_for_condition(MAIL_SERVER_TLS, "mx")["status"]["certificate"]["serialNumber"]

    cluster.helm("uninstall", "mailtls", f"--namespace={old.name}", "--timeout=240s")
    assert sandbox.get(MAIL_SERVER_TLS, "mx")["status"]["certificate"]["serialNumber"] == first
    with pytest.raises(Trouble, match="invalid ownership metadata"):
        install(cluster, new, values, tmp_path, crds=True)
    tell_helm(cluster, new)
    install(cluster, new, values, tmp_path, crds=True)
    sandbox.annotate(MAIL_SERVER_TLS, "mx", **{"mailtls.dev/renew": "after the move"})
    sandbox.wait_for(
        MAIL_SERVER_TLS,
        "mx",
        lambda seen: seen is not None and seen["status"]["certificate"]["serialNumber"] != first,
    )
    sandbox.wait_for_condition(MAIL_SERVER_TLS, "mx")


def tell_helm(cluster: Cluster, home: Sandbox) -> None:
    """Say which release the CustomResourceDefinition belongs to, by the command of docs/how-to/uninstall.md."""
    command = re.search(r"kubectl (annotate crd [^`]+?NEW-NAMESPACE)", UNINSTALL.read_text(encoding="utf-8"))
    assert command is not None
    cluster.kubectl(*command[1].replace("\\\n", " ").replace("NEW-NAMESPACE", home.name).split())
