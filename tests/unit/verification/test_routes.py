"""The routes to the pods: which Services and addresses are probed, when, and what is made of the results."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from builders.contexts import a_context, next_step, wanting
from builders.stories import DAY, certificate, desired, schedule, secret
from fakes.clock import StoppedClock, WallClock
from fakes.cluster import FakeCluster
from mailtls.api.reading.acme import default_acme
from mailtls.api.reading.document import InvalidSpec, Json
from mailtls.api.reading.spec import Defaults
from mailtls.api.reading.spec import parse as parse_spec
from mailtls.api.spec import Desired, Probe, PublicName
from mailtls.api.status import Condition, ConditionType, ServedCount, Truth
from mailtls.api.workload import Daemon, UpdateStrategy, Workload, WorkloadKind
from mailtls.context import Context
from mailtls.controller.conditions import conditions
from mailtls.issuance.solvers.registry import SOLVERS
from mailtls.kube.interface import ApiError
from mailtls.kube.references import References
from mailtls.kube.workload import PodState, Service, ServicePort, WorkloadState, parse_service
from mailtls.metrics import Metrics
from mailtls.net.addresses import AddressPolicy, Found
from mailtls.net.backoff import PROBE
from mailtls.probe.checks.verdict import judge
from mailtls.probe.facts import Facts, Fault, Phase, Stop
from mailtls.probe.target import (
    Depth,
    Endpoint,
    Expected,
    Port,
    Protocol,
    ProxyProtocol,
    Route,
    Target,
    TlsMode,
    TlsPolicy,
)
from mailtls.reasons.reason import Finding, Reason, Severity
from mailtls.reasons.software import Software
from mailtls.resource_metrics import Known, Served
from mailtls.rollout.steps import RollProgress
from mailtls.step import Rest
from mailtls.verification.conditions import served
from mailtls.verification.decide import FindRoutes, ProbePods, ProbeRoutes
from mailtls.verification.evidence import gather, targets
from mailtls.verification.execute import Probing, RouteFinding
from mailtls.verification.routes import MOST_ROUTES, service_routes
from mailtls.verification.schedule import next_probe_at

HOST = "mx.example.test"
SMTP = Port(25, TlsMode.START_TLS, TlsPolicy.OPPORTUNISTIC)
SMTPS = Port(465, TlsMode.IMPLICIT, TlsPolicy.ENFORCED, proxy_protocol=ProxyProtocol.V2)
POSTFIX = Workload(WorkloadKind.STATEFUL_SET, "postfix", UpdateStrategy.RELOAD, (Daemon("postfix", (SMTP, SMTPS)),))
POD = PodState("postfix-0", "uid-0", ("198.51.100.1",), ready=True)
STATE = WorkloadState(
    POSTFIX, pods=(POD,), labels={"app": "postfix", "tier": "mx"}, port_names={"smtp": 25, "smtps": 465}
)
SELECTOR = {"app": "postfix"}
BOTH = ("10.96.0.7", "fd00::7")
PUBLIC = PublicName(HOST, (SMTP,))
EVERY_ROUTE = Probe(routes=frozenset(Route), public=PUBLIC)
SERVICES = "/api/v1/namespaces/mail/services"


def wants(probe: Probe = EVERY_ROUTE) -> Desired:
    """A resource that names these routes."""
    return desired(workloads=(POSTFIX,), probe=probe)


def service(*ports: ServicePort, addresses: tuple[str, ...] = BOTH, **selector: str) -> Service:
    """A Service for the pods of Postfix, unless its selector says otherwise."""
    return Service("mx", selector or SELECTOR, ports, addresses)


def body(**spec: Any) -> Json:
    """A Service as the API server writes it."""
    ports = [{"port": 25, "protocol": "TCP", "targetPort": 25}]
    whole = {"selector": SELECTOR, "ports": ports, "clusterIP": BOTH[0], "clusterIPs": list(BOTH), "type": "ClusterIP"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "mx", "namespace": "mail"},
        "spec": whole | spec,
    }


# which Services


def asked(*services: Service) -> list[tuple[str, str, int]]:
    """Which Services are dialled, where, on which port."""
    found_routes = list(service_routes((STATE,), services, wants()))
    assert all(finding is None for _, finding in found_routes)
    return [(target.pod, target.address, target.port.port) for target, _ in found_routes]


def test_service_is_asked_at_both_families_on_the_port_that_leads_to_one_of_the_pods() -> None:
    """By number or by name of the pods' port; a port that leads elsewhere is nobody's business here."""
    ports = (ServicePort(2525, 25), ServicePort(465, "smtps"), ServicePort(8080, 8080), ServicePort(80, "http"))
    places = [("mx", address, number) for number in (2525, 465) for address in BOTH]
    assert asked(service(*ports)) == places


def test_port_of_a_service_is_dialled_as_the_pods_port_is() -> None:
    """kube-proxy adds nothing: a pod that expects a PROXY header expects it by the Service too."""
    (target, _), *_ = service_routes((STATE,), (service(ServicePort(10465, 465)),), wants())
    assert target.port == replace(SMTPS, port=10465)
    assert (target.route, target.workload, target.server_name) == (Route.SERVICE, "StatefulSet/postfix", HOST)


def test_headless_service_is_found_and_asked_nothing() -> None:
    """It leads to the pods' own addresses, which are asked anyway."""
    assert asked(service(ServicePort(25, 25), addresses=())) == []


