"""DNS-01 (RFC 8555 section 8.4), as far as all DNS providers share it: which record, when it is seen, and what is said.

A provider reads its own settings, hands them to `dns01_settings`, and writes TXT records: `TxtRecords`.
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Generic, Protocol, TypeVar

import dns.name

from mailtls.api.reading.document import Node, duration
from mailtls.api.spec import DNS01, DataRef, Place, PlaceKind
from mailtls.hostname import named
from mailtls.issuance.solvers.base import VISIBLE, ChallengeResponse, Outcome, Remark, Stage, Visibility
from mailtls.issuance.solvers.propagation import Spread, names_by
from mailtls.reasons.reason import Finding, Reason

DELAY_WHEN_BLOCKED: Final = timedelta(minutes=1)
"""How long after a record was published the CA is asked where nobody can look and no delay is set."""
_LONGEST_DELAY: Final = timedelta(hours=1)
_RECORD: Final = "_acme-challenge"  # RFC 8555 section 8.4


class DnsProviderSettings(Protocol):
    """The settings of one DNS provider: frozen and hashable."""

    @property
    def name(self) -> str:
        """The provider's field in `dns01`, such as `rfc2136`."""

    @property
    def server(self) -> str:
        """The server that takes the records, as people know it."""

    @property
    def references(self) -> tuple[DataRef, ...]:
        """The entries of Secrets and ConfigMaps that it reads."""

    def __hash__(self) -> int: ...


P = TypeVar("P", bound=DnsProviderSettings)


@dataclass(frozen=True, slots=True)
class Dns01(Generic[P]):
    """A challenge response is a TXT record. `self_check` asks the authoritative servers first.

    `delay` is how long after publication the CA is asked to validate where none of them can be asked, or none is to be.
    """

    provider: P
    self_check: bool = True
    delay: timedelta | None = None

    challenge_type = DNS01

    @property
    def name(self) -> str:
        """The provider's name in the registry."""
        return f"dns01.{self.provider.name}"

    @property
    def references(self) -> tuple[DataRef, ...]:
        """The provider's credentials."""
        return self.provider.references

    def __str__(self) -> str:
        return f"{self.name} at {self.provider.server}"

    def place(self, namespace: str) -> Place:  # noqa: ARG002 - the server is the same for all namespaces
        """Return the provider's server."""
        return Place(PlaceKind.DNS, self.provider.server.lower())


class TxtRecords(Protocol):
    """TXT records of a provider; values are sets, so that names can share a record. Raises `ChallengeProblem`."""

    def present(self, name: str, value: str) -> None:
        """Add `value` to the TXT set at `name`; adding it again changes nothing."""

    def remove(self, name: str, value: str) -> None:
        """Remove only `value`; success when it is gone already."""

    def spread(self, name: str, value: str) -> Spread:
        """Look where `value` has arrived."""

    def rehearse(self, name: str) -> str:
        """Try whether a record at `name` could be written, change nothing, and return a sentence that says so."""


def dns01_settings(node: Node, provider: P) -> Dns01[P]:
    """Read what stands beside the provider in `dns01`; raises `InvalidSpec`."""
    delay = node.at("delay")
    return Dns01(
        provider,
        self_check=node.at("selfCheck").flag(default=True),
        delay=duration(delay, timedelta(), _LONGEST_DELAY) if delay.is_given else None,
    )


@dataclass(frozen=True, slots=True)
class Dns01Solver:
    """Publishes challenge responses as TXT records, whoever keeps them; thread-safe where `records` is."""

    settings: Dns01[Any]
    records: TxtRecords
    resolvers: tuple[str, ...] = ()

    def present(self, response: ChallengeResponse) -> None:
        """Add the record; adding it again changes nothing."""
        self.records.present(record_name(response.name), response.dns_value)

    def clean_up(self, response: ChallengeResponse) -> None:
        """Remove this value, and no other: other certificates may have the same name validated now."""
        self.records.remove(record_name(response.name), response.dns_value)

    def is_visible(self, response: ChallengeResponse, waited: timedelta) -> Visibility:
        """Ask the zone's servers; where none can be asked, the resolvers, or else time decides."""
        name, record = response.name, record_name(response.name)
        spread = self.records.spread(record, response.dns_value)
        if spread.dropped_by:
            return Visibility(_dropped(name, spread.dropped_by))
        if spread.late:
            return Visibility(_not_propagated(name, spread.late))
        if not spread.silent:
            return VISIBLE
        if self.resolvers and self.settings.delay is None:
            found = names_by(self.resolvers).texts(dns.name.from_text(record))
            return VISIBLE if response.dns_value in found else Visibility(_not_resolved(name, self.resolvers))
        delay = DELAY_WHEN_BLOCKED if self.settings.delay is None else self.settings.delay
        return Visibility(_blocked(name, spread.silent, delay)) if waited < delay else VISIBLE

    def rehearse(self, name: str, stage: Stage) -> Iterator[Remark]:
        """Try an update that changes nothing, and where it may be, add a record and remove it again."""
        record = record_name(name)
        yield Remark(Outcome.GOOD, self.records.rehearse(record))
        if stage.may_write:
            value = f"mailtls-preflight-{secrets.token_hex(8)}"
            try:
                self.records.present(record, value)
            finally:
                self.records.remove(record, value)
            yield Remark(Outcome.GOOD, f"A record at {record} was added and removed again.")


def record_name(name: str) -> str:
    """Return where the CA looks for the TXT record of a name."""
    return f"{_RECORD}.{name.removeprefix('*.')}"


def hidden_by_delay(name: str, delay: timedelta) -> Finding:
    """Say that the time alone decides, as set in the spec."""
    record = f"the TXT record for {named(name)}"
    message = f"The CA is asked to validate {_seconds(delay)} after {record} was published (dns01.delay)."
    return Finding(Reason.DNS_NOT_PROPAGATED, message)


def _dropped(name: str, server: str) -> Finding:
    message = (
        f"Look into the log and the update policy of the DNS server {server}: it said yes to the update, and"
        f" answers without the TXT record for {named(name)} (PowerDNS drops without an error what its script forbids)."
    )
    return Finding(Reason.DNS_UPDATE_REFUSED, message)


def _not_propagated(name: str, late: tuple[str, ...]) -> Finding:
    message = (
        f"Repair the transfer of the zone to {', '.join(late)}, or turn selfCheck off where this operator sees other"
        f" servers than the CA: the TXT record for {named(name)} has not arrived there."
    )
    return Finding(Reason.DNS_NOT_PROPAGATED, message)


def _not_resolved(name: str, resolvers: tuple[str, ...]) -> Finding:
    message = (
        f"Wait, or check whether the resolvers of this installation ({', '.join(resolvers)}) answer: the TXT record for"
        f" {named(name)} cannot be read there yet, and the zone's own servers cannot be reached from here."
    )
    return Finding(Reason.DNS_NOT_PROPAGATED, message)


def _blocked(name: str, silent: tuple[str, ...], delay: timedelta) -> Finding:
    message = (
        f"Let the operator reach port 53 (UDP and TCP) of {', '.join(silent)}, name resolvers in the Helm value"
        f" domains.resolvers, or set dns01.delay: packets there are lost, so the CA is asked to validate"
        f" {_seconds(delay)} after the TXT record for {named(name)} was published."
    )
    return Finding(Reason.NAME_SERVERS_UNREACHABLE, message)


def _seconds(delay: timedelta) -> str:
    return f"{delay.total_seconds():g} s"
