"""What the DNS answers, as plain values: the records, or why there are none, and what DNSSEC says about them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Dnssec(StrEnum):
    """What is known about the signatures of an answer; `UNKNOWN` where no trusted resolver validated it."""

    SECURE = "secure"  # AD of a validating resolver on loopback or of the user's choice (RFC 6840 section 5.8)
    INSECURE = "insecure"  # such a resolver answered without AD
    BOGUS = "bogus"  # SERVFAIL that goes away with CD, checking disabled (RFC 4035 section 3.2.2)
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Records(Generic[Value]):
    """The answer to one question. No such name and no such record are answers; `failure` says why there is none.

    `ttl` in seconds is the longest of the records and of the aliases before them; `alias` is the name at the end of
    CNAMEs; `left_out` counts records beyond what is kept.
    """

    name: str
    kind: str
    values: tuple[Value, ...] = ()
    ttl: int = 0
    dnssec: Dnssec = Dnssec.UNKNOWN
    failure: str = ""
    alias: str = ""
    left_out: int = 0