@pytest.mark.parametrize(
    "services",
    [
        (),
        (service(ServicePort(25, 25), app="dovecot"),),
        (service(ServicePort(25, 25), app="postfix", color="green"),),
        (service(ServicePort(8080, 8080)),),
    ],
    ids=["none", "another's", "too choosy", "another port"],
)
def test_workload_without_a_service_is_told_by_each_port(services: tuple[Service, ...]) -> None:
    """Who wants the route by the Service learns that there is none, and what to do."""
    found_routes = list(service_routes((STATE,), services, wants()))
    assert [(target.port.port, finding.reason) for target, finding in found_routes if finding] == [
        (25, Reason.SERVICE_MISSING),
        (465, Reason.SERVICE_MISSING),
    ]
    assert found_routes[0][1] is not None
    for part in ("namespace mail", "StatefulSet/postfix", "(25, 465)", "selector or targetPort", "spec.probe.from"):
        assert part in found_routes[0][1].message


def test_addresses_of_hundreds_of_services_are_not_all_probed() -> None:
    """Each is a connection and several series, and a tenant may have as many Services as the quota allows."""
    services = [
        replace(service(*(ServicePort(number, 25) for number in range(2000, 2096))), name=f"mx-{n}") for n in range(500)
    ]
    *probed, (_, more) = service_routes((STATE,), services, wants())
    assert len({target for target, finding in probed if finding is None}) == MOST_ROUTES
    assert more is not None
    assert (more.reason, more.severity) == (Reason.TOO_MANY_ENDPOINTS, Severity.WARN)
    assert len(list(service_routes((STATE,), services[:1], wants()))) == 2 * 96


def test_workload_scaled_to_zero_needs_no_service() -> None:
    """Behind its Service nobody could answer."""
    assert list(service_routes((replace(STATE, pods=()),), (), wants())) == []


def test_targets_say_which_server_the_preset_of_their_port_names() -> None:
    """By a Service at another number too; of a generic server nothing is known."""
    daemons = (Daemon("mta", (SMTP,), software=Software.EXIM), Daemon("own", (SMTPS,)))
    state = replace(STATE, workload=replace(POSTFIX, daemons=daemons))
    by_service = [each for each, _ in service_routes((state,), (service(ServicePort(10025, 25)),), wants())]
    known = {(each.port.port, each.software) for each in (*targets((state,), HOST), *by_service)}
    assert known == {(25, Software.EXIM), (465, None), (10025, Software.EXIM)}


