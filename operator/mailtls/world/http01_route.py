"""Leads the CA's requests to the replica that leads: the Service for HTTP-01 has no selector, only this slice."""

from ipaddress import ip_address
from typing import Final

from mailtls.world.ports import Cluster, Json

PORT_NAME: Final = "http01"  # kube-proxy joins the ports of Service and slice by this name
_MANAGED_BY: Final = "mailtls.dev"


def endpoint_slice(namespace: str, service_name: str, pod_ip: str, pod_name: str, port: int) -> Json:
    """Return the EndpointSlice that makes one pod the only endpoint of a Service.

    The name tells the address family, because a slice can never change its own.
    """
    family = f"IPv{ip_address(pod_ip).version}"
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{service_name}-{family.lower()}",
            "namespace": namespace,
            "labels": {
                "kubernetes.io/service-name": service_name,
                "endpointslice.kubernetes.io/managed-by": _MANAGED_BY,  # else Kubernetes' own controllers step in
            },
        },
        "addressType": family,
        "endpoints": [
            {
                "addresses": [pod_ip],
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "targetRef": {"kind": "Pod", "namespace": namespace, "name": pod_name},
            }
        ],
        "ports": [{"name": PORT_NAME, "port": port, "protocol": "TCP"}],
    }


def publish(cluster: Cluster, slice_: Json) -> None:
    """Make this pod the endpoint, in place of an earlier leader's; raises what `Cluster.apply` raises."""
    metadata = slice_["metadata"]
    path = f"/apis/discovery.k8s.io/v1/namespaces/{metadata['namespace']}/endpointslices/{metadata['name']}"
    cluster.apply(path, slice_)
