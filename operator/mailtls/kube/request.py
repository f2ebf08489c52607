"""One request to the API server and its answer: what both hold, and how an answer is distinguished from a failure."""

import json
import time
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from mailtls import __version__
from mailtls.api.reading.document import Json
from mailtls.kube.connection import authorization
from mailtls.kube.interface import ApiError, Conflict, Unreachable
from mailtls.net.backoff import API_REQUEST, Backoff

PROOF_SECONDS: Final = 10.0  # how long the header that proves who we are is kept: making it costs as much as a request
UNAUTHORIZED: Final = 401
CONFLICT: Final = 409
TOO_MANY_REQUESTS: Final = 429
SERVER_ERRORS: Final = 500
JSON: Final = "application/json"
USER_AGENT: Final = f"mailtls/{__version__}"


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds to wait for a connection and for an answer; so many `retries`, begun within `total` only."""

    connect: float = 5.0
    read: float = 30.0
    retries: int = 3
    backoff: Backoff = API_REQUEST
    total: float = 10.0


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent; `query` in its order, `body` as JSON."""

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
        if self.status == TOO_MANY_REQUESTS or self.status >= SERVER_ERRORS:
            return Unreachable(f"The API server answered {self.status} {reason}: {said}")
        return ApiError(self.status, reason, said)


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
