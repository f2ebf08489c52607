"""Publishes the proofs that a CA asks for, looks at them as a CA would, and removes them."""

from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from typing import Final, Protocol, TypeVar

import dns.name

from mailtls.model.reason import Finding, Reason
from mailtls.model.spec import DataRef, Dns01, Http01, Rfc2136, Solver
from mailtls.model.spread import Spread
from mailtls.world.challenges.dns01 import Rfc2136Zone
from mailtls.world.challenges.dns_names import names_by
from mailtls.world.challenges.http01 import Tokens
from mailtls.world.challenges.http01_check import Http01Check
from mailtls.world.challenges.proofs import ProofProblem
from mailtls.world.expiring import Expiring
from mailtls.world.ports import Zone

_SECRET_SECONDS: Final = 30.0  # a rotated key is taken up that late, or after the first refusal
_ZONE_SECONDS: Final = 3600.0
DELAY_WHEN_BLOCKED: Final = timedelta(minutes=1)
"""How long after a record was published the CA is told where nobody can be asked and no delay is set."""
_RECORD: Final = "_acme-challenge"  # RFC 8555 section 8.4

_Result = TypeVar("_Result")


class WatchedZone(Zone, Protocol):
    """A zone that also tells who is late."""

    def spread(self, name: str, value: str) -> Spread:
        """Look where `value` has arrived."""


class Solvers:
    """One for the whole operator; thread-safe.

    `read_secret` returns one entry of a Secret, and raises what says why it cannot. Zones are shared per settings and
    secret, as they remember where records belong. `resolvers` are asked for a record when packets to the zone's own
    servers vanish.
    """

    def __init__(
        self,
        tokens: Tokens,
        read_secret: Callable[[DataRef], bytes],
        zone_factory: Callable[[Rfc2136, bytes], WatchedZone] = Rfc2136Zone,
        check: Http01Check | None = None,
        resolvers: tuple[str, ...] = (),
    ) -> None:
        self._tokens, self._read_secret = tokens, read_secret
        self._zone_factory, self._check = zone_factory, check or Http01Check()
        self._resolvers = resolvers
        self._secrets: Expiring[DataRef, bytes] = Expiring(_SECRET_SECONDS)
        self._zones: Expiring[tuple[Rfc2136, bytes], WatchedZone] = Expiring(_ZONE_SECONDS)

    def present(self, solver: Solver, name: str, token: str, key_authorization: str, dns_value: str) -> None:
        """Publish the proof for `name` (without `*.`); doing it again changes nothing. Raises `ProofProblem`."""
        match solver.challenge:
            case Dns01() as dns01:
                self._with_zone(dns01, lambda zone: zone.present(_record(name), dns_value))
            case _:
                self._tokens.present(name, token, key_authorization)

    def hidden_by(
        self,
        solver: Solver,
        name: str,
        token: str,
        key_authorization: str,
        dns_value: str,
        *,
        waited: timedelta = timedelta(),
    ) -> Finding | None:
        """Say what stands between the proof and the CA; None: the CA can be told to look. Raises `ProofProblem`.

        `waited` is how long ago the proof was published: where nobody can be asked, time alone decides.
        """
        match solver.challenge:
            case Dns01() as dns01:
                return self._dns_hidden_by(dns01, name, dns_value, waited)
            case Http01(self_check=False):
                return None
            case _:
                fault = self._check.fault(name, token, key_authorization)
                return _not_reachable(name, fault) if fault is not None else None

    def _dns_hidden_by(self, dns01: Dns01, name: str, value: str, waited: timedelta) -> Finding | None:
        if not dns01.self_check:
            return _set_delay(name, dns01.delay) if dns01.delay is not None and waited < dns01.delay else None
        record = _record(name)
        spread = self._with_zone(dns01, lambda zone: zone.spread(record, value))
        if spread.late:
            return _not_propagated(name, spread.late)
        if not spread.silent:
            return None
        if self._resolvers and dns01.delay is None:
            found = names_by(self._resolvers).texts(dns.name.from_text(record))
            return None if value in found else _not_resolved(name, self._resolvers)
        delay = DELAY_WHEN_BLOCKED if dns01.delay is None else dns01.delay
        return _blocked(name, spread.silent, delay) if waited < delay else None

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
        f"Repair the transfer of the zone to {', '.join(late)}, or turn selfCheck off where this operator sees other"
        f" servers than the CA: the TXT record for {name} has not arrived there."
    )
    return Finding(Reason.DNS_NOT_PROPAGATED, message)


def _not_resolved(name: str, resolvers: tuple[str, ...]) -> Finding:
    message = (
        f"Wait, or check whether the resolvers of this installation ({', '.join(resolvers)}) answer: the TXT record for"
        f" {name} cannot be read there yet, and the zone's own servers cannot be reached from here."
    )
    return Finding(Reason.DNS_NOT_PROPAGATED, message)


def _blocked(name: str, silent: tuple[str, ...], delay: timedelta) -> Finding:
    message = (
        f"Let the operator reach port 53 (UDP and TCP) of {', '.join(silent)}, name resolvers in the Helm value"
        f" domains.resolvers, or set dns01.delay: packets there are lost, so the CA is asked to validate"
        f" {_seconds(delay)} after the TXT record for {name} was published."
    )
    return Finding(Reason.NAME_SERVERS_UNREACHABLE, message)


def _set_delay(name: str, delay: timedelta) -> Finding:
    message = (
        f"The CA is asked to validate {_seconds(delay)} after the TXT record for {name} was published (dns01.delay)."
    )
    return Finding(Reason.DNS_NOT_PROPAGATED, message)


def _seconds(delay: timedelta) -> str:
    return f"{delay.total_seconds():g} s"


def _not_reachable(name: str, fault: str) -> Finding:
    message = (
        f"Let http://{name}/.well-known/acme-challenge/ reach the operator's HTTP-01 Service on port 80, or turn"
        f" selfCheck off where only the CA can reach it: {fault}."
    )
    return Finding(Reason.HTTP_SELF_CHECK_FAILED, message)
