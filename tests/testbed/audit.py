"""Who asked the API server for what: counts the writes that a certificate costs."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from testbed.sandbox import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from testbed.layout import Layout

_WRITING = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True, slots=True)
class Request:
    """One call, as the audit log tells it at level Metadata."""

    verb: str
    user: str
    agent: str
    resource: str
    subresource: str
    namespace: str
    name: str
    code: int

    @property
    def is_write(self) -> bool:
        """Whether it meant to change something; an exec or a token request creates nothing that stays."""
        return self.verb in _WRITING and self.subresource not in {"exec", "token", "attach", "portforward"}

    @property
    def what(self) -> str:
        """The kind that was asked for, `mailservertls/status` for a subresource."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


@dataclass(frozen=True, slots=True)
class AuditLog:
    """The API server's audit log."""

    path: Path

    @classmethod
    def of(cls, layout: Layout) -> AuditLog:
        """The log of a cluster."""
        return cls(layout.audit_log)

    def mark(self) -> int:
        """Where the log ends now: hand it to `since` to count only what comes later."""
        return self.path.stat().st_size

    def requests(
        self, *, since: int = 0, namespace: str | None = None, user: str | None = None, agent: str | None = None
    ) -> list[Request]:
        """The calls that are done, narrowed by namespace and by parts of the user's name and of the user agent."""
        return [
            request
            for request in self._read(since)
            if (namespace is None or request.namespace == namespace)
            and (user is None or user in request.user)
            and (agent is None or agent in request.agent)
        ]

    def writes(
        self, *, since: int = 0, namespace: str | None = None, user: str | None = None, agent: str | None = None
    ) -> list[Request]:
        """Those calls that changed something, the refused ones included: they cost as much."""
        found = self.requests(since=since, namespace=namespace, user=user, agent=agent)
        return [request for request in found if request.is_write]

    def await_rest(self, namespace: str, agent: str, seconds: float) -> None:
        """Wait until for so many seconds an operator asks for nothing but its lease.

        What it has begun, such as to replace pods, may go on for a while on a machine that has much else to do.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            mark = self.mark()
            time.sleep(seconds)
            asked = self.requests(since=mark, namespace=namespace, agent=agent)
            if {request.what for request in asked} == {"leases"}:
                return
            assert time.monotonic() < deadline, asked

    def _read(self, since: int) -> Iterator[Request]:
        with self.path.open("rb") as log:
            log.seek(since)
            for line in log:
                if line.endswith(b"\n"):  # the last one may be half written
                    event = json.loads(line)
                    if event.get("stage") == "ResponseComplete":
                        yield _request(event)


def _request(event: dict[str, Any]) -> Request:
    target = event.get("objectRef", {})
    return Request(
        verb=event["verb"],
        user=event["user"].get("username", ""),
        agent=event.get("userAgent", ""),
        resource=target.get("resource", ""),
        subresource=target.get("subresource", ""),
        namespace=target.get("namespace", ""),
        name=target.get("name", ""),
        code=event.get("responseStatus", {}).get("code", 0),
    )
