"""The Kubernetes API: raw JSON over the official client's pooled connections, and failures as types.

The official client brings what is hard (trust, proxies, tokens that rotate, kubeconfigs); its models are left aside,
because they cost more than the requests and lose fields that they do not know.
"""

import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from threading import Lock
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from kubernetes.client import ApiClient
from urllib3 import Timeout
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

from mailtls import __version__
from mailtls.api.reading.document import Json
from mailtls.api.resource import MANAGER
from mailtls.kube.connection import authorization, configure, tls_context
from mailtls.kube.execution import Call, Commands, Place
from mailtls.kube.interface import ApiError, Conflict, Executed, Unreachable
from mailtls.net.backoff import API_REQUEST, Backoff
from mailtls.net.deadline import bounded, end_of
from mailtls.net.effects import before_effect

CHUNK: Final = 500
LIST_ATTEMPTS: Final = 3
LONGEST_PAUSE: Final = 5.0  # seconds; a server that wants more of us is unreachable for now
PROOF_SECONDS: Final = 10.0  # how long the header that proves who we are is kept: making it costs as much as a request
UNAUTHORIZED: Final = 401
CONFLICT: Final = 409
GONE: Final = 410
TOO_MANY_REQUESTS: Final = 429
SERVER_ERRORS: Final = 500
JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds to wait for a connection and for an answer; so many `retries`, begun within `total` only."""

    connect: float = 5.0
    read: float = 30.0
    retries: int = 3
    backoff: Backoff = API_REQUEST
    total: float = 10.0


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: Json | None = None
    content_type: str = JSON

    @property
    def may_repeat(self) -> bool:
        """Whether sending it again after an unknown outcome does no harm: all but POST."""
        return self.method != "POST"


@dataclass(frozen=True, slots=True)
class _Line:
    """What requests of one login have in common, worked out once for many of them; `until` is in monotonic seconds."""

    client: Any
    prefix: str
    headers: dict[str, str]
    until: float
    pool: Any

    @classmethod
    def of(cls, client: Any) -> "_Line":
        """Find the way; through a proxy every request finds its own."""
        configuration = client.configuration
        host, manager = configuration.host.rstrip("/"), client.rest_client.pool_manager
        headers = {"User-Agent": _USER_AGENT, "Accept": JSON, **authorization(configuration)}
        until = time.monotonic() + PROOF_SECONDS
        if configuration.proxy:
            return cls(client, host, headers, until, manager)
        return cls(client, urlsplit(host).path, headers, until, manager.connection_from_url(host))


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    data: bytes
    retry_after: float | None

    def failure(self) -> Exception | None:
        if self.status < 400:  # noqa: PLR2004
            return None
        try:
            told = json.loads(self.data)
        except ValueError:
            told = {}
        reason = (told.get("reason") if isinstance(told, dict) else None) or "Unknown"
        said = (told.get("message") if isinstance(told, dict) else None) or self.data[:300].decode("utf-8", "replace")
        if self.status == CONFLICT:
            return Conflict(self.status, reason, said)
        if self.status == TOO_MANY_REQUESTS or self.status >= SERVER_ERRORS:
            return Unreachable(f"The API server answered {self.status} {reason}: {said}")
        return ApiError(self.status, reason, said)


class KubernetesCluster:
    """Implements `ports.Cluster`; safe for threads, one connection each.

    `load` is called at first and again after a 401. `written` hears of every write that succeeded: the verb, and what
    the server answered.
    """

    def __init__(
        self,
        load: Callable[[], Any] = configure,
        *,
        patience: Patience | None = None,
        written: Callable[[str, Json], None] | None = None,
        retried: Callable[[str], None] = lambda _kind: None,
    ) -> None:
        self._load = load
        self._patience = patience or Patience()
        self._written = written or (lambda _verb, _answer: None)
        self._retried = retried
        self._lock = Lock()
        self._client = ApiClient(load())
        self._commands = Commands()
        self._line: _Line | None = None

    def get(self, path: str) -> Json | None:
        """Return the object, None when it does not exist."""
        try:
            return self._send(_Request("GET", path))
        except ApiError as error:
            if error.is_missing:
                return None
            raise

    def list(self, path: str, *, label_selector: str = "") -> list[Json]:
        """Return all items; begins again when the continue token has expired (410)."""
        for attempt in range(1, LIST_ATTEMPTS + 1):
            try:
                return [item for chunk in self._chunks(path, label_selector) for item in chunk]
            except ApiError as error:
                if error.status != GONE or attempt == LIST_ATTEMPTS:
                    raise
        raise AssertionError("the loop above returns or raises")

    def create(self, path: str, body: Json) -> Json:
        """POST; raises `Conflict` when it exists."""
        return self._write("create", _Request("POST", path, _MANAGED, body))

    def replace(self, path: str, body: Json) -> Json:
        """PUT; raises `Conflict` when the resourceVersion in `body` is not the newest."""
        return self._write("replace", _Request("PUT", path, _MANAGED, body))

    def apply(self, path: str, body: Json) -> Json:
        """Server-side apply with the one field manager, taking conflicts over."""
        return self._write("apply", _Request("PATCH", path, (*_MANAGED, ("force", "true")), body, _APPLY))

    def rehearse(self, path: str, body: Json) -> Json:
        """Server-side apply as a dry run, strict about fields: nothing changes, and admission has its say."""
        query = (*_MANAGED, ("force", "true"), ("dryRun", "All"), ("fieldValidation", "Strict"))
        try:
            return self._send(_Request("PATCH", path, query, body, _APPLY))
        except Unreachable as failure:
            if _NO_FIELD not in str(failure):
                raise
            raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid", str(failure)) from None

    def merge(self, path: str, body: Json) -> Json:
        """JSON merge patch (RFC 7386); raises `Conflict` when `body` names a stale resourceVersion."""
        return self._write("merge", _Request("PATCH", path, _MANAGED, body, _MERGE))

    def delete(self, path: str, *, uid: str | None = None) -> None:
        """Delete; success when it is gone already, also when another object has its name by now."""
        body: Json = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if uid is not None:
            body["preconditions"] = {"uid": uid}
        try:
            self._write("delete", _Request("DELETE", path, body=body))
        except Conflict:
            other = self.get(path)
            if uid is None or (other is not None and other["metadata"]["uid"] == uid):
                raise
        except ApiError as error:
            if not error.is_missing:
                raise

    def execute(self, namespace: str, pod: str, container: str, command: Sequence[str], timeout: float) -> Executed:
        """Run a command as `kubectl exec` does; output beyond 64 KiB is dropped, exit code None after `timeout`.

        Raises `ApiError` when the command could not be started; never tries twice. One that ran out of time goes on in
        its container, so the same command there is then waited for, and not started a second time beside the first.
        """
        query = [("stdout", "true"), ("stderr", "true"), *(("command", word) for word in command)]
        if container:
            query.append(("container", container))
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/exec?{urlencode(query)}"
        place: Place = (namespace, pod, container, *command)
        before_effect()
        try:
            timeout = bounded(timeout)
        except TimeoutError:
            raise Unreachable("The command was not run: the deadline of the step has passed.") from None
        try:
            return self._commands.run(place, self._exec_call(path), timeout)
        except ApiError as error:
            if error.status != UNAUTHORIZED:
                raise
        self._log_in_again(self._client)
        return self._commands.run(place, self._exec_call(path), timeout)

    def close(self) -> None:
        """Let go of idle connections."""
        self._client.rest_client.pool_manager.clear()

    def _exec_call(self, path: str) -> Call:
        configuration = self._client.configuration
        url = configuration.host.rstrip("/") + path
        headers = authorization(configuration) | {"User-Agent": _USER_AGENT}
        return Call("ws" + url.removeprefix("http"), headers, tls_context(configuration))

    def _chunks(self, path: str, label_selector: str) -> Iterator[Sequence[Json]]:
        query: dict[str, str] = {"limit": str(CHUNK)}
        if label_selector:
            query["labelSelector"] = label_selector
        while True:
            answer = self._send(_Request("GET", path, tuple(query.items())))
            yield answer.get("items") or []
            onward = (answer.get("metadata") or {}).get("continue")
            if not onward:
                return
            query["continue"] = onward

    def _write(self, verb: str, request: _Request) -> Json:
        answer = self._send(request)
        self._written(verb, answer)
        return answer

    def _send(self, request: _Request) -> Json:
        """Send, and again after failures that pass; a lost answer to a POST is never followed by a second one."""
        ends_at = end_of(self._patience.total)
        for failures in range(1, self._patience.retries + 2):
            is_last = failures > self._patience.retries
            wait = self._patience.backoff.after(failures, random.random()).total_seconds()  # noqa: S311 - spreads load
            try:
                answer = self._exchange(request)
                failure = answer.failure()
                if failure is None:
                    return _object(answer.data)
                if not _passes(request, answer, failure):
                    raise failure
                wait += answer.retry_after or 0.0
            except TimeoutError:
                raise Unreachable("The API server was not asked: the deadline of the step has passed.") from None
            except HTTPError as broken:
                failure = Unreachable(f"No answer from the API server: {broken}")
                if not request.may_repeat and not isinstance(broken, ConnectTimeoutError | NewConnectionError):
                    raise failure from broken
            if is_last or wait > LONGEST_PAUSE or time.monotonic() + wait > ends_at:
                raise failure
            self._retried(self._patience.backoff.kind)
            time.sleep(wait)
        raise AssertionError("the last round returns or raises")

    def _exchange(self, request: _Request) -> _Answer:
        client = self._client
        answer = self._once(client, request)
        if answer.status == UNAUTHORIZED:
            self._log_in_again(client)
            answer = self._once(self._client, request)
        return answer

    def _once(self, client: Any, request: _Request) -> _Answer:
        line = self._line_of(client)
        headers, body = line.headers, None
        if request.body is not None:
            headers = {**headers, "Content-Type": request.content_type}
            body = json.dumps(request.body).encode()
        path = f"{line.prefix}{request.path}"
        if request.method != "GET":
            before_effect()  # here, so that a write that is tried again is looked at again
        response = line.pool.urlopen(
            request.method,
            f"{path}?{urlencode(request.query)}" if request.query else path,
            body=body,
            headers=headers,
            timeout=Timeout(connect=bounded(self._patience.connect), read=bounded(self._patience.read)),
            retries=False,
        )
        return _Answer(response.status, response.data, _seconds(response.headers.get("Retry-After")))

    def _line_of(self, client: Any) -> _Line:
        line = self._line
        if line is None or line.client is not client or time.monotonic() > line.until:
            line = self._line = _Line.of(client)  # two threads may both find it: that costs only time
        return line

    def _log_in_again(self, used: Any) -> None:
        """Load the credentials again, once for all threads that met the same 401."""
        with self._lock:
            if self._client is used:
                self._client = ApiClient(self._load())


_MANAGED: Final = (("fieldManager", MANAGER),)
_APPLY: Final = "application/apply-patch+yaml"  # JSON is YAML
_NO_FIELD: Final = "typed patch object"  # an unknown field is answered by 500, as if the server were broken
_MERGE: Final = "application/merge-patch+json"
_USER_AGENT: Final = f"mailtls/{__version__}"


def _passes(request: _Request, answer: _Answer, failure: Exception) -> bool:
    """Whether the failure passes and sending again is safe: a 429 was not carried out, a 5xx may have been."""
    if not isinstance(failure, Unreachable):
        return False
    return request.may_repeat or answer.status == TOO_MANY_REQUESTS


def _object(data: bytes) -> Json:
    try:
        parsed: Json = json.loads(data)
    except ValueError as problem:
        raise Unreachable("The API server answered something that is no JSON.") from problem
    return parsed


def _seconds(text: str | None) -> float | None:
    """Read a Retry-After; the API server writes seconds, a date (RFC 9110 section 10.2.3) is left to our own pauses."""
    return float(text) if text is not None and text.isdigit() else None
