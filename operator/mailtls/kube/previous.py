"""The pair that served before, and its exchange for the one that serves.

Two Secrets cannot be written at once. So the kept Secret first holds both pairs, then the serving one is written, and
last the kept one lets go of what serves. Whatever a crash leaves, each pair is in one of the two, and which of those in
the kept Secret is the other one follows from what serves.
"""

import json
from dataclasses import replace

from mailtls.api.reading.document import Json
from mailtls.api.resource import ROLLBACK_HANDLED, belongs_to
from mailtls.api.spec import Desired
from mailtls.kube.interface import Cluster, Conflict
from mailtls.kube.journal import DISPLACED, Seal, is_sealed_pair, sealed_pair
from mailtls.kube.ownership import owned_fault
from mailtls.kube.pairs import (
    NOBODYS_VERSION,
    encoded,
    entry,
    is_whole,
    path,
    previous_json,
    previous_name,
    read_json,
    read_pair,
    serving_json,
    written,
)
from mailtls.kube.snapshot import Hold, ServingSecret
from mailtls.reasons.reason import Finding, Reason


class PreviousPairs:
    """Reads the kept pairs of resources and exchanges them for those that serve."""

    def __init__(self, cluster: Cluster, seal: Seal) -> None:
        self._cluster, self._seal = cluster, seal

    def read(self, desired: Desired, serving: ServingSecret) -> ServingSecret | None:
        """The pair that served before `serving`, whatever can be read of it; None where no Secret keeps one.

        A Secret of its name that is not ours, or that holds what we did not put there, is `foreign`, and nothing of it
        is read.
        """
        kept = self._cluster.get(path(desired.key.namespace, previous_name(desired)))
        if kept is None:
            return None
        if not belongs_to(kept, desired.key, desired.uid):
            fault = owned_fault(kept, desired, previous_name(desired))
            return ServingSecret(foreign=fault or Finding(Reason.SECRET_NOT_OWNED, "Nothing is kept in it yet."))
        if not is_sealed_pair(kept, self._seal):
            message = (
                f"Secret {previous_name(desired)} does not hold what was kept there: somebody else wrote into it, or "
                "an older version of the operator."
            )
            return ServingSecret(foreign=Finding(Reason.SECRET_REPLACED, message))
        pair, displaced = read_pair(kept), _displaced(kept)
        # They are the same where a crash came between the last two writes.
        return displaced if displaced is not None and _leaf(pair) == _leaf(serving) else pair

    def exchange(self, desired: Desired, serving: ServingSecret, pair: ServingSecret, hold: Hold) -> ServingSecret:
        """Let `pair` serve and keep what served; the request is handled with the very write that fulfils it.

        Raises `Conflict` when the Secret is not what was read before: somebody else wrote it meanwhile.
        """
        restored = self.to_serve(desired, serving, pair, hold)
        body = serving_json(desired, restored)
        body["metadata"]["resourceVersion"] = serving.resource_version
        displaced = previous_json(desired, serving) if is_whole(serving) else None
        if displaced is not None:
            both = previous_json(desired, pair)
            both["data"][DISPLACED] = encoded(json.dumps({name: displaced[name] for name in ("metadata", "data")}))
            self._keep(desired, both)
        saved = self._cluster.apply(path(desired.key.namespace, desired.secret_name), body)
        if displaced is not None:
            self._keep(desired, displaced)
        return written(restored, saved)

    def to_serve(self, desired: Desired, serving: ServingSecret, pair: ServingSecret, hold: Hold) -> ServingSecret:
        """The pair before, as it serves again; the request is marked as handled in it."""
        return replace(
            pair,
            handled_renew=serving.handled_renew,
            handled_rollback=desired.rollback_requested,
            hold=hold,
            adopted=serving.adopted,
        )

    def refuse(self, desired: Desired, serving: ServingSecret) -> ServingSecret:
        """Mark a request that cannot be fulfilled as handled, so that it is not fulfilled when nobody expects it.

        Raises `Conflict` when the Secret is not what was read before: somebody else wrote it meanwhile.
        """
        metadata = {
            "resourceVersion": serving.resource_version,
            "annotations": {ROLLBACK_HANDLED: desired.rollback_requested},
        }
        saved = self._cluster.merge(path(desired.key.namespace, desired.secret_name), {"metadata": metadata})
        return replace(
            serving,
            handled_rollback=desired.rollback_requested,
            resource_version=saved["metadata"]["resourceVersion"],
        )

    def _keep(self, desired: Desired, body: Json) -> None:
        fault = keep(self._cluster, desired, sealed_pair(body, self._seal))
        if fault is not None:  # it was ours when it was read
            raise Conflict(409, "Conflict", fault.message)


def _leaf(of: ServingSecret) -> str | None:
    return of.certificate.sha256 if of.certificate else None


def _displaced(kept: Json) -> ServingSecret | None:
    try:
        return read_pair(read_json(entry(kept, DISPLACED)))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def keep(cluster: Cluster, desired: Desired, body: Json) -> Finding | None:
    """Write a Secret that goes with the resource, such as the previous pair; say why where one of its name is not ours.

    Raises `Conflict` when somebody else wrote it meanwhile.
    """
    place = path(desired.key.namespace, body["metadata"]["name"])
    kept = cluster.get(place)
    fault = owned_fault(kept, desired, body["metadata"]["name"]) if kept else None
    if fault is None:
        body["metadata"]["resourceVersion"] = kept["metadata"]["resourceVersion"] if kept else NOBODYS_VERSION
        cluster.apply(place, body)
    return fault
