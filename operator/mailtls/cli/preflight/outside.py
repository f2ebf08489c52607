"""What lies outside of the cluster: names, ports, the CA, CAA and challenges, tried before anything is ordered."""

import socket
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final, assert_never
from urllib.parse import urlsplit

from mailtls.api.solvers import choose
from mailtls.api.spec import Desired, SolverSettings
from mailtls.cli.preflight.place import Place, read_entry
from mailtls.cli.results import Line, bad, doubtful, good, unseen
from mailtls.hostname import named
from mailtls.issuance.acme.directory import Directory, read_directory
from mailtls.issuance.solvers.base import ChallengeProblem, Outcome, Remark, Stage, Surroundings
from mailtls.issuance.solvers.registry import SOLVERS, Registry
from mailtls.kube.interface import ApiError
from mailtls.kube.secrets import Secrets
from mailtls.maildomain.lookup.records import Lookup, caa_of
from mailtls.maildomain.records.caa import caa_binds_account, caa_forbids
from mailtls.net.resolver import Resolver
from mailtls.probe.target import Protocol
from mailtls.reasons.quoting import shorten
from mailtls.reasons.reason import Finding, Reason

NAMES: Final = "dns"


def name_lines(desired: Desired, place: Place) -> Iterator[Line]:
    """Look each name up that is no wildcard, and the one that the probe dials from outside."""
    lookup = Lookup(place.resolver)
    public = (desired.probe.public.host,) if desired.probe.public else ()
    for name in dict.fromkeys((*desired.dns_names, *public)):
        if not name.startswith("*."):
            yield _address_line(lookup, name)


def _address_line(lookup: Lookup, name: str) -> Line:
    answers, name = lookup.addresses(name), named(name)
    addresses = [address for answer in answers for address in answer.values]
    if addresses:
        return good(NAMES, f"{name} has {', '.join(addresses)}.")
    failure = next((answer.failure for answer in answers if answer.failure), "")
    if failure:
        return unseen(NAMES, f"{name} could not be looked up ({failure}).")
    return doubtful(NAMES, f"{name} has no address yet: mail clients will not find it.", Reason.DNS_LOOKUP_FAILED)


PORTS: Final = "ports"
_SECONDS: Final = 3.0
_AT_ONCE: Final = 16
_MOST_ADDRESSES: Final = 8
_WHY: Final = (
    "before its pods and Service are there that is as it should be; else a firewall, a Service or a provider is in the "
    "way (many networks let nobody out to port 25)"
)


def port_lines(desired: Desired, place: Place) -> Iterator[Line]:
    """Connect to each port of each address of the name that clients dial; a name without any is reported elsewhere."""
    host, numbers = _outside(desired)
    if host.startswith("*.") or not numbers:
        return
    found = [address for answer in Lookup(place.resolver).addresses(host) for address in answer.values]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for address in found[:_MOST_ADDRESSES]:
            faults = pool.map(knock, [address] * len(numbers), numbers)
            yield from _at(f"{named(host)} at {address}", dict(zip(numbers, faults, strict=True)))


def knock(address: str, port: int) -> str:
    """Connect and leave again; returns what went wrong, empty when the port is reached."""
    try:
        socket.create_connection((address, port), _SECONDS).close()
    except TimeoutError:
        return "no answer in time"
    except OSError as error:
        return shorten(error.strerror or str(error))
    return ""


def _outside(desired: Desired) -> tuple[str, list[int]]:
    """The name and the ports as the world knows them: LMTP is for the servers of the house."""
    public = desired.probe.public
    ports = public.ports if public else [port for workload in desired.workloads for port in workload.ports]
    numbers = {port.port for port in ports if port.protocol is not Protocol.LMTP}
    return public.host if public else desired.server_name, sorted(numbers)


def _at(where: str, faults: dict[int, str]) -> Iterator[Line]:
    reached = [str(port) for port, fault in faults.items() if not fault]
    if reached:
        yield good(PORTS, f"{_counted(reached)} of {where} answer{'s' if len(reached) == 1 else ''} from here.")
    missed = [f"{port} ({fault})" for port, fault in faults.items() if fault]
    if missed:
        message = f"{_counted(missed)} of {where}: not reached from here; {_WHY}."
        yield doubtful(PORTS, message, Reason.PORT_BLOCKED)


def _counted(ports: list[str]) -> str:
    return f"{'Port' if len(ports) == 1 else 'Ports'} {', '.join(ports)}"


_LETS_ENCRYPT: Final = "letsencrypt.org"
_KNOWN: Final[Mapping[str, str]] = {
    "acme-v02.api.letsencrypt.org": _LETS_ENCRYPT,
    "acme-staging-v02.api.letsencrypt.org": _LETS_ENCRYPT,
}
_LIMITS: Final[Mapping[str, str]] = {
    "acme-v02.api.letsencrypt.org": (
        "Let's Encrypt issues 5 certificates a week for the same set of names and 50 a week per registered domain; how "
        "many there were is not to be known from here, so use letsencrypt-staging for trials"
    ),
}


def ca_lines(desired: Desired, place: Place) -> Iterator[Line]:
    """Ask the CA for its directory, then the DNS for CAA, then count."""
    directory = Directory(failure="nobody may read its roots here")
    try:
        directory = _directory(desired, place)
    except ApiError as refusal:
        yield unseen("CA", f"The bundle of acme.caBundle cannot be read ({refusal.message}).")
    else:
        yield from _ca(desired, directory)
    yield from _caa(desired, place, directory)
    yield from _limits(desired, place)


