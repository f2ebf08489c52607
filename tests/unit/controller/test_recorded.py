"""What earlier versions saved is read by this one: nothing is ordered, stored or reloaded again because of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from threading import Event
from typing import TYPE_CHECKING

import pytest

from builders import recorded
from builders.whole_reconcile import PlayedServers
from mailtls.api.reading.spec import parse
from mailtls.api.resource import resource_path
from mailtls.api.spec import Key
from mailtls.controller.composition import compose, defaults_of
from mailtls.controller.election import Leadership
from mailtls.controller.parts import Edges, Parts
from mailtls.issuance.solvers.http01_server import Tokens
from mailtls.kube.claims import Claims
from mailtls.kube.journal import Seal
from mailtls.kube.previous import PreviousPairs
from mailtls.metrics import Metrics
from mailtls.settings import Settings

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from builders.recorded import Recorded
    from mailtls.context import Context

EACH = pytest.mark.parametrize("saved", recorded.read(), ids=lambda each: each.version)
HOME = "mailtls"
CONDITIONS = ("Issued", "Stored", "RolledOut", "Verified", "Ready")


@dataclass(frozen=True)
class At:
    """A clock that stands."""

    moment: datetime

    def now(self) -> datetime:
        """Return the time in UTC."""
        return self.moment


class Serving(PlayedServers):
    """Mail servers that serve what they should, but for those that were not replaced yet."""

    def serves_expected(self, pod: str) -> bool:
        """Whether the pod was replaced."""
        return not pod.startswith("slow-")


class Successor:
    """An operator of this version that has just started and leads."""

    def __init__(self, saved: Recorded, folder: Path) -> None:
        self.cluster, self.clock = saved.cluster(), At(saved.now + timedelta(seconds=30))
        self.namespace = str(saved.resource("mx")["metadata"]["namespace"])
        (folder / "roots.pem").write_text(saved.roots)
        self.settings = Settings(
            HOME,
            "mailtls-0",
            acme_server=saved.acme_server,
            acme_solvers=({"http01": {}},),
            trust_bundle_file=folder / "roots.pem",
        )
        leadership = Leadership()
        leadership.extend(math.inf)
        edges = Edges(self.clock, prober=Serving(self.clock))
        parts = Parts(self.settings, self.cluster, Metrics(), leadership, Tokens(), Claims(), Event(), edges=edges)
        self.made = compose(parts)

    def context(self, name: str) -> Context:
        """What it knows of a resource before its first step."""
        resource = self.cluster.objects[resource_path(Key(self.namespace, name))]
        return self.made.observer.observe(parse(resource, defaults_of(self.settings)), resource)

    def reconcile(self, name: str) -> list[tuple[str, str]]:
        """Make one reconcile; gives what it wrote, but for the status and Events."""
        path = resource_path(Key(self.namespace, name))
        self.made.reconciler(Key(self.namespace, name))
        return [each for each in self.cluster.writes if each[1] != path and "/events/" not in each[1]]


def test_state_of_earlier_versions_is_there() -> None:
    """Without it the others show nothing."""
    assert len(recorded.read()) >= 2


@EACH
@pytest.mark.parametrize("name", ["mx", "outside"])
def test_resource_that_was_ready_is_left_alone(saved: Recorded, name: str, tmp_path: Path) -> None:
    """A first reconcile writes nothing but the status and runs no command in a pod; Ready stays True."""
    operator = Successor(saved, tmp_path)
    before = saved.resource(name)["status"]
    assert operator.reconcile(name) == []
    assert "execute" not in operator.cluster.verbs()
    after = operator.cluster.objects[resource_path(Key(operator.namespace, name))]["status"]
    assert (after["certificate"], after["history"]) == (before["certificate"], before["history"])
    was, now = (
        {each["type"]: (each["status"], each["lastTransitionTime"]) for each in status["conditions"]}
        for status in (before, after)
    )
    assert {kind: now.get(kind) for kind in CONDITIONS} == {kind: was.get(kind) for kind in CONDITIONS}
    assert now["Ready"][0] == "True"
    assert now.keys() == set(CONDITIONS)  # earlier versions had DomainHealthy, of a reason that is no more


@EACH
def test_certificate_that_was_stored_is_ours_and_so_is_the_one_before(saved: Recorded, tmp_path: Path) -> None:
    """Whoever requests a rollback after the upgrade gets the pair that the earlier version kept."""
    operator = Successor(saved, tmp_path)
    known = operator.context("mx")
    secret = known.snapshot.secret
    assert secret.is_ours
    assert not secret.lacks_labels
    assert secret.foreign is None
    assert secret.handled_renew == "1"
    assert known.snapshot.copy is not None
    assert known.snapshot.copy.certificate == secret.certificate
    previous = PreviousPairs(operator.cluster, Seal(operator.cluster, HOME)).read(known.desired, secret)
    assert previous is not None
    assert previous.foreign is None
    assert previous.certificate not in (None, secret.certificate)


@EACH
def test_order_that_was_open_goes_on_with_its_key(saved: Recorded, tmp_path: Path) -> None:
    """It is neither somebody else's nor begun again."""
    staged = Successor(saved, tmp_path).context("flight").snapshot.staged
    assert staged is not None
    assert staged.is_open
    assert staged.order_url is not None
    assert staged.order_url.startswith(saved.acme_server.removesuffix("/dir"))


@EACH
def test_rollout_that_waited_for_its_pods_still_waits(saved: Recorded, tmp_path: Path) -> None:
    """The pod template names the certificate already: it is not restarted a second time."""
    operator = Successor(saved, tmp_path)
    assert operator.reconcile("slow") == []
