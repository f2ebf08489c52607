"""Where each reason stands in a resource: in which condition, and in which fields of the status."""

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from mailtls.api.status import ConditionType
from mailtls.reasons.explanations import SECTIONS
from mailtls.reasons.reason import Reason

ISSUED, STORED, ROLLED_OUT = ConditionType.ISSUED, ConditionType.STORED, ConditionType.ROLLED_OUT
VERIFIED, READY, DOMAIN_HEALTHY = ConditionType.VERIFIED, ConditionType.READY, ConditionType.DOMAIN_HEALTHY


@dataclass(frozen=True, slots=True)
class Where:
    """Conditions, and fields of the status or other objects (these begin with a capital letter)."""

    conditions: tuple[ConditionType, ...] = ()
    fields: tuple[str, ...] = ()
    how: str = ""


_ORDERING: Final = Where((ISSUED,), ("status.attempts",), "; in its message only, while the stored certificate serves")
_PORT: Final = Where((VERIFIED,), ("status.endpoints",), ", unless it only warns")
_DOMAIN: Final = Where((DOMAIN_HEALTHY,), ("status.domains",), ", unless it only warns")
_WARNED: Final = Where((ISSUED,), ("Events",), ", in its message, while it is True")
_DUE: Final = Where((ISSUED,), (), ", in its message, while a certificate is ordered: its reason is `Issuing` then")
_ROLLING: Final = Where((ROLLED_OUT,))
_ANY: Final = Where((ISSUED, ROLLED_OUT), (), ", by what the operator was doing")
_BY_SECTION: Final[Mapping[str, Where]] = {
    "The resource": Where((ISSUED,)),
    "Why a certificate is ordered": _DUE,
    "The CA": _ORDERING,
    "Validating names by DNS or HTTP": _ORDERING,
    "Guarding the Secret": _ORDERING,
    "Rolling the certificate out": _ROLLING,
    "Connecting to a mail port": _PORT,
    "Starting TLS": _PORT,
    "What is served": _PORT,
    "What other clients would meet (full and deep probes)": _PORT,
}
_HISTORY: Final = ("status.history", "Events")
_REFUSED: Final = Where(
    (VERIFIED,), ("status.endpoints",), "; with `spec.external` also in the message of `CandidateRefused`"
)
_BOTH: Final = Where((VERIFIED, DOMAIN_HEALTHY), ("status.endpoints", "status.domains"), ", unless it only warns")
_ALONE: Final[Mapping[Reason, Where]] = {
    Reason.READY: Where((READY,)),
    Reason.ISSUED: Where((ISSUED,), ("status.history",)),
    Reason.STORED: Where((STORED,)),
    Reason.ROLLED_OUT: Where((ROLLED_OUT,)),
    Reason.VERIFIED: Where((VERIFIED,)),
    Reason.NO_WORKLOADS: Where((ROLLED_OUT, VERIFIED), how=", which are True then"),
    Reason.DOMAINS_HEALTHY: Where((DOMAIN_HEALTHY,)),
    Reason.SUSPENDED: Where((READY, ISSUED), how="; in `Issued` where no certificate is stored"),
    Reason.PENDING: Where((ISSUED, STORED, ROLLED_OUT, VERIFIED, DOMAIN_HEALTHY), how=", which is Unknown then"),
    Reason.ISSUING: Where((ISSUED, ROLLED_OUT)),
    Reason.ROLLING_OUT: _ROLLING,
    Reason.ROLLOUT_QUEUED: Where((ROLLED_OUT,), ("status.rollout",)),
    Reason.WAITING_FOR_WINDOW: Where((ROLLED_OUT,), ("status.rollout",)),
    Reason.WAITING_FOR_APPROVAL: Where((ROLLED_OUT,), ("status.rollout",)),
    Reason.ROLLOUT_PAUSED: Where((ROLLED_OUT,), ("status.rollout",)),
    Reason.PROBING: Where((VERIFIED,), how=", which is Unknown then"),
    Reason.SELF_SIGNED_PLACEHOLDER: Where((STORED,), ("status.history",)),
    Reason.KEY_MISMATCH: Where((STORED, ISSUED)),
    Reason.SECRET_MISSING: Where((ISSUED,), how="; its own reason with `spec.external`, else in the message"),
    Reason.SECRET_UNREADABLE: Where((ISSUED,), how="; its own reason with `spec.external`, else in the message"),
    Reason.CHAIN_UNAVAILABLE: _WARNED,
    Reason.CERTIFICATE_NAMES_ADDED: _WARNED,
    Reason.SECRET_CLAIMED: Where((ISSUED,)),
    Reason.SECRET_NOT_OWNED: Where((ISSUED,)),
    Reason.SECRET_IMMUTABLE: Where((ISSUED, ROLLED_OUT)),
    Reason.SECRET_REPLACED: Where((STORED,), _HISTORY),
    Reason.SECRET_ADOPTED: Where((), _HISTORY),
    Reason.ROLLED_BACK: Where((ROLLED_OUT,), _HISTORY),
    Reason.ROLLBACK_REFUSED: Where((), _HISTORY),
    Reason.CANDIDATE_REFUSED: Where((ISSUED, ROLLED_OUT)),
    Reason.RENEWAL_MISSING: Where((ISSUED,), ("Events",), ", which stays True while the certificate serves"),
    Reason.KEY_UNREADABLE: Where((ROLLED_OUT, VERIFIED), ("status.endpoints",)),
    Reason.POD_NOT_READY: Where((ROLLED_OUT, VERIFIED), ("status.endpoints",)),
    Reason.TOO_MANY_ENDPOINTS: Where((ROLLED_OUT, VERIFIED), ("status.endpoints",), "; Services alone only warn"),
    Reason.WORKLOAD_SHARED: Where((ROLLED_OUT,), ("Events",), ", in its message"),
    Reason.FORBIDDEN: Where((ISSUED, ROLLED_OUT, VERIFIED), (), ", by what the operator was doing"),
    Reason.QUOTA_EXCEEDED: _ANY,
    Reason.ADMISSION_DENIED: _ANY,
    Reason.ADMISSION_WEBHOOK_FAILED: _ANY,
    Reason.NAMESPACE_TERMINATING: _ANY,
    Reason.FEATURE_DISABLED: Where((ISSUED, ROLLED_OUT, VERIFIED, DOMAIN_HEALTHY), how=", by what is switched off"),
    Reason.INTERNAL_ERROR: Where((READY, VERIFIED, DOMAIN_HEALTHY), ("status.endpoints", "status.domains")),
    Reason.ADDRESS_REFUSED: Where((ISSUED, VERIFIED), ("status.endpoints",)),
    Reason.DNS_LOOKUP_FAILED: _BOTH,
    Reason.STARTTLS_NOT_ADVERTISED: _BOTH,
    Reason.INCOMPLETE_CHAIN: _REFUSED,
    Reason.SELF_SIGNED: _REFUSED,
    Reason.UNTRUSTED_ROOT: _REFUSED,
    Reason.WRONG_CERTIFICATE_PURPOSE: _REFUSED,
    Reason.CERTIFICATE_EXPIRED: Where((ISSUED, VERIFIED), ("status.endpoints",)),
}