def test_service_is_read_as_the_api_server_writes_it() -> None:
    """A target port that is left out is the port itself; UDP is no mail."""
    ports = [{"port": 25}, {"port": 465, "targetPort": "smtps", "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]
    found = parse_service(body(ports=ports))
    assert found == Service("mx", SELECTOR, (ServicePort(25, 25), ServicePort(465, "smtps")), BOTH)
    assert parse_service(body(clusterIP="None", clusterIPs=["None"])).addresses == ()
    assert parse_service(body(clusterIPs=None)).addresses == BOTH[:1]


# looking around


class Answers:
    """A prober that finds the wanted certificate everywhere, but for the places with a finding of their own."""

    def __init__(self, clock: WallClock, faults: dict[str, Finding]) -> None:
        self.clock, self.faults = clock, faults
        self.asked: list[tuple[Depth, list[str]]] = []

    def probe(self, targets: Iterable[Target], expected: Expected, depth: Depth = Depth.QUICK) -> Sequence[Endpoint]:
        """Answer for each target at once."""
        every = list(targets)
        self.asked.append((depth, [each.where for each in every]))
        return [Endpoint(each, self.clock.now(), self._found(each), expected.leaf_sha256) for each in every]

    def _found(self, target: Target) -> tuple[Finding, ...]:
        return (self.faults[target.where],) if target.where in self.faults else ()


class Look:
    """One resource whose pod serves the certificate, and what is around it."""

    def __init__(self, probe: Probe = EVERY_ROUTE) -> None:
        self.clock, self.cluster, self.faults = StoppedClock(), FakeCluster(), dict[str, Finding]()
        self.cluster.objects[f"{SERVICES}/mx"] = body()
        self.found, self.unroutable, self.wants = Found(("192.0.2.1", "2001:db8::1")), set[str](), wants(probe)
        self.prober = Answers(self.clock, self.faults)
        self.probing = Probing(
            self.cluster, self.prober, self.clock, Metrics(), lambda _ref: b"", References(self.cluster, self.clock)
        )
        self.policy = AddressPolicy()
        self.routes = RouteFinding(self.cluster, self.clock, lambda _host: self.found, self.is_routable, self.policy)

    def is_routable(self, address: str) -> bool:
        """Whether there is a route for our packets."""
        return address not in self.unroutable

    def begin(self) -> Context:
        """Nothing was asked yet."""
        now = self.clock.now()
        stored = secret(certificate=certificate(not_before=now - DAY, not_after=now + 80 * DAY))
        progress = RollProgress(now, timedelta(minutes=10))
        fresh = a_context(secret=stored, schedule=schedule(renewal_at=now + 50 * DAY), probed_depth=Depth.QUICK)
        return fresh.with_snapshot(workloads=(STATE,)).with_rollout(progress=progress)

    def walk(self, have: Context) -> Context:
        """Do what is to be done until there is rest."""
        for _ in range(20):
            match next_step(wanting(self.wants, have), self.clock.now()):
                case ProbePods() as step:
                    have = self.probing.probe(wanting(self.wants, have), step)
                case ProbeRoutes() as step:
                    have = self.probing.probe_routes(wanting(self.wants, have), step)
                case FindRoutes() as step:
                    have = self.routes.find_all(wanting(self.wants, have), step)
                case Rest():
                    return have
                case other:
                    raise AssertionError(other)
        raise AssertionError("this comes to no rest")

    def verified(self, have: Context) -> Condition:
        """What is said of it."""
        said = conditions(wanting(self.wants, have), self.clock.now())
        return next(each for each in said if each.type is ConditionType.VERIFIED)

    def carried(self, have: Context) -> Context:
        """What the next pass begins with: what failed is forgotten."""
        standing = tuple(each for each in have.verification.endpoints if not each.failure)
        return have.with_verification(
            endpoints=standing, routes=have.verification.known_routes, failing_since=have.verification.still_failing
        )


SERVICE_4, SERVICE_6 = "Service/mx at 10.96.0.7:25", "Service/mx at [fd00::7]:25"
PUBLIC_4, PUBLIC_6 = f"Public/{HOST} at 192.0.2.1:25", f"Public/{HOST} at [2001:db8::1]:25"
OLD = Finding(Reason.SERVING_OLD_CERTIFICATE, "The old one is served.")


def test_ways_are_asked_after_the_pods_and_counted_with_them() -> None:
    """Pods quickly, pods to the full depth, then each Service by one conversation, then the public name in full."""
    look = Look()
    have = look.walk(look.begin())
    pods = ["postfix-0:25", "postfix-0:465"]
    assert look.prober.asked == [
        (Depth.QUICK, pods),
        (Depth.FULL, pods),
        (Depth.QUICK, [SERVICE_4, SERVICE_6]),
        (Depth.FULL, [PUBLIC_4, PUBLIC_6]),
    ]
    assert look.verified(have).message == "6 of 6 endpoints serve the stored certificate."
    assert served(wanting(look.wants, have)) == ServedCount(6, 6)


def test_pods_alone_are_asked_unless_the_spec_says_more() -> None:
    """Without `from` nobody looks for Services."""
    look = Look(Probe())
    assert served(wanting(look.wants, look.walk(look.begin()))) == ServedCount(2, 2)
    assert look.cluster.lists == []


def test_ways_wait_until_every_pod_has_the_certificate() -> None:
    """Before, a Service shows one certificate or the other by chance."""
    look = Look()
    have = look.walk(look.begin())
    short = have.with_snapshot(workloads=(replace(STATE, replicas_wanted=2),)).with_verification(routes=None)
    assert isinstance(next_step(wanting(look.wants, short), look.clock.now()), Rest)
    verified = look.verified(short)
    assert (verified.status, verified.reason) == (Truth.UNKNOWN, Reason.PROBING)
    assert "once every pod has the certificate" in verified.message


def test_next_sweep_looks_around_anew() -> None:
    """A Service that is gone is forgotten, a new address is asked; nothing watches them meanwhile."""
    look = Look()
    have = look.walk(look.begin())
    assert look.cluster.lists == [SERVICES]
    assert look.walk(have) == have
    look.found = Found(("192.0.2.2",))
    later = look.walk(have.with_verification(probed_at=look.clock.now() - DAY))
    assert look.cluster.lists == [SERVICES] * 2
    assert {each.target.address for each in later.verification.endpoints if each.target.route is Route.PUBLIC} == {
        "192.0.2.2"
    }


def test_failing_way_is_named_and_asked_again_alone_and_soon() -> None:
    """Routes are found again, as a Service may have another address now, and probes what failed."""
    look = Look()
    look.faults[SERVICE_6] = OLD
    have = look.walk(look.begin())
    verified = look.verified(have)
    assert (verified.status, verified.reason) == (Truth.FALSE, Reason.SERVING_OLD_CERTIFICATE)
    assert verified.message == f"{SERVICE_6}: The old one is served."
    assert served(wanting(look.wants, have)) == ServedCount(5, 6)
    due = next_probe_at(wanting(look.wants, have), look.clock.now())
    assert due is not None
    assert due - look.clock.now() <= PROBE.first

    look.prober.asked.clear()
    look.faults.clear()
    mended = look.walk(look.carried(have))
    assert look.prober.asked == [(Depth.QUICK, [SERVICE_6])]
    assert look.verified(mended).status is Truth.TRUE
    assert mended.verification.still_failing == {}


def test_way_that_keeps_failing_is_asked_ever_less_often() -> None:
    """It costs the others no look."""
    look = Look()
    look.faults[PUBLIC_4] = OLD
    have, pauses = look.walk(look.begin()), []
    for _ in range(4):
        due = next_probe_at(wanting(look.wants, have), look.clock.now())
        assert due is not None
        pause = due - look.clock.now()
        pauses.append(round(pause / timedelta(seconds=1)))
        look.clock.advance(pause)
        have = look.walk(look.carried(have))
    assert pauses == [5, 10, 30, 90]


def test_what_a_deep_probe_found_outside_stands_until_the_next_one() -> None:
    """A shallower sweep did not ask, so that it is no rebuttal."""
    look = Look()
    look.faults[PUBLIC_4] = Finding(Reason.STARTTLS_COMMAND_INJECTION, "It is carried out.")
    have = look.walk(look.begin().with_verification(probed_depth=Depth.DEEP))
    look.faults.clear()
    later = look.walk(have.with_verification(probed_at=look.clock.now() - DAY))
    assert look.prober.asked[-1] == (Depth.FULL, [PUBLIC_4, PUBLIC_6])
    assert look.verified(later).reason is Reason.STARTTLS_COMMAND_INJECTION


def test_missing_service_fails_and_is_looked_for_again() -> None:
    """Once it is there, the next pass finds it."""
    look = Look()
    service_body = look.cluster.objects.pop(f"{SERVICES}/mx")
    have = look.walk(look.begin())
    assert look.verified(have).reason is Reason.SERVICE_MISSING
    assert look.verified(have).message.startswith("Service:25: No Service in namespace mail selects")
    assert served(wanting(look.wants, have)) == ServedCount(4, 6)
    look.cluster.objects[f"{SERVICES}/mx"] = service_body
    assert served(wanting(look.wants, look.walk(look.carried(have)))) == ServedCount(6, 6)


def test_operator_that_may_not_list_services_says_so() -> None:
    """After an upgrade without the chart's new rights the pods go on as before."""

    class Forbidding(FakeCluster):
        def list(self, path: str, *, label_selector: str = "") -> list[Json]:
            raise ApiError(403, "Forbidden", f"{path} {label_selector}")

    look = Look()
    look.routes = replace(look.routes, cluster=Forbidding())
    verified = look.verified(look.walk(look.begin()))
    assert verified.reason is Reason.FORBIDDEN
    assert "list services in namespace mail" in verified.message


@pytest.mark.parametrize(
    ("found", "says"),
    [(Found(), "The DNS knows no address of mx.example.test"), (Found(failure="time-out"), "looked up (time-out)")],
    ids=["unknown", "silent"],
)
def test_public_name_without_an_address_fails_with_what_to_do(found: Found, says: str) -> None:
    """A typing mistake and a dead DNS are told apart."""
    look = Look(Probe(routes=frozenset({Route.PODS, Route.PUBLIC}), public=PUBLIC))
    look.found = found
    verified = look.verified(look.walk(look.begin()))
    assert (verified.status, verified.reason) == (Truth.FALSE, Reason.DNS_LOOKUP_FAILED)
    assert verified.message.startswith(f"Public/{HOST}:25: ")
    assert says in verified.message


def test_address_of_a_family_that_we_have_not_is_a_warning_and_not_dialled() -> None:
    """The pods are proven; that our cluster has no IPv6 is not the mail server's fault."""
    look = Look(Probe(routes=frozenset({Route.PODS, Route.PUBLIC}), public=PUBLIC))
    look.unroutable = {"2001:db8::1"}
    have = look.walk(look.begin())
    verified = look.verified(have)
    assert (verified.status, served(wanting(look.wants, have))) == (Truth.TRUE, ServedCount(3, 4))
    assert verified.message.startswith(f"3 of 4 endpoints serve the stored certificate. {PUBLIC_6}: PortBlocked: ")
    assert "has no IPv6" in verified.message
    assert PUBLIC_6 not in [where for _, places in look.prober.asked for where in places]


def test_public_name_that_leads_to_a_refused_address_fails_and_is_not_dialled() -> None:
    """A tenant must not learn what listens at a cloud's metadata service."""
    look = Look(Probe(routes=frozenset({Route.PODS, Route.PUBLIC}), public=PUBLIC))
    look.found = Found(("169.254.169.254", "2001:db8::1"))
    verified = look.verified(look.walk(look.begin()))
    assert (verified.status, verified.reason) == (Truth.FALSE, Reason.ADDRESS_REFUSED)
    assert "leads to 169.254.169.254, a link-local address" in verified.message
    assert "connections.allowedNetworks" in verified.message
    assert PUBLIC_6 in [where for _, places in look.prober.asked for where in places]
    assert not [where for _, places in look.prober.asked for where in places if "169.254" in where]


def test_changed_list_of_ways_drops_what_is_not_asked_for_any_more() -> None:
    """Who takes Service out of the list is not told about it for ever."""
    look = Look()
    look.faults[SERVICE_4] = OLD
    have = look.walk(look.begin())
    look.wants = wants(Probe(routes=frozenset({Route.PODS, Route.PUBLIC}), public=PUBLIC))
    fewer = look.walk(have.with_verification(routes=None))
    assert {each.target.route for each in fewer.verification.endpoints} == {Route.PODS, Route.PUBLIC}


def test_what_a_service_serves_proves_no_pod() -> None:
    """A Service may bear the name of a pod."""
    target = Target("10.96.0.7", SMTP, HOST, pod="postfix-0", workload="StatefulSet/postfix", route=Route.SERVICE)
    (own,) = targets((replace(STATE, workload=replace(POSTFIX, daemons=(Daemon("postfix", (SMTP,)),))),), HOST)
    now = WallClock().now()
    evidence = gather((Endpoint(target, now, served_sha256="aa"), Endpoint(own, now, served_sha256="00")), "aa")
    assert evidence["postfix-0", 25].target == own


def test_ways_that_differ_among_themselves_are_named_as_what_they_are() -> None:
    """Two addresses of one name are compared with each other, and not with the pods."""
    look = Look()
    have = look.walk(look.begin())
    odd = [
        replace(each, tls_version="TLSv1.2") if each.target.where == PUBLIC_6 else each
        for each in have.verification.endpoints
    ]
    verdict = look.verified(have.with_verification(endpoints=tuple(odd)))
    assert f"{HOST} port 25: what should be equal differs in TLS version" in verdict.message
    assert [each.reason for each in verdict.warnings] == [Reason.PODS_INCONSISTENT]


def test_metrics_tell_ways_from_pods_and_blocked_from_good() -> None:
    """An alert names the Service, and a port that nobody could reach is no success."""
    look, metrics = Look(), Metrics()
    look.faults[PUBLIC_4] = look.faults[PUBLIC_6] = Finding(Reason.PORT_BLOCKED, "No answer.", Severity.WARN)
    metrics.update(look.wants.key, Known(served=Served(look.walk(look.begin()).verification.endpoints)))
    text = metrics.text().decode()
    for pod, workload, success in (
        ("postfix-0", "StatefulSet/postfix", "1.0"),
        ("Service/mx", "StatefulSet/postfix", "1.0"),
        (f"Public/{HOST}", "", "0.0"),
    ):
        labels = f'name="mx",namespace="mail",pod="{pod}",port="25",workload="{workload}"'
        assert f"mailtls_endpoint_probe_success{{{labels}}} {success}" in text
    public = (
        f'name="mx",namespace="mail",pod="Public/{HOST}",port="25",reason="PortBlocked",severity="Warn",workload=""'
    )
    assert f"mailtls_endpoint_finding{{{public}}} 1.0" in text


# what is judged


def judged(route: Route, fault: Fault) -> Finding:
    """The verdict where the connection itself ends so."""
    target = Target("192.0.2.1", SMTP, HOST, pod="mx", route=route)
    (finding,) = judge(target, Expected("aa" * 32), Facts(Stop(Phase.CONNECT, fault)), WallClock().now()).findings
    return finding


@pytest.mark.parametrize("route", list(Route))
def test_silence_is_a_warning_from_outside_only(route: Route) -> None:
    """The filter may be before us; in the cluster there is none that should be."""
    finding = judged(route, Fault.TIMED_OUT)
    outside = (Reason.PORT_BLOCKED, Severity.WARN)
    assert (finding.reason, finding.severity) == (
        outside if route is Route.PUBLIC else (Reason.CONNECT_TIMEOUT, Severity.FAIL)
    )


@pytest.mark.parametrize("route", list(Route))
@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.UNREACHABLE])
def test_refusal_fails_by_every_way_and_tells_what_else_to_look_at(route: Route, fault: Fault) -> None:
    """Whoever answers is there; the words name the Service or the public address, and call neither a pod."""
    finding = judged(route, fault)
    assert finding.severity is Severity.FAIL
    assert ("The Service mx leads there" in finding.message) is (route is Route.SERVICE)
    assert ("the public address of mx" in finding.message) is (route is Route.PUBLIC)


