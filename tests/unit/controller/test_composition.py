"""The operator's objects, put together over an API in a dictionary."""

import math
from threading import Event
from typing import Any

import pytest

from fakes.cluster import FakeCluster
from mailtls.controller.composition import Controller, build
from mailtls.controller.election import Leadership
from mailtls.controller.intake import Seen
from mailtls.controller.parts import Parts
from mailtls.issuance.solvers.http01_server import Tokens
from mailtls.kube.claims import Claims
from mailtls.kube.interface import ApiError
from mailtls.metrics import Metrics
from mailtls.net.addresses import parse_networks
from mailtls.settings import Settings

API = {"serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "198.51.100.7:6443"}]}


class Silent(FakeCluster):
    """An API server that refuses to say where it listens."""

    def get(self, path: str) -> Any:
        """Refuse one path."""
        if path == "/api":
            raise ApiError(403, "Forbidden", "no")
        return super().get(path)


def parts(cluster: FakeCluster, settings: Settings | None = None) -> Parts:
    """A process that leads."""
    leadership = Leadership()
    leadership.extend(math.inf)
    given = settings or Settings("mailtls", "mailtls-0")
    return Parts(given, cluster, Metrics(), leadership, Tokens(), Claims(), Event())


def test_addresses_where_the_api_server_listens_are_refused_to_strangers_from_the_start() -> None:
    """It names them to every client; both policies know them, and another port of the same machine is no harm."""
    cluster = FakeCluster()
    cluster.objects["/api"] = API
    made = parts(cluster)
    servers, public = made.settings.servers, made.settings.public_hosts
    assert servers.refusal("198.51.100.7", 6443) is None
    build(made).begin()
    for policy in (servers, public, made.settings.servers):
        assert policy.refusal("198.51.100.7", 6443) == "the Kubernetes API server"
    assert servers.refusal("198.51.100.7", 443) is None


def test_installation_that_lists_its_network_reaches_the_machine_of_the_api_server() -> None:
    """As with every other address that is listed."""
    cluster = FakeCluster()
    cluster.objects["/api"] = API
    made = parts(cluster, Settings("mailtls", "mailtls-0", allowed_networks=parse_networks(["198.51.100.7"])))
    build(made).begin()
    assert made.settings.servers.refusal("198.51.100.7", 6443) is None


@pytest.mark.parametrize("cluster", [FakeCluster(), Silent()], ids=["says nothing", "refuses"])
def test_api_server_that_does_not_say_where_it_listens_keeps_nothing_from_beginning(cluster: FakeCluster) -> None:
    """The address of its Service is known all the same."""
    made = parts(cluster, Settings("mailtls", "mailtls-0", api_server="10.96.0.1"))
    build(made).begin()
    assert made.settings.servers.refusal("10.96.0.1", 443) == "the Kubernetes API server"


def test_controller_queues_what_the_intake_hears_and_starts_nothing_by_itself() -> None:
    """A simulation drives the same objects as the process."""
    cluster = FakeCluster()
    controller = Controller(parts(cluster), Seen())
    metadata = {"namespace": "mail", "name": "mx", "uid": "uid-1", "generation": 1}
    spec = {"dnsNames": ["mx.example.test"], "secretName": "mx-tls"}
    controller.restore([{"metadata": metadata, "spec": spec}])
    assert controller.queue.depth() == 1
    assert cluster.reads == []