@cache
def only_warn() -> frozenset[Reason]:
    """Return the reasons of which the operator makes warnings alone; commands make no condition."""
    made: dict[str, set[bool]] = defaultdict(set)
    package = Path(__file__).resolve().parents[2] / "operator" / "mailtls"
    for file in package.rglob("*.py"):
        if not {"cli", "reasons"} & {*file.relative_to(package).parts}:
            for name, warns in findings(ast.parse(file.read_text(encoding="utf-8"))):
                made[name].add(warns)
    return frozenset(Reason[name] for name, found in made.items() if found == {True})


def findings(tree: ast.AST) -> Iterator[tuple[str, bool]]:
    """Name the reasons in a module that something is made of, and whether it is a warning.

    A reason that is a value, such as of a variable or a table, may fail somewhere; one that is compared, or is in a
    set, or is looked up by, makes nothing.
    """
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node, parent in parents.items():
        name = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
        if not name.startswith("Reason.") or isinstance(parent, ast.Attribute | ast.Compare | ast.Set | ast.Subscript):
            continue
        if isinstance(parent, ast.Dict) and node in parent.keys:
            continue
        yield name.removeprefix("Reason."), _is_warning(node, parent)


def _is_warning(node: ast.AST, parent: ast.AST) -> bool:
    if not isinstance(parent, ast.Call) or not parent.args or parent.args[0] is not node:
        return False
    return "Severity.WARN" in [ast.unparse(each) for each in (*parent.args, *(one.value for one in parent.keywords))]


def where(reason: Reason) -> Where:
    """Return where a reason stands."""
    if reason in _ALONE:
        return _ALONE[reason]
    section = next(title for title, members in SECTIONS.items() if reason in members)
    return _BY_SECTION.get(section, _DOMAIN)
