"""Reads the user's credentials for trial logins; they stay in memory for one sweep."""

from base64 import b64decode
from binascii import Error as Base64Error
from dataclasses import dataclass

from mailtls.model.reason import Finding, Reason, Severity
from mailtls.model.spec import Desired
from mailtls.probe.target import Credentials
from mailtls.world.ports import Cluster, Json

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
