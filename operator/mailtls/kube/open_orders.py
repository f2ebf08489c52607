"""The journals of open orders, wherever they are: who looks for them holds the contents of one Secret at a time.

Anybody can label Secrets as ours, so that a list of them with their contents could be larger than our memory.
"""

from collections.abc import Iterable, Iterator

from mailtls.api.reading.document import Json
from mailtls.api.resource import OURS, belonging_to, belongs_to, owned_by, owner_of
from mailtls.api.spec import Desired, Key
from mailtls.kube.interface import ApiError, Cluster
from mailtls.kube.journal import Seal, read_staged
from mailtls.kube.pairs import path
from mailtls.kube.snapshot import Staged
from mailtls.net.shared_work import SharedWork

FINALIZER = "mailtls.dev/challenges"
LIST_PATIENCE = 10.0  # seconds


class OpenOrders:
    """Finds the staged Secrets that open orders hold."""

    def __init__(self, cluster: Cluster, seal: Seal) -> None:
        self._cluster, self.seal = cluster, seal
        self._shared = SharedWork()
        self._journals: dict[tuple[str | None, str], tuple[str, str, bool]] = {}

    def read_staged(self, secret: Json) -> Staged | None:
        """Read a staged Secret; None where it makes no sense, or is not what the operator wrote."""
        return read_staged(secret, self.seal)

    def orphans(self, key: Key, present: Desired | None = None) -> Iterator[Json]:
        """The staged Secrets that a resource left with an open order, or an earlier one of its name.

        The one that `present` goes on with, as the spec is now, is none. What is not ordered any more goes on with
        none.
        """
        present = None if present is not None and present.is_external else present
        held = self._cluster.list_metadata(path(key.namespace), _held, label_selector=belonging_to(key))
        for secret in filter(None, map(self.whole, held)):
            if not (present and _is_staged_for(secret, present)):
                yield secret

    def held(self, namespaces: Iterable[str] = ()) -> list[Json]:
        """All staged Secrets with an open order, of these namespaces or of the whole cluster: of each what names it.

        Anybody can label Secrets as ours, so that their contents in one list could be larger than our memory.
        """
        places = [path(namespace) for namespace in namespaces] or ["/api/v1/secrets"]
        return [each for place in places for each in self._cluster.list_metadata(place, _held, label_selector=OURS)]

    def whole(self, held: Json) -> Json | None:
        """Read a Secret that `held` names; None where no open order holds it any more."""
        secret = self._cluster.get(path(held["metadata"]["namespace"], held["metadata"]["name"]))
        return secret if secret is not None and _held(secret) is not None else None

    def open_orders(self, namespaces: Iterable[str] = ()) -> frozenset[tuple[str, str]]:
        """Return the keys (hash of the public half) and servers of all open orders that we sealed.

        One list at a time, shared by all who ask: the Secrets of a large cluster take tens of megabytes each time.
        Nobody gets one that was begun before they asked. Raises `Busy` when it takes long.
        """
        places, me = tuple(namespaces), object()
        for _ in range(2):  # the second time either it is ours, or it was begun after the one that we waited for
            began, found = self._shared.do(places, lambda: (me, self._open_orders(places)), LIST_PATIENCE)
            if began is me:
                break
        return found

    def _open_orders(self, namespaces: Iterable[str]) -> frozenset[tuple[str, str]]:
        known, found = self._journals, {}
        for held in self.held(namespaces):
            version = (held["metadata"].get("uid"), held["metadata"]["resourceVersion"])
            journal = known.get(version) or self._journal(held)
            if journal is not None:
                found[version] = journal
        self._journals = found
        return frozenset((spki, server) for spki, server, is_open in found.values() if is_open)

    def _journal(self, held: Json) -> tuple[str, str, bool] | None:
        secret = self.whole(held)
        staged = self.read_staged(secret) if secret is not None else None
        return (staged.spki_sha256, staged.acme_server, staged.is_open) if staged is not None else None

    def release(self, secret: Json) -> None:
        """Let a staged Secret go whose order cannot be closed any more."""
        meta = secret["metadata"]
        patch = {"metadata": {"uid": meta["uid"], "finalizers": None}}  # one of its name may be another order's by now
        try:
            self._cluster.merge(path(meta["namespace"], meta["name"]), patch)
        except ApiError as error:
            if not error.is_missing:
                raise


def _held(secret: Json) -> Json | None:
    """Return what names a journal of ours that an open order holds, and whose it is; None for other Secrets."""
    meta, owner = secret["metadata"], owner_of(secret)
    if owner is None or not meta["name"].endswith("-next") or FINALIZER not in (meta.get("finalizers") or ()):
        return None
    named = {name: meta[name] for name in ("namespace", "name", "uid", "resourceVersion") if name in meta}
    return {"metadata": {**named, **owned_by(owner), "finalizers": [FINALIZER]}}


def _is_staged_for(secret: Json, desired: Desired) -> bool:
    is_named = secret["metadata"]["name"] == f"{desired.secret_name}-next"
    return is_named and belongs_to(secret, desired.key, desired.uid)
