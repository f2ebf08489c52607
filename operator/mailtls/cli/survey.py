"""One probe from outside: from what was typed to a `Survey`, by the DNS, then every address and port at once."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from mailtls.cli.results import Omitted, Probed, Survey, SurveyedDomain
from mailtls.cli.targets import HOST_PORTS, MX_PORTS, Kind, Wanted
from mailtls.domains.policy import served_at
from mailtls.hostname import displayed
from mailtls.maildomain.checks.verdict import describe_domain, is_tls_demanded, judge_domain
from mailtls.maildomain.facts import DomainFacts
from mailtls.maildomain.lookup.domains import DomainReader
from mailtls.maildomain.lookup.records import Lookup, by_resolver
from mailtls.net.addresses import FindAddresses, by_system, is_routable
from mailtls.net.resolver import ResolverSettings
from mailtls.probe.checks.comparison import not_offered, with_blocked_ports, with_differences, with_lonely_submission
from mailtls.probe.checks.verdict import judge
from mailtls.probe.conversation import Limits
from mailtls.probe.facts import Facts
from mailtls.probe.prober import Prober
from mailtls.probe.target import Depth, Endpoint, Expected, Port, Protocol, ProxyProtocol, Target, TlsPolicy
from mailtls.reasons.reason import Finding, Reason, Severity
from mailtls.times import Clock

_NAMES_AT_ONCE: Final = 8
_IPV4, _IPV6 = "IPv4", "IPv6"
BOTH_FAMILIES: Final = frozenset({_IPV4, _IPV6})
ONLY_IPV4: Final = frozenset({_IPV4})
ONLY_IPV6: Final = frozenset({_IPV6})


@dataclass(frozen=True, slots=True)
class Preamble:
    """What every port is sent before all else: a header of the PROXY protocol, an address by XCLIENT."""

    proxy_protocol: ProxyProtocol = ProxyProtocol.NONE
    xclient_address: str | None = None

    def of(self, port: Port) -> Port:
        """Return the port, with this preamble as far as its protocol knows it."""
        knows_xclient = port.protocol in {Protocol.SMTP, Protocol.LMTP}
        address = self.xclient_address if knows_xclient else None
        return replace(port, proxy_protocol=self.proxy_protocol, xclient_address=address)


@dataclass(frozen=True, slots=True)
class Request:
    """What to look at, and how; `ports` empty: 25 of a domain's hosts, 25, 465 and 587 of a host."""

    wanted: tuple[Wanted, ...]
    ports: tuple[Port, ...] = ()
    depth: Depth = Depth.QUICK
    server_name: str | None = None
    expected: Expected = field(default_factory=Expected)
    families: frozenset[str] = BOTH_FAMILIES
    resolver: ResolverSettings = field(default_factory=ResolverSettings)
    dkim_selectors: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    preamble: Preamble = field(default_factory=Preamble)


@dataclass(frozen=True, slots=True)
class Callbacks:
    """Called as the work goes on: a phrase for what is done now, how many endpoints there are, each as it is done."""

    doing: Callable[[str], None] = lambda _phrase: None
    begin: Callable[[int], None] = lambda _total: None
    done: Callable[[Endpoint], None] = lambda _endpoint: None


@dataclass(frozen=True, slots=True)
class _Named:
    """What the DNS made of one target: a domain's facts or a host's addresses, and what went wrong."""

    hosts: tuple[tuple[str, str], ...] = ()  # host and address
    facts: DomainFacts | None = None
    unresolved: tuple[Finding, ...] = ()
    omitted: tuple[Omitted, ...] = ()


@dataclass(frozen=True, slots=True)
class _Planned:
    """One port to ask: the first mail domain that led to it, or empty, and whether anybody named that port."""

    target: Target
    domain: str = ""
    is_named: bool = True

    def joined(self, other: "_Planned") -> "_Planned":
        """Ask once what was asked for twice, by the stricter of both policies."""
        is_enforced = TlsPolicy.ENFORCED in {self.target.port.tls_policy, other.target.port.tls_policy}
        policy = TlsPolicy.ENFORCED if is_enforced else self.target.port.tls_policy
        target = replace(self.target, port=replace(self.target.port, tls_policy=policy))
        return _Planned(target, self.domain or other.domain, self.is_named or other.is_named)


