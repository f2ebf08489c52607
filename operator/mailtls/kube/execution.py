"""Commands in containers over a websocket, in the `v4.channel.k8s.io` protocol that every supported cluster speaks.

Each binary message begins with the number of its stream: 1 stdout, 2 stderr, 3 a final Status object in JSON.
"""

import json
import time
from dataclasses import dataclass, field
from ssl import SSLContext
from threading import Event, Lock, Thread
from typing import Any, Final

import websocket

from mailtls.api.reading.document import Json
from mailtls.kube.interface import ApiError, Executed, Unreachable

PROTOCOL: Final = "v4.channel.k8s.io"
OUTPUT_LIMIT: Final = 64 * 1024  # bytes kept of each stream; the rest is read and dropped
STDOUT, STDERR, STATUS = 1, 2, 3
CONNECT_TIMEOUT: Final = 5.0  # seconds
LONGEST_COMMAND: Final = 3600.0
"""Seconds for which a command that ran out of time is waited for, instead of being started anew."""
RETRYABLE: Final = frozenset({429, 502, 503, 504})
Place = tuple[str, ...]
"""Namespace, pod, container and command."""


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


class _Running:
    """One command and its connection; whoever reads it to the end informs those who wait for the same command."""

    def __init__(self, connection: Any) -> None:
        self._connection, self._streams = connection, _Streams()
        self._ended = Event()
        self._broken: Exception | None = None

    @property
    def has_ended(self) -> bool:
        """Whether it is over, so that the next one is started anew."""
        return self._ended.is_set()

    def listen(self, seconds: float) -> bool:
        """Read for so long at most; True when the command has ended, or its connection has."""
        try:
            if not _listen(self._connection, self._streams, time.monotonic() + seconds):
                return False
        except (websocket.WebSocketException, OSError) as problem:
            self._broken = problem
        self.give_up()
        return True

    def give_up(self) -> None:
        """Read no longer."""
        self._connection.shutdown()  # no closing handshake: it would wait for a server that may be gone
        self._ended.set()

    def wait(self, seconds: float) -> Executed:
        """Wait for somebody else to have read it to the end."""
        return self.result() if self._ended.wait(seconds) else self._streams.executed(None)

    def result(self) -> Executed:
        """What the command said, as far as it was read."""
        if self._broken is not None:
            raise Unreachable(f"The connection to the container broke: {self._broken}") from self._broken
        return self._streams.executed(_exit_code(self._streams.status) if self._ended.is_set() else None)


class Commands:
    """Runs commands in containers, each only once at a time: one that outlives its time-out is listened to further.

    To drop its connection would not end it, and a second one would run beside the first. Safe for threads.
    """

    def __init__(self) -> None:
        self._running: dict[Place, _Running] = {}
        self._lock = Lock()

    def run(self, place: Place, call: Call, timeout: float) -> Executed:
        """Run to the end or for `timeout` seconds; raises `ApiError` when the command could not be started."""
        with self._lock:
            running = self._running.get(place)
        if running is not None and not running.has_ended:
            return running.wait(timeout)
        deadline = time.monotonic() + timeout
        running = self._started(place, call, timeout)
        if running.listen(deadline - time.monotonic()):
            self._drop(place, running)
        else:
            Thread(target=self._follow, args=(place, running), name="late-command", daemon=True).start()
        return running.result()

    def _started(self, place: Place, call: Call, timeout: float) -> _Running:
        try:
            running = _Running(_connect(call, min(CONNECT_TIMEOUT, timeout)))
        except (websocket.WebSocketException, OSError) as problem:
            raise Unreachable(f"The connection to the container broke: {problem}") from problem
        with self._lock:
            self._running[place] = running
        return running

    def _follow(self, place: Place, running: _Running) -> None:
        if not running.listen(LONGEST_COMMAND):
            running.give_up()
        self._drop(place, running)

    def _drop(self, place: Place, running: _Running) -> None:
        with self._lock:
            if self._running.get(place) is running:
                del self._running[place]


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
    answer = _status(body)
    message = answer.get("message") or body[:300].decode("utf-8", "replace") or "no explanation"
    if status in RETRYABLE:
        return Unreachable(f"The API server answered {status}: {message}")
    return ApiError(status, answer.get("reason") or "Unknown", message)


def _status(body: bytes | bytearray) -> Json:
    try:
        status = json.loads(body)
    except ValueError:
        return {}
    return status if isinstance(status, dict) else {}


def _exit_code(body: bytearray) -> int:
    """Read the final Status: success, an exit code among its causes, or why the command never started."""
    status = _status(body)
    if not status:
        raise Unreachable("The connection to the container ended without a result.")
    if status.get("status") == "Success":
        return 0
    causes = (status.get("details") or {}).get("causes") or []
    codes = [cause["message"] for cause in causes if cause.get("reason") == "ExitCode"]
    if codes:
        return int(codes[0])
    raise ApiError(int(status.get("code") or 500), status.get("reason") or "InternalError", status.get("message") or "")
