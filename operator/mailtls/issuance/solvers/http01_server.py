"""The server for HTTP-01 (RFC 8555 section 8.3): answers requests for tokens only, on the replica that leads.

The Service for HTTP-01 has no selector, only the EndpointSlice that is made here: the leader alone knows the tokens.
"""

import asyncio
import re
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from aiohttp import web

from mailtls.api.reading.document import Json
from mailtls.kube.interface import Cluster
from mailtls.net.http_server import BACKLOG, Bounds, GuardedServer, last_answer, listen

PATH: Final = "/.well-known/acme-challenge/"
PORT: Final = 8089
PORT_NAME: Final = "http01"  # kube-proxy joins the ports of Service and slice by this name
MOST_TOKENS: Final = 50_000  # at a time a CA waits for a few hundred
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,256}")  # base64url without padding, RFC 8555 section 8.1
_HOST: Final = re.compile(r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)(?::[0-9]{1,5})?")
_BOUNDS: Final = Bounds(connections=2000)  # a CA needs a few milliseconds, and looks from a handful of places
_STOP_SECONDS: Final = 0.5
_MANAGED_BY: Final = "mailtls.dev"


def requested_token(path: str) -> str | None:
    """Return the token of a request target, None when it is not exactly that of a challenge."""
    token = path.removeprefix(PATH)
    return token if token != path and _TOKEN.fullmatch(token) else None


def requested_host(header: str) -> str | None:
    """Return the name in a Host header in lower case and without its port, None when it holds none."""
    match = _HOST.fullmatch(header)
    return match["name"].lower() if match else None


class Tokens:
    """The challenges that wait for a CA, by host and token; thread-safe, and never printed.

    Of those that nobody took back, as their order was lost, the ones presented last are held.
    """

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str], str] = {}
        self._lock = threading.Lock()

    def present(self, host: str, token: str, key_authorization: str) -> None:
        """Answer `key_authorization` for `token` at `host` from now on."""
        with self._lock:
            self._answers.pop((host.lower(), token), None)
            while len(self._answers) >= MOST_TOKENS:
                del self._answers[next(iter(self._answers))]
            self._answers[host.lower(), token] = key_authorization

    def remove(self, host: str, token: str) -> None:
        """Stop answering; success when it was not there."""
        with self._lock:
            self._answers.pop((host.lower(), token), None)

    def answer(self, host_header: str, path: str) -> str | None:
        """Return the key authorization for a request, None when it is not for a challenge that waits here."""
        host, token = requested_host(host_header), requested_token(path)
        if host is None or token is None:
            return None
        with self._lock:
            return self._answers.get((host, token))


class Http01Server:
    """Serves `tokens` on all addresses, in a thread and an event loop of its own.

    A connection answers one request and ends, and none lives longer than ten seconds. `port` 0 takes a free one.
    """

    def __init__(self, tokens: Tokens, port: int = PORT, bounds: Bounds = _BOUNDS) -> None:
        self._tokens, self._wanted_port, self._bounds = tokens, port, bounds
        self._socket: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopping = asyncio.Event()

    @property
    def port(self) -> int:
        """The port it listens on, once started."""
        return self._wanted_port if self._socket is None else int(self._socket.getsockname()[1])

    def start(self) -> None:
        """Listen; connections are accepted when this returns. Raises OSError when the port is taken."""
        self._socket = listen(self._wanted_port)
        self._loop, self._stopping = asyncio.new_event_loop(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, args=(self._loop, self._socket), name="http01", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening and drop all connections; returns in less than a second. Harmless when not started."""
        thread, loop = self._thread, self._loop
        if thread is None or loop is None:
            return
        with suppress(RuntimeError):  # the loop has ended already
            loop.call_soon_threadsafe(self._stopping.set)
        thread.join(_STOP_SECONDS + 0.4)
        self._thread = self._loop = self._socket = None

    def _run(self, loop: asyncio.AbstractEventLoop, listening: socket.socket) -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(self._serve(listening))

    async def _serve(self, listening: socket.socket) -> None:
        protocols = GuardedServer(self._handle, self._bounds)
        server = await asyncio.get_running_loop().create_server(protocols, sock=listening, backlog=BACKLOG)
        await self._stopping.wait()
        server.close()
        protocols.abort()
        with suppress(TimeoutError):
            await asyncio.wait_for(protocols.shutdown(timeout=0), _STOP_SECONDS)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        hosts = request.headers.getall("Host", [])
        found = None
        if request.method in {"GET", "HEAD"} and len(hosts) == 1:
            found = self._tokens.answer(hosts[0], request.raw_path)
        return last_answer(404) if found is None else last_answer(200, found)


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

    The name holds the address family, because a slice can never change its own.
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
