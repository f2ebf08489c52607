"""The connection to the API server: where it is, who we are, and one request with its answer."""

import json
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit

from urllib3 import Timeout
from urllib3.exceptions import HTTPError

from mailtls import __version__
from mailtls.api.reading.document import Json
from mailtls.kube.interface import ApiError, Conflict, NoAnswer, Unreachable
from mailtls.net.backoff import API_REQUEST, Backoff
from mailtls.net.effects import bounded
from mailtls.reasons.quoting import printable, shorten

PROOF_SECONDS: Final = 10.0  # how long the header that proves who we are is kept: making it costs as much as a request
UNAUTHORIZED: Final = 401
_CHUNK: Final = 64 * 1024
CONFLICT: Final = 409
TOO_MANY_REQUESTS: Final = 429
BUDGET: Final = "DisruptionBudget"  # the cause of a 429 by which an eviction is refused
SERVER_ERRORS: Final = 500
JSON: Final = "application/json"
USER_AGENT: Final = f"mailtls/{__version__}"


def authorization(configuration: Any) -> dict[str, str]:
    """Return the header that proves who we are; short-lived tokens are read again when they are due."""
    headers = {}
    for proof in configuration.auth_settings().values():
        if proof["in"] == "header" and proof["value"]:
            headers[proof["key"]] = proof["value"]
    return headers


def tls_context(configuration: Any) -> ssl.SSLContext:
    """Return what the websocket checks the API server with, and shows it where certificates prove who we are."""
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    return context


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds to wait for a connection and for an answer; so many `retries`, begun within `total` only."""

    connect: float = 5.0
    read: float = 30.0
    retries: int = 3
    backoff: Backoff = API_REQUEST
    total: float = 10.0


METADATA_LIST: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
PAGE: Final = 500  # items of a list
SMALL_PAGE: Final = 25  # metadata may fill an object's 1.5 MiB as well
METADATA_PAGE: Final = 8 * 1024 * 1024  # octets of a page of metadata; most have two KiB for each object


class TooLarge(Exception):
    """The answer has more octets than its request admits."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent; `query` in its order, `body` as JSON. Of the answer no more than `most` octets are read."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: Json | list[Json] | None = None
    content_type: str = JSON
    accept: str = JSON
    most: int | None = None

    @classmethod
    def listing(cls, path: str, label_selector: str, accept: str = JSON) -> "Request":
        """Make the one for the first page of a list."""
        selected = (("labelSelector", label_selector),) if label_selector else ()
        most = METADATA_PAGE if accept == METADATA_LIST else None
        return cls("GET", path, (("limit", str(PAGE)), *selected), accept=accept, most=most)

    def in_small_pages(self) -> "Request":
        """Return the same of a list, with so few items in a page that no answer is too large."""
        return replace(self, query=(("limit", str(SMALL_PAGE)), *self.query[1:]), most=None)

    @property
    def may_repeat(self) -> bool:
        """Whether sending it again after an unknown outcome does no harm: all but POST."""
        return self.method != "POST"


