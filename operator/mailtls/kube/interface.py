"""What requests to the Kubernetes API there are, how they fail, and what its refusals mean to an administrator."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Protocol, TypeVar

from mailtls.api.reading.document import Json
from mailtls.reasons.reason import Finding, Reason

_P = TypeVar("_P")


def forbidden(verb: str, namespace: str) -> Finding:
    """Name the permission that the operator lacks."""
    message = f"The operator may not {verb} in namespace {namespace}; grant it by RBAC, as the chart does."
    message += " Its value for this is rbac.argoRollouts." if "argoproj.io" in verb else ""
    return Finding(Reason.FORBIDDEN, message)


class ApiError(Exception):
    """The API server refused; `status` is the HTTP status, `reason` the Status object's reason."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status, self.reason, self.message = status, reason, message

    @property
    def is_missing(self) -> bool:
        """404: the object, or what it would stand in, does not exist."""
        return self.status == HTTPStatus.NOT_FOUND

    @property
    def is_forbidden(self) -> bool:
        """403: RBAC, or an admission rule, does not let us."""
        return self.status == HTTPStatus.FORBIDDEN


class Conflict(ApiError):
    """409: somebody else wrote first, or the object exists already; observe again."""


class Unreachable(Exception):
    """The API server, the CA or a DNS server did not answer; trying again later is right."""


class NoAnswer(Unreachable):
    """Nothing at all came back; the message names the API server and the cause, and does not end in a full stop."""


@dataclass(frozen=True, slots=True)
class Executed:
    """What a command in a pod said; `exit_code` None when it did not end in time."""

    exit_code: int | None
    stdout: str
    stderr: str


class Cluster(Protocol):
    """The Kubernetes API, as raw JSON over URL paths (`/api/v1/namespaces/x/secrets/y`)."""

    def get(self, path: str) -> Json | None:
        """Return the object, None when it does not exist."""

    def list(self, path: str, *, label_selector: str = "") -> list[Json]:
        """Return all items, following continue tokens."""

    def list_metadata(self, path: str, pick: Callable[[Json], _P | None], *, label_selector: str = "") -> Sequence[_P]:
        """Return what `pick` makes of the metadata of each item, where that is not None.

        For what anybody may make: contents are not sent, and nothing but what is picked is held.
        """

    def create(self, path: str, body: Json) -> Json:
        """POST; raises `Conflict` when it exists."""

    def replace(self, path: str, body: Json) -> Json:
        """PUT; raises `Conflict` when the resourceVersion in `body` is not the newest."""

    def apply(self, path: str, body: Json) -> Json:
        """Server-side apply with the one field manager `mailtls`, taking conflicts of fields over.

        Raises `Conflict` when `body` names a stale resourceVersion; an object that is missing is made all the same.
        """

    def merge(self, path: str, body: Json) -> Json:
        """JSON merge patch (RFC 7386); raises `Conflict` when `body` names a stale resourceVersion, or another uid."""

    def report(self, path: str, uid: str, before: Json, after: Json) -> None:
        """Turn the status of the object from `before` into `after`, whose fields alone are compared.

        Raises `Conflict` where another object has the name by now, or somebody else wrote the status.
        """

    def delete(self, path: str, *, uid: str | None = None) -> None:
        """Delete; success when it is gone already."""

    def execute(self, namespace: str, pod: str, container: str, command: Sequence[str], timeout: float) -> Executed:
        """Run a command in a container, as `kubectl exec` does; `timeout` in seconds."""


Check = Callable[[ApiError], Finding | None]
OUTPUT_LIMIT: Final = 300


def finding_of_refusal(error: ApiError) -> Finding:
    """Name the obstacle: the first check that knows it; the rest is said in the server's words."""
    return refused_by_rule(error) or _unknown(error)


def refused_by_rule(error: ApiError) -> Finding | None:
    """Name the rule of the cluster that forbids it, None where it was refused for another cause."""
    found = (check(error) for check in CHECKS)
    return next(filter(None, found), None)


def webhook_fails(said: str) -> Finding | None:
    """Name an admission webhook that does not answer: the API server says so by a 500, as if it were broken itself."""
    if "failed calling webhook" not in said:
        return None
    message = f"An admission webhook fails, so the API server refuses: {printable(said)}"
    return Finding(Reason.ADMISSION_WEBHOOK_FAILED, message)


def _namespace_ends(error: ApiError) -> Finding | None:
    if "because it is being terminated" not in error.message:
        return None
    return Finding(Reason.NAMESPACE_TERMINATING, f"The namespace is being deleted: {printable(error.message)}")


def _quota_is_used_up(error: ApiError) -> Finding | None:
    if not error.is_forbidden or "exceeded quota" not in error.message:
        return None
    message = f"Raise the ResourceQuota, or delete what uses it up; the API server refused: {printable(error.message)}"
    return Finding(Reason.QUOTA_EXCEEDED, message)


def _admission_denies(error: ApiError) -> Finding | None:
    if not any(words in error.message for words in _ADMISSION):
        return None
    message = f"Exempt what the operator writes from this policy; the API server refused: {printable(error.message)}"
    return Finding(Reason.ADMISSION_DENIED, message)


def _rbac_denies(error: ApiError) -> Finding | None:
    if not error.is_forbidden:
        return None
    message = f"Grant by RBAC what the chart grants, the API server refused: {printable(error.message)}"
    return Finding(Reason.FORBIDDEN, message)


def _unknown(error: ApiError) -> Finding:
    words = f"{error.status} {error.reason}: {printable(error.message)}"
    return Finding(Reason.INTERNAL_ERROR, f"The API server refused what the operator asked of it: {words}")


_ADMISSION: Final = ("admission webhook", "ValidatingAdmissionPolicy", "denied the request", "violates PodSecurity")
CHECKS: Final[tuple[Check, ...]] = (
    _namespace_ends,
    _quota_is_used_up,
    lambda error: webhook_fails(error.message),
    _admission_denies,
    _rbac_denies,
)
"""In this order: all of them may be answered by 403, and RBAC is what is left."""


def printable(text: str) -> str:
    """Make a program's output fit for a message: one line, bounded, and nothing at all of a private key."""
    if "PRIVATE KEY" in text:
        return "(withheld: the output holds a private key)"
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return line if len(line) <= OUTPUT_LIMIT else f"{line[: OUTPUT_LIMIT - 1]}…"
