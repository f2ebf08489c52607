"""Examines what somebody else wrote into the Secret, by the roots that are trusted here, and asks the gate."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Self

import structlog
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import crypto

from mailtls.api.spec import DataRef, Desired
from mailtls.api.status import HistoryEntry, Schedule
from mailtls.context import Context
from mailtls.external.decide import Examine
from mailtls.external.policy import Candidate, GateInput, late_at, next_check_at, refusal
from mailtls.external.state import ExternalState
from mailtls.issuance.acme.account_secrets import trusted_roots
from mailtls.kube.snapshot import ServingSecret
from mailtls.pki import loading
from mailtls.pki.served_certificate import read_served
from mailtls.probe.tls.handshake import TrustStore
from mailtls.reasons.quoting import shorten
from mailtls.reasons.reason import Finding, Reason
from mailtls.stage import Adapters, Executor
from mailtls.times import Clock

ROOTS_RECHECK: Final = timedelta(seconds=30)  # no watch reports the bundles that spec.probe.trust names
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Examining(Executor):
    """Looks at pairs of others; `read` returns an entry of a Secret or ConfigMap. Writes nothing."""

    clock: Clock
    read: Callable[[DataRef], bytes]
    trust_pem: str = ""

    @classmethod
    def of(cls, adapters: Adapters) -> Self:
        """Make one."""
        return cls(adapters.clock, adapters.accounts.secrets.read, adapters.trust_pem)

    def examine(self, context: Context, _step: Examine) -> Context:
        """Ask the gate, and remember what it said of this version of the Secret; report a certificate that passes."""
        now, before = self.clock.now(), context.external
        candidate = self._candidate(context.desired, context.snapshot.secret, now)
        refused = refusal(GateInput(context.desired, candidate, context.last_accepted, now))
        is_trial = candidate.chain is not None and candidate.chain.is_trial
        state = ExternalState(
            examined_at=now, refusal=refused, again_at=_again_at(candidate, refused, now), is_trial=is_trial
        )
        if before.examined_at is not None and before.refusal != refused:
            context = context.about_another_certificate()
        context = replace(context, external=state)
        if refused is not None:
            log.warning("what is in the Secret goes to no pod", reason=refused.message)
            return context
        return _taken_up(context, now)

    def _candidate(self, desired: Desired, pair: ServingSecret, now: datetime) -> Candidate:
        if pair.certificate is None:
            return Candidate(pair)
        chain = loading.certificates(pair.certificate.chain_pem.encode())
        der = tuple(each.public_bytes(Encoding.DER) for each in chain)
        roots, _ = trusted_roots(self.trust_pem, desired.probe.trust, self.read)  # said where pods are probed
        store = TrustStore(roots, now, trusts_staging=True)
        verification = store.verify(der, [crypto.X509.from_cryptography(each) for each in chain])
        return Candidate(pair, read_served(der[0]), verification)


def _again_at(candidate: Candidate, refused: Finding | None, now: datetime) -> datetime | None:
    """When the gate is asked again though the Secret is the same."""
    certificate = candidate.pair.certificate
    if certificate is None:
        return None
    is_of_roots = refused is not None and candidate.chain is not None and candidate.chain.code != 0
    times = (next_check_at(certificate, now), now + ROOTS_RECHECK if is_of_roots else None)
    return min((at for at in times if at is not None), default=None)


def _taken_up(context: Context, now: datetime) -> Context:
    """Know when the issuer should renew at the latest, and report a certificate that was not there before."""
    certificate = context.snapshot.secret.certificate
    if certificate is None:
        raise AssertionError("only a certificate passes")
    context = context.with_issuance(schedule=Schedule(certificate.sha256, late_at(certificate, context.desired)))
    accepted = context.last_accepted
    if accepted is not None and accepted.sha256 == certificate.sha256:
        return context
    names = shorten(", ".join(sorted(certificate.names)[:3]))
    message = (
        f"Certificate {certificate.serial_number} for {names}, written by {context.snapshot.secret.source.words}, has "
        "passed the checks and goes to the pods."
    )
    entry = HistoryEntry(now, Reason.ISSUED, message, certificate.serial_number)
    return context.with_history(entry).with_issuance(issued=entry)