@dataclass(frozen=True, slots=True)
class LoginRoute:
    """What requests of one login have in common, worked out once for many of them; `until` is in monotonic seconds."""

    client: Any
    prefix: str
    headers: dict[str, str]
    until: float
    pool: Any

    @classmethod
    def of(cls, client: Any) -> "LoginRoute":
        """Find the way; through a proxy every request finds its own."""
        configuration = client.configuration
        host, manager = configuration.host.rstrip("/"), client.rest_client.pool_manager
        headers = {"User-Agent": USER_AGENT, "Accept": JSON, **authorization(configuration)}
        until = time.monotonic() + PROOF_SECONDS
        if configuration.proxy:
            return cls(client, host, headers, until, manager)
        return cls(client, urlsplit(host).path, headers, until, manager.connection_from_url(host))


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; `retry_after` in seconds, where the server says so."""

    status: int
    data: bytes
    retry_after: float | None

    def failure(self) -> Exception | None:
        """Return what the answer means where it is none of success, as `Cluster` raises it."""
        if self.status < 400:  # noqa: PLR2004
            return None
        try:
            status = json.loads(self.data)
        except ValueError:
            status = {}
        reason = (status.get("reason") if isinstance(status, dict) else None) or "Unknown"
        said = (status.get("message") if isinstance(status, dict) else None) or self.data[:300].decode(
            "utf-8", "replace"
        )
        if self.status == CONFLICT:
            return Conflict(self.status, reason, said)
        if self.status == TOO_MANY_REQUESTS and (budget := _disruption_budget(status)):
            return ApiError(self.status, BUDGET, budget)
        if self.status == TOO_MANY_REQUESTS or self.status >= SERVER_ERRORS:
            return Unreachable(f"The API server answered {self.status} {reason}: {said}")
        return ApiError(self.status, reason, said)


def _disruption_budget(status: object) -> str | None:
    """What a PodDisruptionBudget has against an eviction; None where another limit was meant."""
    details = (status.get("details") if isinstance(status, dict) else None) or {}
    causes = (cause for cause in details.get("causes") or () if cause.get("reason") == BUDGET)
    return next((str(cause.get("message", "")) for cause in causes), None)


def passes(request: Request, answer: Answer, failure: Exception) -> bool:
    """Whether the failure passes and sending again is safe: a 429 was not carried out, a 5xx may have been."""
    if not isinstance(failure, Unreachable):
        return False
    return request.may_repeat or answer.status == TOO_MANY_REQUESTS


def parsed_object(data: bytes) -> Json:
    """Read an object; raises `Unreachable` for what is no JSON, as a proxy may answer."""
    try:
        parsed: Json = json.loads(data)
    except ValueError as problem:
        raise Unreachable("The API server answered something that is no JSON.") from problem
    return parsed


def retry_after_seconds(text: str | None) -> float | None:
    """Read a Retry-After; the API server writes seconds, a date (RFC 9110 section 10.2.3) is left to our own pauses."""
    return float(text) if text is not None and text.isdigit() else None


def read_bounded(response: Any, most: int) -> tuple[bytes, bool]:
    """Read a body, and no more of it than `most` bytes or the deadline allows; tells whether it was cut.

    Raises TimeoutError where the deadline passes.
    """
    data = bytearray()
    while len(data) <= most and (chunk := response.read1(_CHUNK)):
        data += chunk
        bounded(1.0)
    return bytes(data[:most]), len(data) > most


def pages(send: Callable[[Request], Json], request: Request) -> Iterator[Sequence[Json]]:
    """Give the items of a list page by page; from the first page on that is too large in small ones."""
    onward: tuple[tuple[str, str], ...] = ()
    while True:
        try:
            answer = send(replace(request, query=(*request.query, *onward)))
        except TooLarge:
            request = request.in_small_pages()
            continue
        yield answer.get("items") or []
        if not (token := (answer.get("metadata") or {}).get("continue")):
            return
        onward = (("continue", token),)


def received(response: Any, most: int | None) -> Answer:
    """Read an answer; raises `TooLarge` where it has more than `most` octets."""
    if most is None:
        data = response.data
    else:
        try:
            data, is_cut = read_bounded(response, most)
        finally:
            response.close()
        if is_cut:
            raise TooLarge
    return Answer(response.status, data, retry_after_seconds(response.headers.get("Retry-After")))


def read_text(route: LoginRoute, path: str, patience: Patience, most: int) -> tuple[str, bool]:
    """GET a text once, and say whether it was cut to `most` bytes; raises `ApiError` and `Unreachable`."""
    headers = {**route.headers, "Accept": "*/*"}
    try:
        limits = Timeout(connect=bounded(patience.connect), read=bounded(patience.read))
        url = f"{route.prefix}{path}"
        response = route.pool.urlopen("GET", url, headers=headers, timeout=limits, retries=False, preload_content=False)
        try:
            data, is_cut = read_bounded(response, most)
        finally:
            response.close()
    except TimeoutError:
        raise Unreachable("It was not read to its end: the deadline has passed.") from None
    except HTTPError as broken:
        raise unanswered(route.client.configuration, broken) from broken
    failure = Answer(response.status, data, None).failure()
    if failure is not None:
        raise failure
    return data.decode("utf-8", "replace"), is_cut


def unanswered(configuration: Any, broken: HTTPError) -> Unreachable:
    """Say which API server was to answer, and in a few words why it did not."""
    cause = _innermost(broken)
    words = shorten(printable(str(getattr(cause, "strerror", None) or (cause.args or [cause])[-1])))
    if isinstance(cause, ssl.SSLCertVerificationError):
        return Unreachable(f"The API server {configuration.host} has no valid certificate ({cause.verify_message}).")
    if isinstance(cause, ssl.SSLError):
        return Unreachable(f"No TLS connection to the API server {configuration.host} is possible ({words}).")
    return NoAnswer(f"The API server {configuration.host} does not answer ({words})")


def _innermost(broken: BaseException) -> BaseException:
    """Return the failure of the operating system or of TLS that urllib3 put into exceptions of its own."""
    inner = next((each for each in (*broken.args, broken.__cause__) if isinstance(each, BaseException)), None)
    return broken if inner is None else _innermost(inner)


def status_operations(before: Json, after: Json) -> list[Json]:
    """Say in operations of a JSON patch (RFC 6902) which fields of a status change, the first ones at once."""
    if not before:
        return [{"op": "add", "path": "/status", "value": after}]
    gone = [{"op": "remove", "path": f"/status/{name}"} for name in before if name not in after]
    changed = {name: value for name, value in after.items() if name not in before or value != before[name]}
    return gone + [{"op": "add", "path": f"/status/{name}", "value": value} for name, value in changed.items()]
