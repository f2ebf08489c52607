"""What a CA complains about (RFC 8555 section 6.7), and what that means to a postmaster."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from mailtls.reasons.quoting import printable
from mailtls.reasons.reason import Finding, Reason

_PREFIX = "urn:ietf:params:acme:error:"
# Events and conditions hold at most 1024 characters; Let's Encrypt's link to end a pause takes most of that.
_LONGEST_DETAIL = 900


class Stage(StrEnum):
    """What was asked of the CA: the same error type means other things at other places."""

    ACCOUNT = "account"
    ORDER = "order"
    CHALLENGE = "challenge"


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem document; `detail` has the subproblems (RFC 8555 section 6.7.1) folded in.

    `type` is the URN as the CA sent it; of a `compound` problem it is the first subproblem's.
    """

    type: str
    detail: str = ""

    @property
    def code(self) -> str:
        """The type without its namespace (`rateLimited`), the whole type where it is not ACME's."""
        return self.type.removeprefix(_PREFIX)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to make of a problem.

    `transient`: the order lives on, the same request may succeed later. `needs_person`: trying again by itself
    changes nothing until a person acted.
    """

    finding: Finding
    transient: bool = False
    needs_person: bool = False


_NEEDS_PERSON = frozenset(
    {
        Reason.ACCOUNT_PAUSED,
        Reason.ACCOUNT_REJECTED,
        Reason.EXTERNAL_ACCOUNT_REQUIRED,
        Reason.PROFILE_UNKNOWN,
        Reason.TERMS_CHANGED,
    },
)
_KNOWN: Mapping[str, tuple[Reason, str]] = {
    "rateLimited": (
        Reason.RATE_LIMITED,
        "The CA's rate limit is reached, the operator waits as long as the CA asks for",
    ),
    "invalidProfile": (Reason.PROFILE_UNKNOWN, "Set spec.acme.profile to one that the CA offers"),
    "caa": (Reason.CAA_FORBIDS, "Add a CAA record that allows this CA, the present ones forbid it"),
    "externalAccountRequired": (
        Reason.EXTERNAL_ACCOUNT_REQUIRED,
        "Set spec.acme.externalAccountBinding to the key id and HMAC key that this CA gave you",
    ),
    "userActionRequired": (Reason.TERMS_CHANGED, "Follow the CA's request, usually to agree to new terms"),
    "agreementRequired": (Reason.TERMS_CHANGED, "Agree to the CA's terms of service"),
    "accountDoesNotExist": (Reason.ACCOUNT_REJECTED, "The CA does not know the account, even after registering"),
    "invalidContact": (Reason.ACCOUNT_REJECTED, "Correct spec.acme.email, the CA refuses it"),
    "unsupportedContact": (Reason.ACCOUNT_REJECTED, "Correct spec.acme.email, the CA refuses it"),
    "badPublicKey": (Reason.ACCOUNT_REJECTED, "Use another kind of account key, the CA refuses this one"),
    "badSignatureAlgorithm": (Reason.ACCOUNT_REJECTED, "Use another kind of account key, the CA refuses this one"),
    "rejectedIdentifier": (Reason.ORDER_REJECTED, "Correct spec.dnsNames, the CA does not issue for one of them"),
    "unsupportedIdentifier": (Reason.ORDER_REJECTED, "Correct spec.dnsNames, the CA does not issue for one of them"),
    "badCSR": (
        Reason.ORDER_REJECTED,
        "Change spec.privateKey or spec.dnsNames, or set spec.acme.commonName to true, the CA refuses the request",
    ),
    "badNonce": (Reason.ACME_UNREACHABLE, "The CA refuses every nonce it gave, the operator tries again"),
    "serverInternal": (Reason.ACME_UNREACHABLE, "The CA has trouble of its own, the operator tries again"),
}
_AT_CHALLENGE: Mapping[str, str] = {
    "dns": "Make the name's DNS servers answer from the whole internet",
    "dnssec": "Repair DNSSEC of the name's zone",
    "connection": "Let the CA reach the name from the internet, it could not connect",
    "unauthorized": "Let the challenge's answer reach the CA, it saw another one",
    "incorrectResponse": "Let the challenge's answer reach the CA, it saw another one",
    "tls": "Repair TLS where the CA looked for the challenge",
}
_LOOKUP_FAILED = re.compile(
    r"(?i)SERVFAIL|REFUSED|time[d ]*-?\s?out|look(?:ing)?[ -]?up|unable to|could not|cannot|failed|network|bogus|DNSSEC"
)
_FORBIDS = re.compile(r"(?i)prevents? issuance|forbid|not (?:allowed|permitted|authori[sz]ed)|disallow")
_COMMON_NAME = re.compile(
    r"(?i)(?:no|missing|empty|without|requires?|required|must|needs?|lacks?|absent)\b.{0,60}"
    r"(?:common ?name|\bCN\b|\bsubject\b(?! ?alt))"
    r"|(?:common ?name|\bCN\b|\bsubject\b(?! ?alt)).{0,60}\b(?:missing|empty|required|absent|must)"
)
_OTHERWISE: Mapping[Stage, tuple[Reason, str]] = {
    Stage.ACCOUNT: (Reason.ACCOUNT_REJECTED, "The CA refuses the account"),
    Stage.ORDER: (Reason.ORDER_REJECTED, "The CA refuses the order"),
    Stage.CHALLENGE: (Reason.CHALLENGE_FAILED, "The CA could not validate the name"),
}


def judge(problem: Problem, stage: Stage) -> Verdict:
    """Translate a CA's problem into one finding that says what to do."""
    reason, advice = _meaning(problem, stage)
    words = problem.detail.strip().rstrip(".") or problem.code
    detail = printable(words[:_LONGEST_DETAIL])[:_LONGEST_DETAIL]
    finding = Finding(reason, f"{advice}: {detail}.")
    return Verdict(finding, reason is Reason.ACME_UNREACHABLE, reason in _NEEDS_PERSON)


