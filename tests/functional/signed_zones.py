"""A small DNS of its own, from a signed root down, and a resolver on loopback that validates it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dns.dnssec
import dns.dnssectypes
import dns.name
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.rdtypes.ANY.DNSKEY
import dns.rdtypes.ANY.DS
import dns.zone
from cryptography.hazmat.primitives.asymmetric import ec

from functional.bind import PRIMARY, SECONDARY, Validating, ZoneFile, free_port, running

_SOA = "$TTL 60\n@ SOA ns1.nowhere.invalid. hostmaster 1 3600 600 86400 1\n"  # as functional.bind begins each file
_NAMESERVERS = "ns1.nowhere.invalid. A 127.0.0.1\nns2.nowhere.invalid. AAAA ::1\n"
_SIGNED_FOR = 86400


@dataclass(frozen=True, slots=True)
class Child:
    """A zone below the root. `is_delegated` False leaves it without a DS record; `ds_of` names another zone's key.

    `second` is what the second nameserver answers in place of the same.
    """

    records: str
    is_signed: bool = True
    is_delegated: bool = True
    has_foreign_ds: bool = False
    second: str = ""


@dataclass(frozen=True, slots=True)
class _Signer:
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def public(self) -> dns.rdtypes.ANY.DNSKEY.DNSKEY:
        """The zone's only key, for all it signs."""
        return dns.dnssec.make_dnskey(self.key.public_key(), dns.dnssectypes.Algorithm.ECDSAP256SHA256, flags=257)

    def ds(self, zone: str) -> str:
        """What the parent says about the zone."""
        return str(dns.dnssec.make_ds(dns.name.from_text(zone), self.public, dns.dnssectypes.DSDigest.SHA256))

    def sign(self, name: str, records: str) -> str:
        """Return the zone's file with its signatures and proofs of what is not there."""
        zone = dns.zone.from_text(_SOA + records, origin=name, relativize=False)
        with zone.writer() as transaction:
            dns.dnssec.sign_zone(
                zone, transaction, [(self.key, self.public)], add_dnskey=True, dnskey_ttl=60, lifetime=_SIGNED_FOR
            )
        text: str = zone.to_text(relativize=False)
        return text


@contextmanager
def resolving(folder: Path, children: Mapping[str, Child]) -> Iterator[tuple[str, int]]:
    """Serve the zones; yields the validating resolver's `host:port` and the port of the authoritative servers."""
    port, root = free_port(), _Signer()
    first, second, delegations = [], [], ""
    for name, child in children.items():
        signer = _Signer()
        records = f"@ NS ns1.nowhere.invalid.\n{child.records}"
        delegations += f"{name}. NS ns1.nowhere.invalid.\n"
        if child.second:
            records += "@ NS ns2.nowhere.invalid.\n"
            other = f"@ NS ns1.nowhere.invalid.\n@ NS ns2.nowhere.invalid.\n{child.second}"
            second.append(ZoneFile(name, signer.sign(f"{name}.", other)))
        if child.is_delegated and child.is_signed:
            ds = (_Signer() if child.has_foreign_ds else signer).ds(f"{name}.")
            delegations += f"{name}. DS {ds}\n"
        first.append(ZoneFile(name, signer.sign(f"{name}.", records) if child.is_signed else records))
    root_zone = root.sign(".", f"@ NS ns1.nowhere.invalid.\n{_NAMESERVERS}{delegations}")
    anchor = Validating(PRIMARY, port, str(root.public))
    with (
        running(folder / "first", [ZoneFile(".", root_zone), *first], port=port),
        running(folder / "second", second, address=SECONDARY, port=port),
        running(folder / "resolver", [], validating=anchor) as resolver,
    ):
        yield resolver.server, port
