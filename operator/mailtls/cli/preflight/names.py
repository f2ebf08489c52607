"""Do the names resolve: mail clients dial them, and HTTP-01 is answered there."""

from collections.abc import Iterator
from typing import Final

from mailtls.api.spec import Desired
from mailtls.cli.preflight.line import Line, doubtful, good, unseen
from mailtls.cli.preflight.place import Place
from mailtls.maildomain.lookup.records import Lookup
from mailtls.reasons.reason import Reason

TOPIC: Final = "dns"


def lines(desired: Desired, place: Place) -> Iterator[Line]:
    """Look each name up that is no wildcard, and the one that the probe dials from outside."""
    lookup = Lookup(place.resolver)
    public = (desired.probe.public.host,) if desired.probe.public else ()
    for name in dict.fromkeys((*desired.dns_names, *public)):
        if not name.startswith("*."):
            yield _line(lookup, name)


def _line(lookup: Lookup, name: str) -> Line:
    answers = lookup.addresses(name)
    addresses = [address for answer in answers for address in answer.values]
    if addresses:
        return good(TOPIC, f"{name} has {', '.join(addresses)}.")
    failure = next((answer.failure for answer in answers if answer.failure), "")
    if failure:
        return unseen(TOPIC, f"{name} could not be looked up ({failure}).")
    return doubtful(TOPIC, f"{name} has no address yet: mail clients will not find it.", Reason.DNS_LOOKUP_FAILED)
