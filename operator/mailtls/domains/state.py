"""What is remembered of the mail domains between reconciles: the last check, and what it was for."""

from dataclasses import dataclass, field, replace
from datetime import datetime

from mailtls.api.state import Same, carry, kept
from mailtls.api.status import DomainReport
from mailtls.maildomain.facts import MailDomain


@dataclass(frozen=True, slots=True)
class DomainCheck:
    """What the last check of the mail domains was for, and when the next one is due if none of that changes.

    `served` are the leaves that pods were known to serve then: TLSA records speak of them.
    """

    domains: tuple[MailDomain, ...]
    served: frozenset[str]
    probe_requested: str | None
    again_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainsState:
    """`reports` are about the domains that the spec names; `last_check` None: this process has made none."""

    reports: tuple[DomainReport, ...] = field(default=(), metadata=kept())
    last_check: DomainCheck | None = field(default=None, metadata=kept())

    def of(self, domains: tuple[MailDomain, ...]) -> "DomainsState":
        """Keep what is known of these domains; without any, nothing is."""
        names = {domain.name for domain in domains}
        known = tuple(report for report in self.reports if report.name in names)
        return replace(self, reports=known, last_check=self.last_check if domains else None)


def carry_domains(
    before: DomainsState, fresh: DomainsState, domains: tuple[MailDomain, ...], same: frozenset[Same]
) -> DomainsState:
    """Return what the next reconcile knows of the domains that the spec names now."""
    return carry(before, fresh, same).of(domains)