def _meaning(problem: Problem, stage: Stage) -> tuple[Reason, str]:
    if _is_pause(problem):
        return Reason.ACCOUNT_PAUSED, "Open the link to unpause the account, the CA refuses these names until then"
    if _is_failed_caa_lookup(problem):
        return (
            Reason.CAA_LOOKUP_FAILED,
            "Repair the name servers, they fail for CAA queries (no record forbids anything, but the CA must know)",
        )
    if stage is Stage.ORDER and _wants_common_name(problem):
        return Reason.ORDER_REJECTED, "Set spec.acme.commonName to true, the CA wants a common name in the request"
    if problem.code in _KNOWN:
        return _KNOWN[problem.code]
    reason, advice = _OTHERWISE[stage]
    return reason, _AT_CHALLENGE.get(problem.code, advice) if stage is Stage.CHALLENGE else advice


def _is_pause(problem: Problem) -> bool:
    # Boulder's pause has no type of its own: it comes as rateLimited, with a link that a person must open.
    return problem.code == "rateLimited" and "unpause" in problem.detail


def _wants_common_name(problem: Problem) -> bool:
    """Whether the request was refused for its empty subject, in the words of those that say so."""
    is_of_request = problem.code in {"badCSR", "malformed", "rejectedIdentifier", "unauthorized"}
    return is_of_request and _COMMON_NAME.search(problem.detail) is not None


def _is_failed_caa_lookup(problem: Problem) -> bool:
    """Whether a CA could not learn whether it may issue (RFC 8659 section 3), in the words of those that say so.

    The type is `caa` or `dns`: some CAs take the one, some the other.
    """
    if problem.code not in {"caa", "dns", "dnssec"} or not re.search(r"\bCAA\b", problem.detail):
        return False
    return _LOOKUP_FAILED.search(problem.detail) is not None and _FORBIDS.search(problem.detail) is None
