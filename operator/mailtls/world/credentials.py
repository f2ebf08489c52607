"""Reads the user's credentials for trial logins; they stay in memory for one sweep."""

from base64 import b64decode
from binascii import Error as Base64Error

from mailtls.model.credentials import Credentials
from mailtls.model.reason import Finding, Reason, Severity
from mailtls.model.spec import Desired
from mailtls.world.ports import Cluster, Json

BASIC_AUTH = "kubernetes.io/basic-auth"


def trial_login(cluster: Cluster, desired: Desired) -> tuple[Credentials | None, Finding | None]:
    """Return whom to log in as, and a warning where the Secret that is named holds nobody.

    Only Secrets of the type for it are read: a resource must not be a way to have any other one sent somewhere.
    """
    name = desired.probe.auth_secret
    if name is None:
        return None, None
    secret = cluster.get(f"/api/v1/namespaces/{desired.key.namespace}/secrets/{name}")
    if secret is None or secret.get("type") != BASIC_AUTH:
        return None, _warning(f"Create the Secret {name} of type {BASIC_AUTH} that probe.authSecretRef names")
    try:
        return Credentials(_entry(secret, "username"), _entry(secret, "password")), None
    except (KeyError, ValueError):
        return None, _warning(f"Give the Secret {name} a username and a password, each on one line")


def _entry(secret: Json, name: str) -> str:
    try:
        return b64decode(secret["data"][name], validate=True).decode()
    except Base64Error:
        raise ValueError(name) from None


def _warning(what_to_do: str) -> Finding:
    return Finding(Reason.CREDENTIALS_MISSING, f"{what_to_do}; no login was tried.", Severity.WARN)
