"""An upgrade from the version before by the documented commands, with resources that are Ready and others at work."""

from __future__ import annotations

import datetime as dt
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from builders import recorded
from builders.authority import Authority, cert_manager_secret
from e2e.charted import values_for
from e2e.installation import Installation, dns01
from e2e.laggard import NODE_RANGE, await_challenge_record, orders_held
from e2e.upgrade_ways import WithHelm, WithManifests, WithOverlay
from e2e.upgrading import HOME, Picture, Release, await_probed
from testbed import containers, earlier
from testbed.console import Trouble
from testbed.layout import POD_RANGE, SERVICE_RANGE, project_folder
from testbed.mailserver import MailServer
from testbed.sandbox import MAIL_SERVER_TLS, Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.laggard import Laggard
    from e2e.upgrade_ways import Way
    from testbed.api import Api, Object
    from testbed.cluster import Cluster
    from testbed.pebble import Pebble
    from testbed.zones import NameServer, Zone

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.upgrade,
    pytest.mark.timeout(900),
    pytest.mark.skipif(earlier.VARIABLE not in os.environ, reason="it needs a cluster of its own: make upgrade"),
]
WITHIN = 120.0
SETTLED = ("mx", "outside")
PROBED = (*SETTLED, "slow")
ALL = (*PROBED, "flight")
RESTARTED = "mailtls.dev/restarted-for.slow-tls"
RECORD = "MAILTLS_UPGRADE_RECORD"
"""A folder for what the earlier version has saved, as tests/builders/saved_state keeps it."""


@dataclass
class World:
    """A cluster with the earlier version, and what it works on."""

    checkout: Path
    cluster: Cluster
    installation: Installation
    way: Way
    held: Zone
    names: NameServer
    values: dict[str, Any]

    def prepare(self, tag: str) -> None:
        """Edit the files for one of the two versions: `before` or `dev`."""
        files = self.checkout if tag == "before" else project_folder()
        self.way.prepare(self.home, self.values, files, tag)

    @property
    def home(self) -> Sandbox:
        """The operator's namespace."""
        return Sandbox(self.cluster, self.installation.sandbox.api, HOME)

    def await_lead(self, tag: str) -> None:
        """Wait until a replica of an image leads: the one before may still be ending."""

        def leads(seen: Object | None) -> bool:
            holder = ((seen or {}).get("spec") or {}).get("holderIdentity")
            pods = {
                each["metadata"]["name"]: each["spec"]["containers"][0]["image"] for each in self.home.objects("pods")
            }
            return pods.get(str(holder)) == f"localhost/mailtls:{tag}"

        self.home.wait_for("leases.coordination.k8s.io", "mailtls", leads, within=WITHIN)


@pytest.fixture(scope="session")
def checkout() -> Path:
    """Take the files of the earlier version out of Git, before any cluster is brought up."""
    found = earlier.chosen()
    if found is None:
        pytest.skip(earlier.NONE)
    return earlier.ensure_checkout(found)


@pytest.fixture(params=[WithHelm, WithManifests, WithOverlay])
def world(
    request: pytest.FixtureRequest,
    checkout: Path,
    cluster: Cluster,
    operator_image: str,
    api: Api,
    sandbox: Sandbox,
    zone: Zone,
    names: NameServer,
    pebble: Pebble,
    tmp_path: Path,
) -> Iterator[World]:
    """Prepare what docs/how-to/install.md says for the earlier version."""
    assert operator_image == "localhost/mailtls:dev"
    if api.find("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/mailservertls.mailtls.dev") is not None:
        pytest.fail("an upgrade needs a cluster of its own, and this one has the resource already: make upgrade")
    containers.import_image(cluster.layout, earlier.ensure_image(checkout))
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": HOME}})
    held = names.add_zone(f"h{secrets.token_hex(4)}.test")
    home = Sandbox(cluster, api, HOME)
    home.put_secret("tsig", {each.name: each.key.secret.encode() for each in (zone, held)})
    way = request.param(Release(tmp_path))
    made = World(checkout, cluster, Installation(sandbox, zone, pebble, tmp_path), way, held, names, {})
    solvers = [dns01(each, dnsZones=[each.name]) for each in (zone, held)]
    for solver, each in zip(solvers, (zone, held), strict=True):
        solver["dns01"]["rfc2136"]["tsigSecretRef"] = {"name": "tsig", "key": each.name}
    made.values = values_for(sandbox, zone, pebble, f"postmaster@{zone.name}")
    del made.values["watchNamespaces"]
    made.values["acme"]["solvers"] = solvers
    made.values["connections"]["allowedNetworks"] = [NODE_RANGE, SERVICE_RANGE, POD_RANGE]
    try:
        yield made
    finally:
        with suppress(Trouble):
            print(cluster.kubectl("logs", "-n", HOME, "deploy/mailtls", "--tail=300"))
        for secret in sandbox.objects("secrets"):
            if secret["metadata"].get("finalizers"):
                sandbox.patch("secrets", secret["metadata"]["name"], {"metadata": {"finalizers": None}})
        names.remove_zone(held)
        forget(cluster)


