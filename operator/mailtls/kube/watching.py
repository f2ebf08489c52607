"""Watches objects, whole or by their metadata alone where nobody here may keep their contents."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlencode

import structlog
from kubernetes.client import ApiClient
from urllib3 import Timeout
from urllib3.exceptions import HTTPError

from mailtls.api.reading.document import Json
from mailtls.kube.client import GONE
from mailtls.kube.connection import METADATA_LIST, Answer, LoginRoute, Patience, parsed_object, unanswered
from mailtls.kube.interface import ApiError, Unreachable

METADATA: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"  # a server takes no other for a watch
WHOLE: Final = "application/json"
WATCH_LASTS: Final = "300"  # seconds, then the server ends it, and the next one goes on
WATCH_SILENCE: Final = 70.0  # seconds without a word, after which a watch counts as dead: each minute has a bookmark
CHUNK: Final = 64 * 1024  # octets
LONGEST_LINE: Final = 4 * 1024 * 1024  # octets; an object has 1.5 MiB at most
log = structlog.get_logger()


class Watch:
    """Asks for metadata alone, unless `form` says otherwise; safe for threads.

    `load` gives the official client's configuration, for each request; `selected` the selectors, as in a query.
    """

    def __init__(
        self, load: Callable[[], Any], form: str = METADATA, selected: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self._load, self._form, self._selected = load, form, selected

    def version(self, path: str) -> str:
        """Return the version that a list has now; metadata of one item is all that is sent for it.

        Any item will do: the server would look through all for one that is selected.
        """
        with self._opened(path, METADATA_LIST, {"limit": "1"}) as lines:
            listed = parsed_object(b"".join(lines))
        return str(listed["metadata"]["resourceVersion"])

    def changes(self, path: str, version: str) -> Iterator[Json]:
        """Yield events of what is listed at `path` after `version`, and bookmarks; nothing is kept.

        The first is a bookmark of `version`, once the server has granted the watch. It ends when the server ends it,
        when the connection breaks, or falls silent: the next one goes on from the version of the last event. Raises
        `ApiError` with status 410 when the version is too old, `Unreachable` when nobody answers.
        """
        query = {"watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true", "timeoutSeconds": WATCH_LASTS}
        with self._opened(path, self._form, {**query, **self._selected}) as lines:
            yield {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": version}}}
            for line in _until_broken(lines):
                event = parsed_object(line)
                if event.get("type") == "ERROR":
                    status = event["object"]
                    raise ApiError(int(status.get("code", GONE)), str(status.get("reason")), str(status.get("message")))
                yield event

    @contextmanager
    def _opened(self, path: str, form: str, query: dict[str, str]) -> Iterator[Iterator[bytes]]:
        """Send a GET, once, and give the lines of its answer as they come."""
        line = LoginRoute.of(ApiClient(self._load()))
        try:
            response = line.pool.urlopen(
                "GET",
                f"{line.prefix}{path}?{urlencode(query)}",
                headers={**line.headers, "Accept": form},
                timeout=Timeout(connect=Patience().connect, read=WATCH_SILENCE),
                retries=False,
                preload_content=False,
            )
            try:
                if response.status != HTTPStatus.OK:
                    raise _refusal(response.status, response.read(CHUNK))
                yield _lines(response.stream(CHUNK))
            finally:
                response.close()
        except HTTPError as broken:
            raise unanswered(line.client.configuration, broken) from broken


def _refusal(status: int, said: bytes) -> Exception:
    return Answer(status, said, None).failure() or Unreachable(f"The API server answered {status} to a watch.")


def _until_broken(lines: Iterable[bytes]) -> Iterator[bytes]:
    try:
        yield from lines
    except HTTPError as broken:
        log.debug("a watch broke, and is begun again", error=str(broken))


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Cut a stream into lines; raises `Unreachable` for one that is longer than any object."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from filter(None, whole)
        if len(rest) > LONGEST_LINE:
            raise Unreachable("The API server sends a line without an end.")
    if rest:
        yield rest
