"""Could the names be proven: a solver for each, a DNS server that takes updates, a port 80 that is reached."""

import secrets
from collections.abc import Iterator
from typing import Final

from mailtls.lifecycle.solver import choose
from mailtls.maildomain.lookup.records import Lookup
from mailtls.model.preflight import Line, bad, doubtful, good, unseen
from mailtls.model.reason import Finding, Reason
from mailtls.model.spec import Desired, Dns01
from mailtls.preflight.place import Place
from mailtls.preflight.ports import knock
from mailtls.preflight.secrets import read_entry
from mailtls.world.challenges.dns01 import Rfc2136Zone
from mailtls.world.challenges.proofs import ProofProblem
from mailtls.world.ports import ApiError

_HTTP_PORT: Final = 80
_RECORD: Final = "_acme-challenge"  # RFC 8555 section 8.4


def lines(desired: Desired, place: Place) -> Iterator[Line]:
    """Look at the solver of each name, of a wildcard and its parent once."""
    hosts = {name.removeprefix("*."): name for name in reversed(desired.dns_names)}
    for host, name in reversed(hosts.items()):
        solver = choose(desired.acme, name)
        if solver is None:
            message = f"No solver is responsible for {name}: add one without a selector, or with a zone that holds it."
            yield bad("solver", Finding(Reason.NO_SOLVER, message))
        elif isinstance(solver.challenge, Dns01):
            yield from _dns01(solver.challenge, host, place)
        else:
            yield from _http01(host, place)


def _dns01(challenge: Dns01, host: str, place: Place) -> Iterator[Line]:
    topic, settings = "dns-01", challenge.rfc2136
    if place.cluster is None:
        yield doubtful(topic, f"{host} is proven by updates at {settings.server}; its key was not read, so not tried.")
        return
    try:
        zone = Rfc2136Zone(settings, read_entry(place, settings.tsig_secret))
        name = zone.rehearse(f"{_RECORD}.{host}")
        yield good(topic, f"{settings.server} takes updates of zone {name} signed with {settings.tsig_key_name}.")
        if place.may_write:
            _write(zone, f"{_RECORD}.{host}")
            yield good(topic, f"A record at {_RECORD}.{host} was added and removed again.")
    except ProofProblem as problem:
        yield bad(topic, problem.finding)
    except ApiError as refusal:
        yield unseen(topic, f"The key for {settings.server} cannot be read ({refusal.message}).")


def _write(zone: Rfc2136Zone, name: str) -> None:
    value = f"mailtls-preflight-{secrets.token_hex(8)}"
    try:
        zone.present(name, value)
    finally:
        zone.remove(name, value)


def _http01(host: str, place: Place) -> Iterator[Line]:
    topic = "http-01"
    answers = Lookup(place.resolver).addresses(host)
    addresses = [address for answer in answers for address in answer.values]
    failure = next((answer.failure for answer in answers if answer.failure), "")
    if not addresses and failure:
        yield unseen(topic, f"{host} could not be looked up ({failure}), so port 80 was not tried.")
    elif not addresses:
        message = f"{host} has no address, so that no CA finds port 80 of it: add an A or AAAA record."
        yield bad(topic, Finding(Reason.CHALLENGE_FAILED, message))
    for address in addresses:
        fault = knock(address, _HTTP_PORT)
        if fault:
            message = f"Port 80 of {host} at {address} is not reached from here ({fault}); the CA must reach it."
            yield doubtful(topic, message, Reason.CHALLENGE_FAILED)
        else:
            yield good(topic, f"Port 80 of {host} at {address} is reached from here; it must lead to the operator.")