def forget(cluster: Cluster) -> None:
    """Take everything of the operator out of the cluster, for the next way."""
    cluster.kubectl("delete", "namespace", HOME, "--timeout=120s")
    rights = "clusterroles,clusterrolebindings"
    cluster.kubectl("delete", rights, "--selector=app.kubernetes.io/name=mailtls")
    cluster.kubectl("delete", "crd", "mailservertls.mailtls.dev", "--timeout=120s")


def test_upgrade_orders_reloads_and_loses_nothing_and_what_is_under_way_ends_well(world: World) -> None:
    """Forward by the commands of upgrade.md, a renewal by the new version, back, and forward once more."""
    installation, sandbox = world.installation, world.installation.sandbox
    outside = Authority()
    world.values["trust"] = {"inline": installation.pebble.root() + outside.root_pem}
    world.prepare("before")
    world.way.install()
    begin(installation, outside)
    slow = begin_restart(installation)
    with orders_held(world.names, world.held, for_pods=True) as laggard:
        order = begin_order(world)
        record(world)
        before = Picture.of(installation, SETTLED)
        upgrade(world)
        for name in SETTLED:
            await_probed(installation, name, "after the upgrade")
        assert Picture.of(installation, SETTLED) == before
        expect_order_ends(world, order, laggard)
    for pod in slow.pods():
        sandbox.delete("pods", pod["metadata"]["name"])
    installation.await_ready("slow", within=WITHIN)
    assert installation.pebble.orders() == before.orders
    assert installation.pebble.accounts() == before.accounts
    reapply(installation)
    expect_renewal(installation, before)
    expect_way_back(world)


def begin(installation: Installation, outside: Authority) -> None:
    """Have one resource renewed once and Ready, and one whose Secret cert-manager writes, each with its pods."""
    sandbox, host = installation.sandbox, installation.zone.host
    issued = outside.issue(host("outside"))
    sandbox.apply(cert_manager_secret(sandbox.name, "outside-tls", issued))
    servers = [
        MailServer(sandbox, host("mx")).deploy(wait=False),
        MailServer(sandbox, host("outside"), kind="Deployment", name="relay", secret="outside-tls").deploy(wait=False),
    ]
    for server in servers:
        server.wait_until_ready(within=WITHIN)
    workloads = [[{"kind": each.kind, "name": each.name, "preset": "postfix"}] for each in servers]
    installation.apply(workloads=workloads[0])
    installation.apply("outside", name="outside", secret="outside-tls", external={}, workloads=workloads[1])
    for name in SETTLED:
        installation.await_ready(name, within=WITHIN)
    installation.renew("1")
    installation.await_renewed("1", within=WITHIN)


def begin_restart(installation: Installation) -> MailServer:
    """Have a rollout wait for a person: the pod template is annotated, and its StatefulSet replaces no pod."""
    sandbox = installation.sandbox
    slow = MailServer(sandbox, installation.zone.host("slow"), name="slow", secret="slow-tls").deploy()
    sandbox.patch(
        "statefulsets.apps", "slow", {"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": None}}}
    )
    workloads = [{"kind": "StatefulSet", "name": "slow", "preset": "postfix", "updateStrategy": "Restart"}]
    installation.apply("slow", name="slow", secret="slow-tls", workloads=workloads)

    def is_annotated(seen: Object | None) -> bool:
        return RESTARTED in ((seen or {})["spec"]["template"]["metadata"].get("annotations") or {})

    sandbox.wait_for("statefulsets.apps", "slow", is_annotated, within=WITHIN)
    return slow


