"""Commands in containers over a websocket, in the `v4.channel.k8s.io` protocol that every supported cluster speaks.

Each binary message begins with the number of its stream: 1 stdout, 2 stderr, 3 a final Status object in JSON.
"""

import json
import time
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Any, Final

import websocket

from mailtls.world.ports import ApiError, Executed, Json, Unreachable

PROTOCOL: Final = "v4.channel.k8s.io"
OUTPUT_LIMIT: Final = 64 * 1024  # bytes kept of each stream; the rest is read and dropped
STDOUT, STDERR, STATUS = 1, 2, 3
CONNECT_TIMEOUT: Final = 5.0  # seconds
RETRYABLE: Final = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Call:
    """An exec request: the whole URL (wss or ws), its headers, and how to trust the server."""

    url: str
    headers: dict[str, str]
    tls: SSLContext


@dataclass(slots=True)
class _Streams:
    data: dict[int, bytearray] = field(default_factory=lambda: {STDOUT: bytearray(), STDERR: bytearray()})
    status: bytearray = field(default_factory=bytearray)

    def take(self, message: bytes) -> None:
        if not message:
            return
        into = self.status if message[0] == STATUS else self.data.get(message[0])
        if into is not None:
            into += message[1 : 1 + OUTPUT_LIMIT - len(into)]

    def executed(self, exit_code: int | None) -> Executed:
        stdout, stderr = (self.data[stream].decode("utf-8", "replace") for stream in (STDOUT, STDERR))
        return Executed(exit_code, stdout, stderr)


def run_command(call: Call, timeout: float) -> Executed:
    """Run to the end or for `timeout` seconds; raises `ApiError` when the command could not be started."""
    deadline = time.monotonic() + timeout
    streams = _Streams()
    try:
        connection = _connect(call, min(CONNECT_TIMEOUT, timeout))
        try:
            ended = _listen(connection, streams, deadline)
        finally:
            connection.shutdown()  # no closing handshake: it would wait for a server that may be gone
    except (websocket.WebSocketException, OSError) as problem:
        raise Unreachable(f"The connection to the container broke: {problem}") from problem
    if not ended:
        return streams.executed(None)
    return streams.executed(_exit_code(streams.status))


def _connect(call: Call, timeout: float) -> Any:
    try:
        return websocket.create_connection(
            call.url,
            timeout=timeout,
            header=[f"{name}: {value}" for name, value in call.headers.items()],
            subprotocols=[PROTOCOL],
            suppress_origin=True,
            sslopt={"context": call.tls},
            http_no_proxy=["*"],
        )
    except websocket.WebSocketBadStatusException as refused:
        raise refusal(refused.status_code, refused.resp_body or b"") from refused


def _listen(connection: Any, streams: _Streams, deadline: float) -> bool:
    while (left := deadline - time.monotonic()) > 0:
        connection.settimeout(left)
        try:
            opcode, message = connection.recv_data()
        except websocket.WebSocketTimeoutException:
            return False
        except websocket.WebSocketConnectionClosedException:
            return True
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            return True
        streams.take(message)
    return False


def refusal(status: int, body: bytes) -> Exception:
    """Turn an HTTP answer that is no success into what callers know."""
    told = _status(body)
    message = told.get("message") or body[:300].decode("utf-8", "replace") or "no explanation"
    if status in RETRYABLE:
        return Unreachable(f"The API server answered {status}: {message}")
    return ApiError(status, told.get("reason") or "Unknown", message)


def _status(body: bytes | bytearray) -> Json:
    try:
        told = json.loads(body)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _exit_code(body: bytearray) -> int:
    """Read the final Status: success, an exit code among its causes, or why the command never started."""
    told = _status(body)
    if not told:
        raise Unreachable("The connection to the container ended without a result.")
    if told.get("status") == "Success":
        return 0
    causes = (told.get("details") or {}).get("causes") or []
    codes = [cause["message"] for cause in causes if cause.get("reason") == "ExitCode"]
    if codes:
        return int(codes[0])
    raise ApiError(int(told.get("code") or 500), told.get("reason") or "InternalError", told.get("message") or "")
