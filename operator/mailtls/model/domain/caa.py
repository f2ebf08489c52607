"""CAA records: which authorities may issue for a name (RFC 8659), and how (RFC 8657)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

_CRITICAL: Final = 128  # RFC 8659 section 4.1.1


@dataclass(frozen=True, slots=True)
class CaaRecord:
    """One record as published; `value` is text that is safe to print."""

    flags: int
    tag: str
    value: str

    def __str__(self) -> str:
        return f'{self.flags} {self.tag} "{self.value}"'

    @property
    def is_critical(self) -> bool:
        """Whether an authority that does not know the tag must not issue."""
        return bool(self.flags & _CRITICAL)


@dataclass(frozen=True, slots=True)
class Grant:
    """What an `issue` or `issuewild` record says: the authority's domain, empty for nobody, and its parameters."""

    authority: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def grant_of(record: CaaRecord) -> Grant:
    """Read the value (RFC 8659 section 4.2); what makes no sense grants nothing."""
    authority, *rest = (part.strip() for part in record.value.split(";"))
    pairs = (part.partition("=") for part in rest if part)
    return Grant(authority.lower().rstrip("."), {name.strip().lower(): value.strip() for name, _, value in pairs})