def begin_order(world: World) -> Object:
    """Have an order open whose challenge one name server of the zone does not show."""
    installation = world.installation
    manifest = {"dnsNames": [world.held.host("mx")], "secretName": "flight-tls"}
    kind = {"apiVersion": "mailtls.dev/v1alpha1", "kind": "MailServerTLS"}
    installation.sandbox.apply(kind | {"metadata": {"name": "flight"}, "spec": manifest})
    url = installation.await_order("flight-tls-next", within=WITHIN)
    await_challenge_record(world.names, world.held, within=WITHIN)
    return {"url": url, "key": installation.sandbox.secret("flight-tls-next")["tls.key"]}


def upgrade(world: World) -> None:
    """Do what the page says."""
    world.prepare("dev")
    address = world.home.get("services", "mailtls-metrics")["spec"]["clusterIP"]
    world.names.publish_service(HOME, "mailtls-metrics", address)
    world.way.upgrade()
    world.await_lead("dev")


def expect_order_ends(world: World, order: Object, laggard: Laggard) -> None:
    """The same order, with the same key, is waited for, then finished."""
    installation = world.installation
    journal = installation.journal("flight-tls-next")
    assert journal is not None
    assert (journal["open"], journal["url"]) == (True, order["url"])
    laggard.release()
    installation.await_ready("flight", within=WITHIN)
    assert installation.sandbox.secret("flight-tls")["tls.key"] == order["key"]


def reapply(installation: Installation) -> None:
    """The definition takes the resources of the version before, as `kubectl apply` sends them again."""
    for each in installation.sandbox.objects(MAIL_SERVER_TLS):
        spec = {"spec": each["spec"], "metadata": {"name": each["metadata"]["name"]}}
        again = installation.sandbox.apply({"apiVersion": each["apiVersion"], "kind": each["kind"], **spec})[0]
        assert again["metadata"]["generation"] == each["metadata"]["generation"]


def expect_renewal(installation: Installation, before: Picture) -> None:
    """The new version renews what the one before has issued: one order, and one reload in each pod."""
    was = Picture.of(installation, SETTLED)
    installation.renew("2")
    installation.await_renewed("2", within=WITHIN)
    now = Picture.of(installation, SETTLED)
    assert now.orders == before.orders + 1
    assert now.secrets["mx-tls-previous"]["tls.crt"] == before.secrets["mx-tls"]["tls.crt"]
    for name in ("postfix-0", "postfix-1"):
        assert (now.pods[name][:2], now.pods[name][2]) == (was.pods[name][:2], was.pods[name][2] + 1)


def expect_way_back(world: World) -> None:
    """The version before takes its resources back and leaves them as they are, and so does the new one once more."""
    installation = world.installation
    was = Picture.of(installation, ALL)
    world.prepare("before")
    world.way.go_back()
    expect_unchanged(world, was, "before")
    world.prepare("dev")
    world.way.upgrade_again()
    expect_unchanged(world, was, "dev")


def expect_unchanged(world: World, was: Picture, tag: str) -> None:
    """The version that runs now has probed all, and all is Ready as it was."""
    world.await_lead(tag)
    for name in PROBED:
        await_probed(world.installation, name, f"by {tag}, once more")
    for name in ALL:
        world.installation.await_ready(name, within=WITHIN)
    assert Picture.of(world.installation, ALL) == was


def record(world: World) -> None:
    """Write down what the earlier version has saved, where a folder is named."""
    folder = os.environ.get(RECORD)
    if not folder:
        return
    sandbox = world.installation.sandbox
    kinds = ("pods", "statefulsets.apps", "deployments.apps", MAIL_SERVER_TLS)
    found = {kind.partition(".")[0]: sandbox.objects(kind) for kind in kinds}
    ours = [each for each in world.home.objects("secrets") if not each["metadata"]["name"].startswith("sh.helm")]
    found["secrets"] = sandbox.objects("secrets") + ours
    version = world.checkout.name[:8]
    recorded.write(Path(folder), version, dt.datetime.now(dt.UTC), world.values["trust"]["inline"], found)
