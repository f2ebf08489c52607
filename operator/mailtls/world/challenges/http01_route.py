"""Leads the CA's requests to the replica that leads: the Service for HTTP-01 has no selector, only this slice."""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from mailtls.world.ports import Cluster, Json

PORT_NAME: Final = "http01"  # kube-proxy joins the ports of Service and slice by this name
_MANAGED_BY: Final = "mailtls.dev"


@dataclass(frozen=True, slots=True)
class Replica:
    """The pod that answers, and its uid and its node where they are known.

    With the uid the slice goes with the pod: Kubernetes' garbage collector takes it away.

    Without the node, kube-proxy (mode nftables) does not lead a pod that asks its own Service back to itself, as the
    self-check does, and a Service with `externalTrafficPolicy: Local` leads nowhere.
    """

    name: str
    address: str
    node: str | None = None
    uid: str | None = None


def endpoint_slice(namespace: str, service_name: str, pod: Replica, port: int) -> Json:
    """Return the EndpointSlice that makes one pod the only endpoint of a Service.

    The name tells the address family, because a slice can never change its own.
    """
    family = f"IPv{ip_address(pod.address).version}"
    endpoint = {
        "addresses": [pod.address],
        "conditions": {"ready": True, "serving": True, "terminating": False},
        "targetRef": {"kind": "Pod", "namespace": namespace, "name": pod.name},
    }
    owner = {"apiVersion": "v1", "kind": "Pod", "name": pod.name, "uid": pod.uid}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "ownerReferences": [owner] if pod.uid else [],  # another leader's is replaced
            "name": f"{service_name}-{family.lower()}",
            "namespace": namespace,
            "labels": {
                "kubernetes.io/service-name": service_name,
                "endpointslice.kubernetes.io/managed-by": _MANAGED_BY,  # else Kubernetes' own controllers step in
            },
        },
        "addressType": family,
        "endpoints": [endpoint | ({"nodeName": pod.node} if pod.node else {})],
        "ports": [{"name": PORT_NAME, "port": port, "protocol": "TCP"}],
    }


def without_endpoint(slice_: Json) -> Json:
    """Return the slice that leads nowhere: a CA is better refused than sent to a pod that has ended."""
    return slice_ | {"endpoints": []}


def publish(cluster: Cluster, slice_: Json) -> None:
    """Make this pod the endpoint, in place of an earlier leader's; raises what `Cluster.apply` raises."""
    metadata = slice_["metadata"]
    path = f"/apis/discovery.k8s.io/v1/namespaces/{metadata['namespace']}/endpointslices/{metadata['name']}"
    cluster.apply(path, slice_)