def survey(request: Request, clock: Clock, progress: Callbacks | None = None) -> Survey:
    """Look at everything that is asked for; raises ValueError with a sentence for settings that make no sense."""
    progress, begun = progress or Callbacks(), clock.now()
    progress.doing("looking names up")
    named = _names(request)
    planned, omitted = _sorted_out(request, named)
    progress.doing("probing")
    progress.begin(len(planned))
    found, missing = _weighed(planned, _probe(request, [each.target for each in planned], clock, progress))
    return Survey(
        started_at=begun,
        took=clock.now() - begun,
        depth=request.depth,
        domains=tuple(_domain(each.facts, found, clock.now()) for each in named if each.facts),
        endpoints=found,
        unresolved=tuple(finding for each in named for finding in each.unresolved),
        omitted=tuple(omitted),
        not_offered=missing,
    )


def _names(request: Request) -> list[_Named]:
    naming = _Naming(request)
    with ThreadPoolExecutor(_NAMES_AT_ONCE, "name-lookup") as pool:
        return list(pool.map(naming, dict.fromkeys(request.wanted)))


class _Naming:
    """Turns targets into addresses; raises ValueError when the request names no resolver."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._reader = DomainReader(request.resolver)

    def __call__(self, wanted: Wanted) -> _Named:
        match wanted.kind:
            case Kind.ADDRESS:
                return _Named(hosts=((wanted.name, wanted.name),))
            case Kind.HOST:
                return self._host(wanted)
            case Kind.DOMAIN:
                return self._domain(wanted)
        return self._either(wanted)

    def _either(self, wanted: Wanted) -> _Named:
        mx = Lookup(self._request.resolver).mx(wanted.name)
        if mx.values:
            return self._domain(wanted)
        found = self._host(wanted)
        if not mx.failure or found.omitted:
            return found
        why = (
            f"The MX records of {wanted.shown} could not be looked up ({mx.failure}); write --host for the host alone."
        )
        return _Named(omitted=(Omitted(wanted.name, why, is_blind=True),))

    def _host(self, wanted: Wanted) -> _Named:
        found = self._addresses(wanted.name)
        if found.addresses:
            return _Named(hosts=tuple((wanted.name, address) for address in found.addresses))
        if found.failure:
            why = f"The addresses of {wanted.shown} could not be looked up ({found.failure})."
            return _Named(omitted=(Omitted(wanted.name, why, is_blind=True),))
        words = f"There is no address for {wanted.shown}: correct the name, or add an A or AAAA record for it."
        return _Named(unresolved=(Finding(Reason.DNS_LOOKUP_FAILED, words, subject=wanted.name),))

    @property
    def _addresses(self) -> FindAddresses:
        resolver = self._request.resolver
        return by_resolver(Lookup(resolver)) if resolver.nameservers else by_system

    def _domain(self, wanted: Wanted) -> _Named:
        ports = tuple(port.port for port in self._request.ports or MX_PORTS)
        facts = self._reader.read(wanted.name, dkim_selectors=self._request.dkim_selectors, ports=ports)
        if facts.mx_records.failure:
            why = f"The MX records of {wanted.shown} could not be looked up ({facts.mx_records.failure})."
            return _Named(omitted=(Omitted(wanted.name, why, is_blind=True),))
        hosts = tuple((host.name, address) for host in facts.mx for address in host.addresses)
        return _Named(hosts=hosts, facts=facts)


def _sorted_out(request: Request, named: Iterable[_Named]) -> tuple[list[_Planned], list[Omitted]]:
    """Part what can be probed from what this machine cannot reach or was asked to leave out."""
    planned: dict[tuple[str, int, str], _Planned] = {}
    omitted: list[Omitted] = []
    for wanted, each in zip(dict.fromkeys(request.wanted), named, strict=True):
        omitted.extend(each.omitted)
        for host, address in each.hosts:
            family = _IPV6 if ":" in address else _IPV4
            if family not in request.families and wanted.kind is not Kind.ADDRESS:
                continue
            if not is_routable(address):
                omitted.append(
                    Omitted(address, f"This machine has no way to {address} of {displayed(host)} ({family}).")
                )
                continue
            for one in _planned_at(request, wanted, each, host, address):
                target = one.target
                place = target.address, target.port.port, target.server_name
                planned[place] = planned[place].joined(one) if place in planned else one
    return list(planned.values()), omitted


def _planned_at(request: Request, wanted: Wanted, named: _Named, host: str, address: str) -> Iterator[_Planned]:
    ports = wanted.ports or request.ports or (MX_PORTS if named.facts else HOST_PORTS)
    is_named = bool(wanted.ports or request.ports or named.facts)
    for port in ports:
        asked = request.preamble.of(_as_demanded(named.facts, host, port) if named.facts else port)
        target = Target(address, asked, request.server_name or host, pod=host)
        yield _Planned(target, named.facts.domain if named.facts else "", is_named)


def _as_demanded(facts: DomainFacts, host: str, port: Port) -> Port:
    """Return the port as senders see it: on port 25, TLS is a choice until the DNS says more."""
    return replace(port, tls_policy=TlsPolicy.ENFORCED) if is_tls_demanded(facts, host, port.port) else port


def _probe(request: Request, targets: list[Target], clock: Clock, progress: Callbacks) -> list[tuple[Endpoint, Facts]]:
    is_idle = request.expected.login is not None and not any(target.port.is_for_users for target in targets)

    def report(target: Target, expected: Expected, facts: Facts, now: datetime) -> Endpoint:
        endpoint = judge(target, expected, facts, now)
        if is_idle:
            endpoint = replace(endpoint, findings=(*endpoint.findings, _nobody_logs_in(target.port)))
        progress.done(endpoint)
        return endpoint

    return Prober(request.limits, judge=report, now=clock.now).examine(targets, request.expected, request.depth)


def _weighed(
    planned: Sequence[_Planned], probed: Sequence[tuple[Endpoint, Facts]]
) -> tuple[tuple[Probed, ...], tuple[Omitted, ...]]:
    """Judge the endpoints beside each other, and part the ports that are not offered from them."""
    endpoints = tuple(endpoint for endpoint, _ in probed)
    missing = not_offered(endpoints, frozenset(each.target for each in planned if each.is_named))
    judged = with_differences(with_lonely_submission(with_blocked_ports(endpoints), missing))
    found = tuple(
        Probed(endpoint, facts, each.domain)
        for each, endpoint, (_, facts) in zip(planned, judged, probed, strict=True)
        if each.target not in missing
    )
    return found, tuple(_absence(each.target) for each in planned if each.target in missing)


def _absence(target: Target) -> Omitted:
    place = f"port {target.port.port} of {displayed(target.pod)}"
    at = "" if target.pod == target.address else f" at {target.address}"
    return Omitted(
        f"{target.pod}:{target.port.port}", f"Nobody answers on {place}{at}; name it by --port if it should."
    )


def _nobody_logs_in(port: Port) -> Finding:
    message = f"No login was tried, as nobody logs in at port {port.port}: add one where users do, such as --port 587."
    return Finding(Reason.AUTH_NOT_TRIED, message, Severity.WARN)


def _domain(facts: DomainFacts, found: Iterable[Probed], now: datetime) -> SurveyedDomain:
    hosts = tuple(host.name for host in facts.mx)
    own = tuple(
        served_at(probed.endpoint.target, probed.facts)
        for probed in found
        if probed.endpoint.target.server_name in hosts
    )
    return SurveyedDomain(
        facts.domain, facts.display_name, hosts, describe_domain(facts), judge_domain(facts, own, now)
    )