# the spec


def probe_of(workloads: list[Json], **probe: Any) -> Probe:
    """What a spec asks of the probe."""
    metadata = {
        "namespace": "mail",
        "name": "mx",
        "uid": "uid-1",
        "generation": 1,
        "creationTimestamp": "2026-05-01T12:00:00Z",
    }
    spec = {"dnsNames": [HOST], "workloads": workloads, "probe": probe}
    acme = default_acme({"server": "letsencrypt", "solvers": [{"http01": {}}]}, "mailtls", SOLVERS)
    return parse_spec({"metadata": metadata, "spec": spec}, Defaults(SOLVERS, acme)).probe


def test_public_name_and_ports_follow_from_names_and_workloads() -> None:
    """LMTP is for the inside, and what a balancer adds is not sent by those who come to it."""
    ports = [
        {"port": 24, "protocol": "lmtp", "tlsMode": "StartTLS"},
        {"port": 25, "tlsMode": "StartTLS", "proxyProtocol": "V1", "xclientAddress": "192.0.2.9"},
    ]
    workloads = [{"kind": "StatefulSet", "name": "postfix", "ports": ports}]
    asked_for = probe_of(workloads, **{"from": ["Pods", "Public"]})
    assert asked_for.routes == {Route.PODS, Route.PUBLIC}
    assert asked_for.public == PublicName(HOST, (SMTP,))
    assert probe_of(workloads).public is None


def test_public_name_may_be_another_and_in_any_script() -> None:
    """It is dialled by its A-labels, on the ports that are given."""
    public = {"host": "mail.bücher.example", "ports": [{"port": 993, "protocol": "imap", "tlsMode": "Implicit"}]}
    found = probe_of([{"kind": "StatefulSet", "name": "postfix"}], **{"from": ["Pods", "Public"], "public": public})
    imaps = Port(993, TlsMode.IMPLICIT, TlsPolicy.ENFORCED, Protocol.IMAP)
    assert found.public == PublicName("mail.xn--bcher-kva.example", (imaps,))


def test_workloads_with_no_port_for_the_outside_want_a_list() -> None:
    """Looking from outside at nothing would be called verified."""
    workloads = [
        {"kind": "StatefulSet", "name": "dovecot", "ports": [{"port": 24, "protocol": "lmtp", "tlsMode": "StartTLS"}]}
    ]
    with pytest.raises(InvalidSpec, match=r"probe.public.ports: no port of the workloads is for the public route"):
        probe_of(workloads, **{"from": ["Pods", "Public"]})
