"""Checks the mail domains: the DNS first, then the pods behind their hosts, then the verdict."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import structlog

from mailtls.api.installation import Feature, Features
from mailtls.api.spec import Desired
from mailtls.api.status import DomainReport
from mailtls.context import Context
from mailtls.domains.policy import (
    CheckDomains,
    as_senders_see,
    checked_until,
    mail_targets,
    next_check_after,
    served_at,
)
from mailtls.maildomain.checks.verdict import judge_domain
from mailtls.probe.prober import SupportsExamine
from mailtls.probe.target import Expected
from mailtls.reasons.reason import Finding, Reason
from mailtls.stage import Adapters, Domains, Executor
from mailtls.times import Clock

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class DomainChecking(Executor):
    """Checks domains; whatever comes of it, the certificate and its proof are not touched."""

    domains: Domains
    examiner: SupportsExamine
    clock: Clock
    features: Features = field(default_factory=Features)

    @classmethod
    def of(cls, adapters: Adapters) -> Self:
        """Make one."""
        return cls(adapters.domains, adapters.prober, adapters.clock, adapters.features)

    def check(self, context: Context, _step: CheckDomains) -> Context:
        """Check all domains of a resource."""
        desired = context.desired
        reports = self._switched_off(desired) or self._reports(context)
        again_at = next_check_after(desired, reports, self.clock.now())
        handled = (
            context.verification.handled_probe if desired.workloads else desired.probe_requested
        )  # else nobody handles it
        asked = checked_until(context, again_at)
        return context.with_domains(reports=reports, last_check=asked).with_verification(handled_probe=handled)

    def _reports(self, context: Context) -> tuple[DomainReport, ...]:
        try:
            return tuple(self._judged(context))
        except Exception as error:
            log.exception("the domains could not be judged")
            words = f"A defect of the operator ended the look: {type(error).__name__}; its log says more."
            defect = Finding(Reason.INTERNAL_ERROR, words)
            return tuple(DomainReport(each.name, self.clock.now(), (defect,)) for each in context.desired.domains)

    def _switched_off(self, desired: Desired) -> tuple[DomainReport, ...]:
        off = self.features.refusal(Feature.DOMAINS)
        return tuple(DomainReport(each.name, self.clock.now(), (off,)) for each in desired.domains) if off else ()

    def _judged(self, context: Context) -> Sequence[DomainReport]:
        found = self.domains.read_all(context.desired.domains)
        # Senders are strangers: they trust the public roots only, so that private ones do not count here.
        asked = self.examiner.examine(mail_targets(context, found), Expected())
        saw = [served_at(as_senders_see(endpoint.target), facts) for endpoint, facts in asked]
        now = self.clock.now()
        return [DomainReport(facts.domain, now, judge_domain(facts, saw, now)) for facts in found]