def _directory(desired: Desired, place: Place) -> Directory:
    bundle = desired.acme.ca_bundle
    try:
        roots = read_entry(place, bundle).decode("utf-8", "replace") if bundle and place.cluster else ""
    except ChallengeProblem as problem:
        return Directory(failure=problem.finding.message)
    return read_directory(desired.acme.server, roots)


def _ca(desired: Desired, directory: Directory) -> Iterator[Line]:
    acme, topic = desired.acme, "CA"
    if directory.failure:
        yield doubtful(topic, f"{acme.server} cannot be asked from here: {directory.failure}.", Reason.ACME_UNREACHABLE)
        return
    yield good(topic, f"{acme.server} answers.")
    if directory.needs_external_account and acme.external_account_binding is None and acme.account_key is None:
        message = f"{acme.server} wants an external account: set acme.externalAccountBinding."
        yield bad(topic, Finding(Reason.EXTERNAL_ACCOUNT_REQUIRED, message))
    if acme.profile and acme.profile not in directory.profiles:
        known = ", ".join(directory.profiles) or "none"
        message = f"The CA has no profile {acme.profile}; it has: {known}."
        yield bad(topic, Finding(Reason.PROFILE_UNKNOWN, message))


def _caa(desired: Desired, place: Place, directory: Directory) -> Iterator[Line]:
    known = _KNOWN.get(urlsplit(desired.acme.server).hostname or "")
    ca_identities = frozenset(directory.caa_identities) | ({known} if known else frozenset())
    resolver = Resolver(place.resolver)
    for name in desired.dns_names:
        yield _caa_line(resolver, name, ca_identities, _challenge(desired, name))


def _challenge(desired: Desired, name: str) -> str:
    solver = choose(desired.acme, name)
    return solver.settings.challenge_type if solver else ""


def _caa_line(resolver: Resolver, name: str, ca_identities: frozenset[str], challenge: str) -> Line:
    topic, answer = "caa", caa_of(resolver, name)
    if answer.failure:
        return unseen(topic, f"CAA of {answer.name} could not be looked up ({answer.failure}), so CAs refuse.")
    if not answer.values:
        return good(topic, f"No CAA record restricts {named(name)}.")
    shown = "; ".join(str(record) for record in answer.values)
    if not ca_identities:
        return doubtful(topic, f"CAA of {answer.name} ({shown}) must name your CA, which does not say its name.")
    forbidden = caa_forbids(answer.values, name, ca_identities, challenge)
    if forbidden:
        return bad(topic, forbidden)
    if caa_binds_account(answer.values, name, ca_identities):
        return doubtful(topic, f"CAA of {answer.name} allows one account only ({shown}); it must be this one.")
    return good(topic, f"CAA of {answer.name} allows {named(name)} ({shown}).")


def _limits(desired: Desired, place: Place) -> Iterator[Line]:
    topic = "limits"
    try:
        certificate = Secrets(place.cluster).serving(desired).certificate if place.cluster else None
    except ApiError as refusal:
        yield unseen(topic, f"Whether a certificate is there already cannot be seen ({refusal.message}).")
        certificate = None
    if certificate and certificate.names == frozenset(desired.dns_names):
        message = f"Secret {desired.secret_name} holds a certificate for these names until {certificate.not_after:%F}."
        yield good(topic, f"{message} It is kept unless something else in the spec asks for another.")
        return
    yield good(topic, f"One order for {len(desired.dns_names)} of at most 100 names.")
    known = _LIMITS.get(urlsplit(desired.acme.server).hostname or "")
    if known:
        yield good(topic, f"{known}.")


def challenge_lines(desired: Desired, place: Place, registry: Registry = SOLVERS) -> Iterator[Line]:
    """Rehearse with the solver of each name, of a wildcard and its parent once."""
    hosts = {name.removeprefix("*."): name for name in reversed(desired.dns_names)}
    for host, name in reversed(hosts.items()):
        solver = choose(desired.acme, name)
        if solver is None:
            fix = "add one without a selector, or with a zone that holds it"
            yield bad("solver", Finding(Reason.NO_SOLVER, f"No solver is responsible for {named(name)}: {fix}."))
        else:
            yield from _rehearsed(solver.settings, host, place, registry)


def _rehearsed(settings: SolverSettings, host: str, place: Place, registry: Registry) -> Iterator[Line]:
    topic = settings.challenge_type
    if settings.references and place.cluster is None:
        yield doubtful(topic, f"{named(host)} is validated by {settings}; its Secret was not read, so not tried.")
        return
    try:
        secrets = {ref: read_entry(place, ref) for ref in settings.references}
        solver = registry.build(settings, secrets, Surroundings())
        for remark in solver.rehearse(host, _stage(place)):
            yield _line(topic, remark)
    except ChallengeProblem as problem:
        yield bad(topic, problem.finding)
    except ApiError as refusal:
        yield unseen(topic, f"The Secret for {settings} cannot be read ({refusal.message}).")


def _stage(place: Place) -> Stage:
    def addresses(host: str) -> tuple[tuple[str, ...], str]:
        answers = Lookup(place.resolver).addresses(host)
        found = tuple(address for answer in answers for address in answer.values)
        return found, next((answer.failure for answer in answers if answer.failure), "")

    return Stage(addresses, knock, place.may_write)


def _line(topic: str, remark: Remark) -> Line:
    match remark.outcome:
        case Outcome.GOOD:
            return good(topic, remark.message)
        case Outcome.DOUBTFUL:
            return doubtful(topic, remark.message, remark.reason)
        case Outcome.BAD:
            return bad(topic, Finding(remark.reason, remark.message))
        case Outcome.UNKNOWN:
            return unseen(topic, remark.message)
    assert_never(remark.outcome)
