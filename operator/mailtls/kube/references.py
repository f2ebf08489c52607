"""Secrets and ConfigMaps that resources refer to: whether they changed, and credentials for logins."""

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import uniform
from typing import Final

from mailtls.api.reading.document import Json
from mailtls.api.spec import DataRef, Desired
from mailtls.kube.interface import ApiError, Cluster
from mailtls.kube.snapshot import ObjectVersion
from mailtls.net.shared_work import Expiring
from mailtls.probe.target import Credentials
from mailtls.reasons.reason import Finding, Reason, Severity
from mailtls.times import Clock

PLURALS: Final = {"Secret": "secrets", "ConfigMap": "configmaps"}
_SHARED_SECONDS: Final = 20.0  # a thousand resources that wait for one Secret are one request
RECHECK_SECONDS: Final = (30, 60)  # drawn by lot: resources that wait for the same do not read it at the same moment


def next_recheck_at(now: datetime) -> datetime:
    """Return when objects that are referred to are read again."""
    return now + timedelta(seconds=uniform(*RECHECK_SECONDS))  # noqa: S311 - spreads load


class References:
    """One for the whole operator; thread-safe."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster = cluster
        self._sights: Expiring[str, ObjectVersion] = Expiring(_SHARED_SECONDS, now=lambda: clock.now().timestamp())

    def look(self, refs: Iterable[DataRef]) -> tuple[ObjectVersion, ...]:
        """Return the version of each object; one that is not there, or that we may not see, has one as well."""
        return tuple(self._sights.get(path) or self._sights.put(path, self._sight(path)) for path in _paths(refs))

    def _sight(self, path: str) -> ObjectVersion:
        try:
            found = self._cluster.get(path)
        except ApiError as error:
            return ObjectVersion(path, f"refused with {error.status}")
        if found is None:
            return ObjectVersion(path, "")
        return ObjectVersion(path, found["metadata"]["resourceVersion"], _changed_at(found["metadata"]))


def object_path(ref: DataRef) -> str:
    """URL path of the object that holds the entry."""
    return f"/api/v1/namespaces/{ref.namespace}/{PLURALS[ref.kind]}/{ref.name}"


def _paths(refs: Iterable[DataRef]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(object_path, refs)))


def _changed_at(metadata: Json) -> datetime | None:
    """When the object was last written, as its field managers record; None where none does."""
    written = [metadata.get("creationTimestamp"), *(each.get("time") for each in metadata.get("managedFields") or ())]
    times = []
    for text in written:
        with suppress(ValueError, TypeError):
            times.append(datetime.fromisoformat(text).astimezone(UTC))
    return max(times, default=None)


BASIC_AUTH = "kubernetes.io/basic-auth"


@dataclass(frozen=True, slots=True)
class TrialLogin:
    """Whom to log in as, by which `version` of the Secret; `missing` warns that the one that is named holds nobody."""

    whom: Credentials | None = None
    missing: Finding | None = None
    version: str = ""


def trial_login(cluster: Cluster, desired: Desired) -> TrialLogin:
    """Read whom to log in as.

    Only Secrets of the type for it are read: a resource must not be a way to have any other one sent somewhere.
    """
    name = desired.probe.auth_secret
    if name is None:
        return TrialLogin()
    secret = cluster.get(f"/api/v1/namespaces/{desired.key.namespace}/secrets/{name}")
    if secret is None or secret.get("type") != BASIC_AUTH:
        return _missing(f"Create the Secret {name} of type {BASIC_AUTH} that probe.authSecretRef names")
    try:
        whom = Credentials(_entry(secret, "username"), _entry(secret, "password"))
    except (KeyError, ValueError):
        return _missing(f"Give the Secret {name} a username and a password, each on one line")
    return TrialLogin(whom, version=secret["metadata"]["resourceVersion"])


def _entry(secret: Json, name: str) -> str:
    try:
        return b64decode(secret["data"][name], validate=True).decode()
    except Base64Error:
        raise ValueError(name) from None


def _missing(what_to_do: str) -> TrialLogin:
    message = f"{what_to_do}; no login was tried."
    return TrialLogin(missing=Finding(Reason.CREDENTIALS_MISSING, message, Severity.WARN))
