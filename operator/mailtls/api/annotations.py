"""Every annotation that mailtls reads or writes, and the requests that are made by one. No other module names one.

On a resource people ask for something; each value is handled once. A serving Secret says where its certificate came
from; pods and pod templates, which certificate they were last told of.
"""

from collections.abc import Mapping
from enum import StrEnum
from hashlib import sha256
from typing import Final

from mailtls.api.reading.document import Json
from mailtls.api.resource import GROUP


class Request(StrEnum):
    """What can be requested of a resource: the annotation is `mailtls.dev/` and this."""

    RENEW = "renew"
    ROLLBACK = "rollback"
    PROBE = "probe"

    @property
    def annotation(self) -> str:
        """The annotation that makes it."""
        return f"{GROUP}/{self}"

    @property
    def last_handled(self) -> str:
        """The field of the status with the last value that was handled."""
        return f"lastHandled{self.capitalize()}"


DEEP_REQUEST: Final = "deep"
"""How the value of a request for a probe begins that asks for a deep one."""

# On a Secret, by its owner.
ADOPT: Final = f"{GROUP}/adopt"  # "true", or the SHA-256 of the leaf that is to be taken over

# On the serving Secret, and the one that keeps the pair before.
ACME_SERVER: Final = f"{GROUP}/acme-server"
ACME_PROFILE: Final = f"{GROUP}/acme-profile"
RENEW_HANDLED: Final = f"{GROUP}/renew-handled"
ROLLBACK_HANDLED: Final = f"{GROUP}/rollback-handled"
ROLLED_BACK: Final = f"{GROUP}/rolled-back"
ROOTS_OFFERED: Final = f"{GROUP}/roots-offered"
NAMES_ASKED: Final = f"{GROUP}/names-asked"  # where the CA put more into the certificate
ADOPTED: Final = f"{GROUP}/adopted"  # the leaf that was there when the Secret was taken over
ORDER: Final = f"{GROUP}/order"  # the seal of the order that the pair was stored for
PAIR_SEAL: Final = f"{GROUP}/pair-seal"  # of the pair before
ORIGIN: Final = (ACME_SERVER, ACME_PROFILE, ROOTS_OFFERED, NAMES_ASKED)

# On the Secret of an ACME account.
ACCOUNT_URL: Final = f"{GROUP}/account-url"
ACCOUNT_EMAIL: Final = f"{GROUP}/acme-email"

# On pods and pod templates.
EARLIER_ANNOTATION: Final = f"{GROUP}/certificate"
"""What earlier versions wrote on pods and templates alike, before each Secret had its own; it is only read."""
LONGEST_NAME: Final = 63  # of an annotation, behind its prefix


def annotations_of(made: Json) -> Mapping[str, str]:
    """Return the annotations of any object; empty where it has none."""
    return (made.get("metadata") or {}).get("annotations") or {}


def certificate_annotation(secret_name: str) -> str:
    """Name the annotation of a pod that says which leaf (SHA-256, hex) of a Secret it was last told to load.

    One for each Secret: two resources may name the same workload, and must not read each other's words.
    """
    return _of_secret("certificate", secret_name)


def restart_annotation(secret_name: str) -> str:
    """Name the annotation of a pod template that says for which leaf of a Secret the pods were last replaced."""
    return _of_secret("restarted-for", secret_name)


def _of_secret(what: str, secret_name: str) -> str:
    name = f"{what}.{secret_name}"
    if len(name) > LONGEST_NAME:  # a Secret's name may have 253 characters
        name = f"{name[: LONGEST_NAME - 9]}-{sha256(secret_name.encode()).hexdigest()[:8]}"
    return f"{GROUP}/{name}"
