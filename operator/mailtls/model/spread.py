"""How far a TXT record has spread, as its publisher sees it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """`late` are the servers that answer without the record; `silent` those of a zone of which none can be asked.

    Both name servers for people: `ns1.example.com (192.0.2.1:53)`. With `silent` nothing is known: whoever is asked
    gives no sign over UDP and TCP, as behind a firewall that drops packets to port 53.
    """

    late: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
