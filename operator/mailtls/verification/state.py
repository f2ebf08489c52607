"""What verification remembers between reconciles: the evidence of each endpoint, and when it was gathered."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from mailtls.api.state import Same, carry, forget, kept
from mailtls.kube.snapshot import ObjectVersion
from mailtls.probe.target import Depth, Endpoint, Route, Target
from mailtls.reasons.reason import FOUND_BY_DEEP_PROBES, Finding, Reason

UNTRUSTED: Final = frozenset({Reason.INCOMPLETE_CHAIN, Reason.SELF_SIGNED, Reason.UNTRUSTED_ROOT})
"""Failures of an endpoint that other roots in the bundle of spec.probe.trust may end."""


@dataclass(frozen=True, slots=True)
class LoginRefusal:
    """A trial login that a server refused; by `version` of the Secret with the credentials, and by which `request`."""

    target: Target
    finding: Finding
    refused_at: datetime
    version: str
    request: str | None = None  # the value of the annotation mailtls.dev/probe


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationState:
    """What was probed, and when; all times are UTC.

    `set_aside` is what is known of pods that are unready for the moment. `shown` is the last answer of each port of a
    pod in which a certificate was seen: the processes have it, whatever becomes of the port. `routes` lead to the pods
    besides their own addresses; None: to be found once the certificate is rolled out. `probed_depth` is that of the
    last sweep, `deep_probed_at` the last one that was deep, also of an earlier process. No login is tried while
    `login_refusals` stand. `failing_since` is about what failed before this reconcile. `roots` is the bundle of
    spec.probe.trust as last read while a served chain is not trusted.
    """

    endpoints: tuple[Endpoint, ...] = field(default=(), metadata=kept(Same.CERTIFICATE))
    set_aside: tuple[Endpoint, ...] = field(default=(), metadata=kept(Same.CERTIFICATE))
    shown: Mapping[Target, Endpoint] = field(default_factory=dict, metadata=kept(Same.CERTIFICATE))
    failing_since: Mapping[Target, datetime] = field(default_factory=dict, metadata=kept(Same.CERTIFICATE))
    routes: tuple[Target, ...] | None = field(default=None, metadata=kept(Same.CERTIFICATE, Same.SPEC))
    probed_at: datetime | None = field(default=None, metadata=kept(Same.CERTIFICATE, Same.SPEC))
    probed_depth: Depth = field(default=Depth.QUICK, metadata=kept(Same.CERTIFICATE))
    roots: ObjectVersion | None = field(default=None, metadata=kept(Same.CERTIFICATE))
    roots_due_at: datetime | None = field(default=None, metadata=kept(Same.CERTIFICATE))
    deep_probed_at: datetime | None = field(default=None, metadata=kept())
    handled_probe: str | None = field(default=None, metadata=kept())
    login_refusals: tuple[LoginRefusal, ...] = field(default=(), metadata=kept())

    def about_another_certificate(self) -> "VerificationState":
        """Forget what was proven about the certificate before."""
        return forget(self, Same.CERTIFICATE)

    @property
    def has_untrusted(self) -> bool:
        """Whether a chain that is served is not trusted."""
        return any(map(is_untrusted, self.endpoints))

    def failing_since_of(self, endpoint: Endpoint) -> datetime:
        """Return since when an endpoint fails that does."""
        return self.failing_since.get(endpoint.target, endpoint.checked_at)

    @property
    def still_failing(self) -> Mapping[Target, datetime]:
        """Since when each endpoint fails that does; a new run of a pod begins anew."""
        return {each.target: self.failing_since_of(each) for each in self.endpoints if not stands(each)}

    @property
    def known_routes(self) -> tuple[Target, ...] | None:
        """The routes that need not be found again: one that fails may lead elsewhere meanwhile."""
        probed = (endpoint for endpoint in self.endpoints if endpoint.target.route is not Route.PODS)
        return self.routes if all(map(stands, probed)) else None

    def with_answers(self, probed: Iterable[Endpoint]) -> "VerificationState":
        """Know of each target what was found last, the pods first."""
        probed = tuple(probed)
        every = {endpoint.target: endpoint for endpoint in (*self.endpoints, *probed)}
        shown = {each.target: each for each in probed if each.served_sha256 and each.target.route is Route.PODS}
        return replace(self, endpoints=tuple(sorted(every.values(), key=_place)), shown={**self.shown, **shown})


def carry_verification(
    before: VerificationState, fresh: VerificationState, same: frozenset[Same], waiting: Collection[Target] = ()
) -> VerificationState:
    """Return what the next reconcile knows: what was right stands until the next sweep, what failed does not.

    What is `waiting` stands too. A spec that has changed may ask more of the same servers, so that a sweep is due.
    """
    known = replace(
        before,
        endpoints=tuple(each for each in before.endpoints if stands(each) or each.target in waiting),
        failing_since=before.still_failing,
        routes=before.known_routes,
        roots=before.roots if before.has_untrusted else None,
        handled_probe=before.handled_probe or fresh.handled_probe,
    )
    return carry(known, fresh, same)


def stands(endpoint: Endpoint) -> bool:
    """Whether what was seen is trusted until the interval is over; what failed is probed again much sooner.

    But for a login that failed, as a server may lock out who tries too often, and for what only a deep probe finds.
    """
    lasting = {Reason.AUTH_FAILED, *FOUND_BY_DEEP_PROBES}
    return endpoint.failure is None or endpoint.failure.reason in lasting


def is_untrusted(endpoint: Endpoint) -> bool:
    """Whether clients do not trust the chain that is served."""
    return endpoint.failure is not None and endpoint.failure.reason in UNTRUSTED


def _place(endpoint: Endpoint) -> tuple[str, ...]:
    target = endpoint.target
    return target.route, target.workload, target.pod, f"{target.port.port:05}"
