"""Publishes the proofs that a CA asks for, looks at them as a CA would, and removes them."""

from collections.abc import Callable
from hashlib import sha256
from typing import Final, Protocol, TypeVar

from mailtls.model.reason import Finding, Reason
from mailtls.model.spec import DataRef, Dns01, Rfc2136, Solver
from mailtls.world.challenges.dns01 import Rfc2136Zone
from mailtls.world.challenges.http01 import Tokens
from mailtls.world.challenges.http01_check import Http01Check
from mailtls.world.challenges.proofs import ProofProblem
from mailtls.world.expiring import Expiring
from mailtls.world.ports import Zone

_SECRET_SECONDS: Final = 30.0  # a rotated key is taken up that late, or after the first refusal
_ZONE_SECONDS: Final = 3600.0
_RECORD: Final = "_acme-challenge"  # RFC 8555 section 8.4

_Result = TypeVar("_Result")


class WatchedZone(Zone, Protocol):
    """A zone that also tells who is late."""

    def lagging(self, name: str, value: str) -> tuple[str, ...]:
        """Return the authoritative servers that answer without `value`."""


class Solvers:
    """One for the whole operator; thread-safe.

    `read_secret` returns one entry of a Secret, and raises what says why it cannot. Zones are shared per settings and
    secret, as they remember where records belong.
    """

    def __init__(
        self,
        tokens: Tokens,
        read_secret: Callable[[DataRef], bytes],
        zone_factory: Callable[[Rfc2136, bytes], WatchedZone] = Rfc2136Zone,
        check: Http01Check | None = None,
    ) -> None:
        self._tokens, self._read_secret = tokens, read_secret
        self._zone_factory, self._check = zone_factory, check or Http01Check()
        self._secrets: Expiring[DataRef, bytes] = Expiring(_SECRET_SECONDS)
        self._zones: Expiring[tuple[Rfc2136, bytes], WatchedZone] = Expiring(_ZONE_SECONDS)

    def present(self, solver: Solver, name: str, token: str, key_authorization: str, dns_value: str) -> None:
        """Publish the proof for `name` (without `*.`); doing it again changes nothing. Raises `ProofProblem`."""
        match solver.challenge:
            case Dns01() as dns01:
                self._with_zone(dns01, lambda zone: zone.present(_record(name), dns_value))
            case _:
                self._tokens.present(name, token, key_authorization)

    def is_ready(self, solver: Solver, name: str, token: str, key_authorization: str, dns_value: str) -> bool:
        """Whether the CA can be told to look; always so without self-check. Raises `ProofProblem`."""
        if not solver.challenge.self_check:
            return True
        match solver.challenge:
            case Dns01() as dns01:
                return self._with_zone(dns01, lambda zone: zone.is_visible(_record(name), dns_value))
            case _:
                return self._check.reachable(name, token, key_authorization)

    def not_seen(self, solver: Solver, name: str, token: str, key_authorization: str, dns_value: str) -> Finding:
        """Look once more, and say what stands between the proof and the CA."""
        match solver.challenge:
            case Dns01() as dns01:
                try:
                    late = self._with_zone(dns01, lambda zone: zone.lagging(_record(name), dns_value))
                except ProofProblem as problem:
                    return problem.finding
                return _not_propagated(name, late or (dns01.rfc2136.server,))
            case _:
                return _not_reachable(name, self._check.fault(name, token, key_authorization))

    def clean_up(self, solver: Solver, name: str, token: str, _key_authorization: str, dns_value: str) -> None:
        """Remove the proof, and no other; success when it is gone already. Raises `ProofProblem`."""
        match solver.challenge:
            case Dns01() as dns01:
                self._with_zone(dns01, lambda zone: zone.remove(_record(name), dns_value))
            case _:
                self._tokens.remove(name, token)

    def _with_zone(self, dns01: Dns01, act: Callable[[WatchedZone], _Result]) -> _Result:
        ref = dns01.rfc2136.tsig_secret
        try:
            return act(self._zone(dns01.rfc2136, self._secret(ref)))
        except ProofProblem:
            self._secrets.forget(ref)  # it may be the key that was changed
            raise

    def _secret(self, ref: DataRef) -> bytes:
        known = self._secrets.get(ref)
        return known if known is not None else self._secrets.put(ref, self._read_secret(ref))

    def _zone(self, settings: Rfc2136, secret: bytes) -> WatchedZone:
        key = (settings, sha256(secret).digest())
        known = self._zones.get(key)
        return known if known is not None else self._zones.put(key, self._zone_factory(settings, secret))


def _record(name: str) -> str:
    return f"{_RECORD}.{name.removeprefix('*.')}"


def _not_propagated(name: str, late: tuple[str, ...]) -> Finding:
    message = (
        f"Mend the transfer of the zone to {', '.join(late)}, or turn selfCheck off where this operator sees other"
        f" servers than the CA: the TXT record for {name} has not arrived there."
    )
    return Finding(Reason.DNS_NOT_PROPAGATED, message)


def _not_reachable(name: str, fault: str | None) -> Finding:
    message = (
        f"Let http://{name}/.well-known/acme-challenge/ reach the operator's HTTP-01 Service on port 80, or turn"
        f" selfCheck off where only the CA can reach it: {fault or 'it was not reachable until now'}."
    )
    return Finding(Reason.HTTP_SELF_CHECK_FAILED, message)
