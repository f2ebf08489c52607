"""The Kubernetes API: raw JSON over the official client's pooled connections, and failures as types.

The official client brings what is hard (trust, proxies, tokens that rotate, kubeconfigs); its models are left aside,
because they cost more than the requests and lose fields that they do not know.
"""

import json
import random
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from threading import Lock
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from kubernetes.client import ApiClient
from urllib3 import Timeout
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

from mailtls.api.reading.document import Json
from mailtls.api.resource import MANAGER
from mailtls.kube.connection import (
    METADATA_LIST,
    UNAUTHORIZED,
    USER_AGENT,
    Answer,
    LoginRoute,
    Patience,
    Request,
    authorization,
    pages,
    parsed_object,
    passes,
    read_text,
    received,
    status_operations,
    tls_context,
    unanswered,
)
from mailtls.kube.execution import Call, Commands, Place
from mailtls.kube.interface import ApiError, Conflict, Executed, Unreachable
from mailtls.kube.login import configure
from mailtls.net import tracing
from mailtls.net.effects import before_effect, bounded, end_of

LIST_ATTEMPTS: Final = 3
LONGEST_PAUSE: Final = 5.0  # seconds; a server that wants more of us is unreachable for now
GONE: Final = 410
_P = TypeVar("_P")


class KubernetesCluster:
    """Implements `ports.Cluster`; safe for threads, one connection each.

    `load` is called at first and again after a 401. `written` is called after each write that succeeded, with the verb
    and what the server answered.
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
        self._route: LoginRoute | None = None

    def get(self, path: str) -> Json | None:
        """Return the object, None when it does not exist."""
        try:
            return self._send(Request("GET", path))
        except ApiError as error:
            if error.is_missing:
                return None
            raise

    def list(self, path: str, *, label_selector: str = "") -> list[Json]:
        """Return all items; begins again when the continue token has expired (410)."""
        return [*self._picked(Request.listing(path, label_selector), lambda item: item)]

    def list_metadata(self, path: str, pick: Callable[[Json], _P | None], *, label_selector: str = "") -> Sequence[_P]:
        """Return what `pick` makes of the metadata of each item, where that is not None; holds one page at a time."""
        return self._picked(Request.listing(path, label_selector, METADATA_LIST), pick)

    def _picked(self, request: Request, pick: Callable[[Json], _P | None]) -> Sequence[_P]:
        for attempt in range(1, LIST_ATTEMPTS + 1):
            try:
                found = (pick(item) for page in pages(self._send, request) for item in page)
                return [each for each in found if each is not None]
            except ApiError as error:
                if error.status != GONE or attempt == LIST_ATTEMPTS:
                    raise
        raise AssertionError("the loop above returns or raises")

    def text(self, path: str, *, most: int) -> tuple[str, bool]:
        """GET what is no JSON (a log, a page of a pod behind the proxy of the API server), and tell whether it was cut.

        No more than `most` bytes are read. Raises what `get` raises, 404 included.
        """
        return read_text(self._route_of(self._client), path, self._patience, most)

    def create(self, path: str, body: Json) -> Json:
        """POST; raises `Conflict` when it exists."""
        return self._write("create", Request("POST", path, _MANAGED, body))

    def replace(self, path: str, body: Json) -> Json:
        """PUT; raises `Conflict` when the resourceVersion in `body` is not the newest."""
        return self._write("replace", Request("PUT", path, _MANAGED, body))

    def apply(self, path: str, body: Json) -> Json:
        """Server-side apply with the one field manager, taking conflicts over."""
        return self._write("apply", Request("PATCH", path, (*_MANAGED, ("force", "true")), body, _APPLY))

    def rehearse(self, path: str, body: Json) -> Json:
        """Server-side apply as a dry run, strict about fields: nothing changes, and admission has its say."""
        query = (*_MANAGED, ("force", "true"), ("dryRun", "All"), ("fieldValidation", "Strict"))
        try:
            return self._send(Request("PATCH", path, query, body, _APPLY))
        except Unreachable as failure:
            if _NO_FIELD not in str(failure):
                raise
            raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid", str(failure)) from None

    def merge(self, path: str, body: Json) -> Json:
        """JSON merge patch (RFC 7386); raises `Conflict` when `body` names a stale resourceVersion, or another uid."""
        try:
            return self._write("merge", Request("PATCH", path, _MANAGED, body, _MERGE))
        except ApiError as error:
            if error.status == HTTPStatus.UNPROCESSABLE_ENTITY and _OTHER_UID in error.message:
                raise Conflict(HTTPStatus.CONFLICT, "Conflict", error.message) from None
            raise

    def report(self, path: str, uid: str, before: Json, after: Json) -> None:
        """Turn the status from `before` into `after` by a JSON patch (RFC 6902), which tests the uid first.

        In a merge patch of the status subresource a uid means nothing: the API server keeps all but the status.
        """
        operations = [{"op": "test", "path": "/metadata/uid", "value": uid}, *status_operations(before, after)]
        try:
            self._write("report", Request("PATCH", f"{path}/status", _MANAGED, operations, _JSON_PATCH))
        except ApiError as error:
            if error.status == HTTPStatus.UNPROCESSABLE_ENTITY and _DOES_NOT_FIT in error.message:
                raise Conflict(HTTPStatus.CONFLICT, "Conflict", error.message) from None
            raise

    def delete(self, path: str, *, uid: str | None = None) -> None:
        """Delete; success when it is gone already, also when another object has its name by now."""
        body: Json = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if uid is not None:
            body["preconditions"] = {"uid": uid}
        try:
            self._write("delete", Request("DELETE", path, body=body))
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
        with tracing.span("exec", namespace=namespace, pod=pod, container=container or None) as span:
            ended = self._run(place, path, timeout)
            span.note(exit_code=ended.exit_code)
            return ended

    def close(self) -> None:
        """Let go of idle connections."""
        self._client.rest_client.pool_manager.clear()

    def _run(self, place: Place, path: str, timeout: float) -> Executed:
        try:
            return self._commands.run(place, self._exec_call(path), timeout)
        except ApiError as error:
            if error.status != UNAUTHORIZED:
                raise
        self._log_in_again(self._client)
        return self._commands.run(place, self._exec_call(path), timeout)

    def _exec_call(self, path: str) -> Call:
        configuration = self._client.configuration
        url = configuration.host.rstrip("/") + path
        headers = authorization(configuration) | {"User-Agent": USER_AGENT}
        return Call("ws" + url.removeprefix("http"), headers, tls_context(configuration))

    def _write(self, verb: str, request: Request) -> Json:
        with tracing.detail(f"kubernetes {verb}", path=request.path):
            answer = self._send(request)
        self._written(verb, answer)
        return answer

    def _send(self, request: Request) -> Json:
        """Send, and again after failures that pass; a lost answer to a POST is never followed by a second one."""
        ends_at = end_of(self._patience.total)
        for failures in range(1, self._patience.retries + 2):
            is_last = failures > self._patience.retries
            wait = self._patience.backoff.after(failures, random.random()).total_seconds()  # noqa: S311 - spreads load
            try:
                answer = self._exchange(request)
                failure = answer.failure()
                if failure is None:
                    return parsed_object(answer.data)
                if not passes(request, answer, failure):
                    raise failure
                wait += answer.retry_after or 0.0
            except TimeoutError:
                raise Unreachable(
                    "No request was sent to the API server: the deadline of the step has passed."
                ) from None
            except HTTPError as broken:
                failure = unanswered(self._client.configuration, broken)
                if not request.may_repeat and not isinstance(broken, ConnectTimeoutError | NewConnectionError):
                    raise failure from broken
            if is_last or wait > LONGEST_PAUSE or time.monotonic() + wait > ends_at:
                raise failure
            self._retried(self._patience.backoff.kind)
            time.sleep(wait)
        raise AssertionError("the last round returns or raises")

    def _exchange(self, request: Request) -> Answer:
        client = self._client
        answer = self._once(client, request)
        if answer.status == UNAUTHORIZED:
            self._log_in_again(client)
            answer = self._once(self._client, request)
        return answer

    def _once(self, client: Any, request: Request) -> Answer:
        route = self._route_of(client)
        headers, body = {**route.headers, "Accept": request.accept}, None
        if request.body is not None:
            headers["Content-Type"] = request.content_type
            body = json.dumps(request.body).encode()
        path = f"{route.prefix}{request.path}"
        if request.method != "GET":
            before_effect()  # here, so that the check is made again for a write that is tried again
        response = route.pool.urlopen(
            request.method,
            f"{path}?{urlencode(request.query)}" if request.query else path,
            body=body,
            headers=headers,
            timeout=Timeout(connect=bounded(self._patience.connect), read=bounded(self._patience.read)),
            retries=False,
            preload_content=request.most is None,
        )
        return received(response, request.most)

    def _route_of(self, client: Any) -> LoginRoute:
        route = self._route
        if route is None or route.client is not client or time.monotonic() > route.until:
            route = self._route = LoginRoute.of(client)  # two threads may both find it: that costs only time
        return route

    def _log_in_again(self, used: Any) -> None:
        """Load the credentials again, once for all threads that met the same 401."""
        with self._lock:
            if self._client is used:
                self._client = ApiClient(self._load())


_MANAGED: Final = (("fieldManager", MANAGER),)
_APPLY: Final = "application/apply-patch+yaml"  # JSON is YAML
_NO_FIELD: Final = "typed patch object"  # an unknown field is answered by 500, as if the server were broken
_MERGE: Final = "application/merge-patch+json"
_JSON_PATCH: Final = "application/json-patch+json"
_DOES_NOT_FIT: Final = "error in our request"  # to the object as it is: what a schema refuses is said in other words
_OTHER_UID: Final = "metadata.uid: Invalid value"  # to the API server an attempt to change what never changes
