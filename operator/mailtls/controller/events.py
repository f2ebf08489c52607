"""Events, counted and limited: what flaps makes a handful in an hour, and no flood."""

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock
from typing import Final
from uuid import uuid4

import structlog

from mailtls.api.reading.document import Json
from mailtls.api.resource import GROUP, VERSION
from mailtls.kube.interface import ApiError, Cluster, Unreachable
from mailtls.times import Clock, format_rfc3339

MESSAGE_LIMIT: Final = 1000  # an Event takes 1024 characters
SAME: Final = 2
"""Events of one resource with the same reason and message in `WITHIN`."""
OF_A_REASON: Final = 4
"""Events of one resource with the same reason in `WITHIN`."""
WITHIN: Final = timedelta(hours=1)
REMEMBERED: Final = 10_000  # series; the oldest are forgotten
log = structlog.get_logger()


@dataclass(slots=True)
class _Series:
    posted_at: list[datetime] = field(default_factory=list)
    withheld: int = 0

    def may_post(self, now: datetime, most: int) -> bool:
        self.posted_at = [each for each in self.posted_at if now - each < WITHIN]
        return len(self.posted_at) < most


@dataclass(frozen=True, slots=True)
class Events:
    """Posts Events of a resource; losing one must not lose the reconcile. `count` holds those that were withheld."""

    cluster: Cluster
    clock: Clock
    _series: OrderedDict[tuple[str, ...], _Series] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def post(self, resource: Json, kind: str, reason: str, message: str) -> None:
        """Post an Event unless there were enough of its like; `kind` is Normal or Warning."""
        count = self._counted(resource["metadata"], reason, message)
        if not count:
            return
        try:
            self.cluster.create(
                f"/api/v1/namespaces/{resource['metadata']['namespace']}/events",
                self._event(resource, kind, reason, message) | {"count": count},
            )
        except (ApiError, Unreachable) as error:
            log.warning("an Event was lost", error=str(error))

    def _counted(self, meta: Json, reason: str, message: str) -> int:
        """How many occurrences this Event stands for, 0 where it is withheld."""
        now, name = self.clock.now(), (meta["namespace"], meta["name"], reason)
        with self._lock:
            of_reason, same = self._known(name), self._known((*name, message))
            if not (of_reason.may_post(now, OF_A_REASON) and same.may_post(now, SAME)):
                same.withheld += 1
                return 0
            for each in (of_reason, same):
                each.posted_at.append(now)
            count, same.withheld = 1 + same.withheld, 0
            return count

    def _known(self, name: tuple[str, ...]) -> _Series:
        series = self._series.setdefault(name, _Series())
        self._series.move_to_end(name)
        if len(self._series) > REMEMBERED:
            self._series.popitem(last=False)
        return series

    def _event(self, resource: Json, kind: str, reason: str, message: str) -> Json:
        meta, now = resource["metadata"], format_rfc3339(self.clock.now())
        named = {name: meta[name] for name in ("name", "namespace", "uid", "resourceVersion") if name in meta}
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{meta['name']}.{uuid4().hex[:16]}", "namespace": meta["namespace"]},
            "involvedObject": {"apiVersion": f"{GROUP}/{VERSION}", "kind": "MailServerTLS", **named},
            "type": kind,
            "reason": reason,
            "message": message[:MESSAGE_LIMIT],
            "source": {"component": "mailtls"},
            "reportingComponent": "mailtls",
            "reportingInstance": "mailtls",
            "firstTimestamp": now,
            "lastTimestamp": now,
        }
