"""What the API server's refusals mean for whoever runs the cluster, told apart by the server's own words."""

from collections.abc import Callable
from typing import Final

from mailtls.model.reason import Finding, Reason
from mailtls.world.ports import ApiError

Check = Callable[[ApiError], Finding | None]
OUTPUT_LIMIT: Final = 300


def finding_of_refusal(error: ApiError) -> Finding:
    """Name what stands in the way: the first check that knows it; the rest is said in the server's words."""
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
    return Finding(Reason.ADMISSION_DENIED, message)


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
