"""What earlier versions have saved on a real cluster, recorded by `make upgrade` in the middle of their work.

Each file has the objects of one version: `mx` was renewed once and is Ready, `outside` has a Secret of cert-manager and
is Ready, `slow` waits for its pods to be replaced, `flight` has an open order. Their keys were made for this alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fakes.cluster import FakeCluster
from mailtls.api.resource import ACME_SERVER, API, PLURAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mailtls.api.reading.document import Json

FOLDER: Final = Path(__file__).with_name("saved_state")
_PLACES: Final = {
    "secrets": "/api/v1/namespaces/{}/secrets",
    "pods": "/api/v1/namespaces/{}/pods",
    "statefulsets": "/apis/apps/v1/namespaces/{}/statefulsets",
    "deployments": "/apis/apps/v1/namespaces/{}/deployments",
    PLURAL: f"{API}/namespaces/{{}}/{PLURAL}",
}


class SavedCluster(FakeCluster):
    """A cluster that holds what was recorded; the status subresource is a part of its object."""

    def merge(self, path: str, body: Json) -> Json:
        """Merge."""
        return super().merge(path.removesuffix("/status"), body)


@dataclass(frozen=True)
class Recorded:
    """The objects of one version, by their paths, when they were read, and the roots that the installation trusts."""

    version: str
    now: datetime
    roots: str
    objects: Mapping[str, Json] = field(repr=False)

    def cluster(self) -> SavedCluster:
        """A cluster with all of it."""
        return SavedCluster(self.objects)

    def resource(self, name: str) -> Json:
        """One of the resources."""
        return next(each for path, each in self.objects.items() if path.endswith(f"/{PLURAL}/{name}"))

    def secret(self, name: str) -> Json:
        """One of the Secrets."""
        return next(each for path, each in self.objects.items() if path.endswith(f"/secrets/{name}"))

    @property
    def acme_server(self) -> str:
        """The directory of the CA that issued."""
        found: str = self.secret("mx-tls")["metadata"]["annotations"][ACME_SERVER]
        return found


def write(folder: Path, version: str, now: datetime, roots: str, found: Mapping[str, Iterable[Json]]) -> None:
    """Record objects by their plural; of who manages which field, only what Secrets tell is kept, for it is read."""
    objects: dict[str, Any] = {}
    for plural, members in found.items():
        for each in members:
            meta = each["metadata"]
            if plural != "secrets":
                meta.pop("managedFields", None)
            objects[f"{_PLACES[plural].format(meta['namespace'])}/{meta['name']}"] = each
    content = {"version": version, "now": now.isoformat(), "roots": roots, "objects": objects}
    text = json.dumps(content, indent=1, sort_keys=True)
    (folder / f"{version}.json").write_text(f"{text}\n", encoding="utf-8")


def read() -> list[Recorded]:
    """Return all that was recorded."""
    found = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(FOLDER.glob("*.json"))]
    return [Recorded(now=datetime.fromisoformat(each.pop("now")), **each) for each in found]
