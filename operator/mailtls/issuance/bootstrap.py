"""Bootstrap: a self-signed placeholder in a Secret that does not exist yet, so that servers that mount it can start.

It is one write that makes the Secret or fails, so a crash leaves either no Secret or the whole placeholder; another one
takes its place in time by one write, while the first certificate is awaited. Nothing treats it as a certificate: it is
not rolled out, probed, copied or kept as the previous pair, and one is still due.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Self

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from mailtls.api.spec import Desired, Place
from mailtls.api.status import HistoryEntry
from mailtls.context import Context
from mailtls.issuance.certificates import new_key
from mailtls.kube.secrets import Secrets
from mailtls.kube.snapshot import ServingSecret
from mailtls.pki.certificate import Certificate, KeyMaterial, parse_chain
from mailtls.pki.loading import private_key
from mailtls.reasons.reason import Reason
from mailtls.stage import Adapters, Executor
from mailtls.step import Step, objects_in
from mailtls.times import Clock

log = structlog.get_logger()
SUBJECT: Final = "mailtls placeholder"
LIFETIME: Final = timedelta(days=7)
REMADE_BEFORE: Final = LIFETIME / 3
"""So long before it expires another one takes its place, as a server that restarts may refuse an expired one."""
_EARLIER: Final = timedelta(hours=1)  # clocks differ, and a server may refuse to start with what is not valid yet


@dataclass(frozen=True, slots=True)
class WritePlaceholder(Step):
    """Have the serving Secret hold a self-signed certificate, so that pods can start before the first real one."""

    def places(self, desired: Desired) -> Iterable[Place]:
        """The namespace that the Secret is written to."""
        return (objects_in(desired.key.namespace),)


def write_placeholder(context: Context, now: datetime) -> WritePlaceholder | None:
    """A Secret that never was gets one where the spec says so; one that was deleted gets a real certificate only."""
    snapshot = context.snapshot
    is_new = not snapshot.secret.exists and context.last_accepted is None and snapshot.copy is None
    is_old = (due_at := _remade_at(context)) is not None and due_at <= now and context.issuance.chain is None
    return WritePlaceholder() if context.desired.bootstrap is not None and (is_new or is_old) else None


def placeholder_due_at(context: Context, _now: datetime) -> Iterable[datetime | None]:
    """When the placeholder is made anew."""
    yield _remade_at(context) if context.desired.bootstrap is not None else None


def _remade_at(context: Context) -> datetime | None:
    """When another placeholder takes the place of the one in the Secret; None where that holds anything else."""
    secret = context.snapshot.secret
    certificate = secret.certificate
    is_mine = secret.is_placeholder and certificate is not None and certificate.issuer == f"CN={SUBJECT}"
    return certificate.not_after - REMADE_BEFORE if is_mine and certificate is not None else None


@dataclass(frozen=True, slots=True)
class Bootstrapping(Executor):
    """Makes placeholders."""

    secrets: Secrets
    clock: Clock

    @classmethod
    def of(cls, adapters: Adapters) -> Self:
        """Make one."""
        return cls(adapters.secrets, adapters.clock)

    def write(self, context: Context, _step: WritePlaceholder) -> Context:
        """Write it; raises `Conflict` where somebody has written the Secret since it was read, or looked for."""
        desired, before, now = context.desired, context.snapshot.secret, self.clock.now()
        key = new_key(desired.private_key)
        certificate = self_signed(key, desired.dns_names, now)
        pair = ServingSecret(
            certificate,
            key.spki_sha256(),
            key=key,
            handled_renew=before.handled_renew,
            handled_rollback=before.handled_rollback,
        )
        saved = self.secrets.serve(desired, pair, before)
        if before.exists:
            log.info("the placeholder was made anew before it expires", secret=desired.secret_name)
            return context.with_snapshot(secret=saved)
        log.info("the Secret holds a placeholder until the first certificate", secret=desired.secret_name)
        message = (
            f"Secret {desired.secret_name} was made with a self-signed placeholder, so that servers can start. "
            "No client trusts it; the first certificate replaces it."
        )
        entry = HistoryEntry(now, Reason.SELF_SIGNED_PLACEHOLDER, message, certificate.serial_number)
        return context.with_snapshot(secret=saved).with_history(entry).with_issuance(issued=entry)


def self_signed(key: KeyMaterial, names: Sequence[str], now: datetime) -> Certificate:
    """A certificate for the names that its own key has signed, and that says what it is."""
    private = private_key(key.pem)
    if not isinstance(private, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise TypeError("only ECDSA and RSA keys sign certificates")
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, SUBJECT)])
    builder = x509.CertificateBuilder(subject, subject, private.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - _EARLIER).not_valid_after(now + LIFETIME)
    alternative = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    builder = builder.add_extension(alternative, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    return parse_chain(builder.sign(private, SHA256()).public_bytes(Encoding.PEM).decode())
