"""Looks at the Secrets and ConfigMaps that resources refer to: whether they changed, never what they hold."""

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from mailtls.model.observed import Sight
from mailtls.model.spec import DataRef
from mailtls.world.expiring import Expiring
from mailtls.world.ports import ApiError, Clock, Cluster, Json

PLURALS: Final = {"Secret": "secrets", "ConfigMap": "configmaps"}
_SHARED_SECONDS: Final = 20.0  # a thousand resources that wait for one Secret are one request


class References:
    """One for the whole operator; thread-safe."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster = cluster
        self._sights: Expiring[str, Sight] = Expiring(_SHARED_SECONDS, now=lambda: clock.now().timestamp())

    def look(self, refs: Iterable[DataRef]) -> tuple[Sight, ...]:
        """Return how each object looks; one that is not there, or that we may not see, is a sight as well."""
        return tuple(self._sights.get(path) or self._sights.put(path, self._sight(path)) for path in _paths(refs))

    def _sight(self, path: str) -> Sight:
        try:
            found = self._cluster.get(path)
        except ApiError as error:
            return Sight(path, f"refused with {error.status}")
        if found is None:
            return Sight(path, "")
        return Sight(path, found["metadata"]["resourceVersion"], _changed_at(found["metadata"]))


def object_path(ref: DataRef) -> str:
    """URL path of the object that holds the entry."""
    return f"/api/v1/namespaces/{ref.namespace}/{PLURALS[ref.kind]}/{ref.name}"


def _paths(refs: Iterable[DataRef]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(object_path, refs)))


def _changed_at(metadata: Json) -> datetime | None:
    """When the object was last written, as its field managers tell; None where nobody does."""
    told = [metadata.get("creationTimestamp"), *(each.get("time") for each in metadata.get("managedFields") or ())]
    times = []
    for text in told:
        with suppress(ValueError, TypeError):
            times.append(datetime.fromisoformat(text).astimezone(UTC))
    return max(times, default=None)
