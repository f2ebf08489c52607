"""Finds the CAA records that count for a name: its own, or those of the nearest parent (RFC 8659 section 3)."""

from typing import Any

from mailtls.model.domain.caa import CaaRecord
from mailtls.model.domain.facts import Records
from mailtls.model.quoting import quote
from mailtls.world.dns.resolver import Resolver

_MOST = 50


def caa_of(resolver: Resolver, name: str) -> Records[CaaRecord]:
    """Climb towards the root until there are records; a question without an answer ends the climb."""
    labels = name.removeprefix("*.").split(".")
    answer: Records[CaaRecord] = Records(name, "CAA")
    for depth in range(len(labels)):
        answer = resolver.ask(".".join(labels[depth:]), "CAA", _record, _MOST)
        if answer.values or answer.failure:
            break
    return answer


def _record(rdata: Any) -> CaaRecord:
    return CaaRecord(int(rdata.flags), quote(rdata.tag).lower(), quote(rdata.value))
