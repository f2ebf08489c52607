"""The EndpointSlice that leads the CA to the leading replica."""

from threading import Event

import pytest

from fakes.cluster import FakeCluster
from mailtls.controller.composition import build
from mailtls.controller.election import Leadership, LeadershipLost
from mailtls.controller.parts import Parts
from mailtls.issuance.solvers.http01_server import Replica, Tokens, endpoint_slice, publish, without_endpoint
from mailtls.kube.claims import Claims
from mailtls.metrics import Metrics
from mailtls.settings import Settings


def test_slice_leads_the_service_to_one_pod() -> None:
    """Label, port name and address are what kube-proxy joins Service and pod by."""
    found = endpoint_slice("mail", "mailtls-http01", Replica("mailtls-abc", "10.0.0.7", "node-1"), 8089)
    assert found["metadata"]["labels"]["kubernetes.io/service-name"] == "mailtls-http01"
    assert found["addressType"] == "IPv4"
    assert found["metadata"]["name"] == "mailtls-http01-ipv4"
    assert [each["addresses"] for each in found["endpoints"]] == [["10.0.0.7"]]
    assert found["endpoints"][0]["conditions"]["ready"] is True
    assert found["endpoints"][0]["targetRef"] == {"kind": "Pod", "namespace": "mail", "name": "mailtls-abc"}
    assert found["endpoints"][0]["nodeName"] == "node-1"
    assert found["ports"] == [{"name": "http01", "port": 8089, "protocol": "TCP"}]


def test_slice_of_an_ipv6_pod_has_another_name() -> None:
    """The address type of a slice can never change, so each family has a slice of its own."""
    found = endpoint_slice("mail", "mailtls-http01", Replica("mailtls-abc", "2001:db8::7"), 8089)
    assert "nodeName" not in found["endpoints"][0]
    assert (found["addressType"], found["metadata"]["name"]) == ("IPv6", "mailtls-http01-ipv6")


def test_published_slice_is_applied_at_its_own_path() -> None:
    """Server-side apply takes the endpoint over from an earlier leader."""
    cluster = FakeCluster()
    publish(cluster, endpoint_slice("mail", "mailtls-http01", Replica("mailtls-old", "10.0.0.6"), 8089))
    publish(cluster, endpoint_slice("mail", "mailtls-http01", Replica("mailtls-new", "10.0.0.7"), 8089))
    stored = cluster.get("/apis/discovery.k8s.io/v1/namespaces/mail/endpointslices/mailtls-http01-ipv4")
    assert stored is not None
    assert [each["addresses"] for each in stored["endpoints"]] == [["10.0.0.7"]]


def test_slice_goes_with_its_pod_and_changes_owner_with_the_leader() -> None:
    """The garbage collector takes it away with the pod whose uid it names."""
    found = endpoint_slice("mail", "mailtls-http01", Replica("mailtls-abc", "10.0.0.7", uid="uid-1"), 8089)
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "mailtls-abc", "uid": "uid-1"}
    assert found["metadata"]["ownerReferences"] == [owner]
    nobodys = endpoint_slice("mail", "mailtls-http01", Replica("mailtls-abc", "10.0.0.7"), 8089)
    assert nobodys["metadata"]["ownerReferences"] == []


def test_withdrawn_slice_leads_nowhere() -> None:
    """It is the same object, with its port and without an endpoint."""
    cluster = FakeCluster()
    published = endpoint_slice("mail", "mailtls-http01", Replica("mailtls-abc", "10.0.0.7"), 8089)
    publish(cluster, published)
    publish(cluster, without_endpoint(published))
    stored = cluster.get("/apis/discovery.k8s.io/v1/namespaces/mail/endpointslices/mailtls-http01-ipv4")
    assert stored is not None
    assert (stored["endpoints"], stored["ports"]) == ([], published["ports"])


def test_only_who_leads_publishes_and_withdraws_the_endpoint() -> None:
    """A replica that slept, and wakes up when another one leads, leaves the other's endpoint alone."""
    settings = Settings("mailtls", "mailtls-abc", pod_name="mailtls-abc", pod_ip="10.0.0.7", http01_service="acme")
    cluster, leadership = FakeCluster(), Leadership(lambda: 0.0)
    parts = Parts(settings, cluster, Metrics(), leadership, Tokens(), Claims(), Event())
    work = build(parts)
    for effect in (work.begin, lambda: work.withdraw(cluster)):
        with pytest.raises(LeadershipLost):
            effect()
    assert cluster.writes == []
    leadership.extend(1.0)
    work.begin()
    (stored,) = cluster.list("/apis/discovery.k8s.io/v1/endpointslices")
    assert [each["targetRef"]["name"] for each in stored["endpoints"]] == ["mailtls-abc"]
    work.withdraw(cluster)
    (stored,) = cluster.list("/apis/discovery.k8s.io/v1/endpointslices")
    assert stored["endpoints"] == []
