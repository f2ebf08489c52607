"""What the probe's evidence proves about each pod, and refused logins that are not tried again."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from mailtls.context import Context
from mailtls.kube.workload import PodState, WorkloadState
from mailtls.probe.target import Endpoint, Route, Target
from mailtls.reasons.reason import Finding, Reason, Severity
from mailtls.reasons.software import Software
from mailtls.verification.state import LoginRefusal

Evidence = Mapping[tuple[str, int], Endpoint]
"""By pod name and port number; a pod with several addresses is as good as its worst one (`gather`)."""
UNREACHABLE = frozenset(
    {
        Reason.DNS_LOOKUP_FAILED,
        Reason.CONNECTION_REFUSED,
        Reason.CONNECT_TIMEOUT,
        Reason.NETWORK_UNREACHABLE,
        Reason.SERVER_BUSY,
        Reason.PROBE_DENIED,
        Reason.NO_BANNER,
        Reason.PROTOCOL_ERROR,
        Reason.PROXY_HEADER_MISSING,
        Reason.GREETING_HELD_BACK,
        Reason.MESH_INTERFERES,
        Reason.CLIENT_NAME_REFUSED,
        Reason.STARTTLS_MASKED,
    }
)
"""Faults that end the conversation before TLS, or lie in between: loading a certificate does not end them."""
PASSING = frozenset({Reason.POD_NOT_READY, Reason.PROBING, Reason.SERVER_BUSY})
"""Faults that time ends, so they are worth the whole time-out."""
WITHOUT_TLS = frozenset(
    {
        Reason.STARTTLS_UNAVAILABLE,
        Reason.STARTTLS_NOT_ADVERTISED,
        Reason.STARTTLS_REJECTED,
        Reason.TLS_HANDSHAKE_FAILED,
        Reason.CONNECTION_REFUSED,
        Reason.NO_BANNER,
    }
)
"""What a server that cannot read its key does."""
REFUSED = frozenset(
    {
        Reason.CERTIFICATE_EXPIRED,
        Reason.CERTIFICATE_NOT_YET_VALID,
        Reason.SELF_SIGNED,
        Reason.UNTRUSTED_ROOT,
        Reason.INCOMPLETE_CHAIN,
        Reason.CHAIN_INVALID,
        Reason.HOSTNAME_MISMATCH,
        Reason.WRONG_CERTIFICATE_PURPOSE,
    }
)
"""Why clients turn down the very certificate that is being rolled out: a reason to spare the other pods."""
AWAITED = frozenset({Reason.SERVING_OLD_CERTIFICATE, Reason.UNEXPECTED_CERTIFICATE})
"""Faults of a server that has not got the certificate yet: none while its turn has to wait."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """Why one pod does not prove the certificate; `port` None when it is the pod itself, `server` who answers there."""

    pod: PodState
    finding: Finding
    port: int | None = None
    server: str = ""

    @property
    def is_curable(self) -> bool:
        """Whether loading the certificate again may end it."""
        return self.finding.reason not in UNREACHABLE | PASSING | {Reason.KEY_UNREADABLE}


def targets(states: Iterable[WorkloadState], server_name: str) -> tuple[Target, ...]:
    """List what to probe: each port at each address of each ready pod that stays."""
    return _targets(states, server_name, ready=True)


def resting(states: Iterable[WorkloadState], server_name: str) -> tuple[Target, ...]:
    """List what would be probed if the pods that are not ready were."""
    return _targets(states, server_name, ready=False)


def _targets(states: Iterable[WorkloadState], server_name: str, *, ready: bool) -> tuple[Target, ...]:
    return tuple(
        Target(
            address,
            port,
            server_name,
            pod=pod.name,
            workload=str(state.workload),
            run=pod.run,
            software=state.workload.software_at(port),
        )
        for state in states
        for pod in state.living_pods
        if pod.ready is ready
        for port in state.workload.ports
        for address in pod.addresses
    )


def gather(endpoints: Iterable[Endpoint], wanted_sha256: str) -> Evidence:
    """Index endpoints by pod and port, keeping the worst of several addresses."""
    worst: dict[tuple[str, int], Endpoint] = {}
    for endpoint in endpoints:
        if endpoint.target.route is not Route.PODS:
            continue  # what a Service or a balancer leads to by chance proves no pod
        where = endpoint.target.pod, endpoint.target.port.port
        if where not in worst or _badness(endpoint, wanted_sha256) > _badness(worst[where], wanted_sha256):
            worst[where] = endpoint
    return worst


def evidence(context: Context) -> Evidence:
    """What is known of each pod's ports, held against the certificate that they should serve.

    Of a pod that is not ready: what its processes served while it was. Of a port that shows no certificate now: which
    one it showed before.
    """
    unready = frozenset(resting(context.snapshot.workloads or (), context.desired.server_name))
    shown = context.verification.shown
    # Only that they have it: nobody asks them now.
    before = {target: replace(shown[target], findings=()) for target in unready if target in shown}
    before |= {each.target: each for each in context.verification.set_aside if each.target in unready}
    now = (_remembering(each, shown.get(each.target)) for each in context.verification.endpoints)
    return gather((*before.values(), *now), context.leaf.sha256 if context.leaf else "")


def _remembering(endpoint: Endpoint, shown: Endpoint | None) -> Endpoint:
    if shown is None or endpoint.served_sha256 is not None:
        return endpoint
    return replace(endpoint, showed_sha256=shown.served_sha256)


def _badness(endpoint: Endpoint, wanted_sha256: str) -> tuple[bool, bool, bool]:
    return not has_proved(endpoint, wanted_sha256), not serves(endpoint, wanted_sha256), endpoint.failure is not None


def has_proved(endpoint: Endpoint, wanted_sha256: str) -> bool:
    """Whether the processes have the wanted leaf: they serve it, or did when they were last seen to serve any."""
    return wanted_sha256 in (endpoint.served_sha256, endpoint.showed_sha256)


def serves(endpoint: Endpoint, wanted_sha256: str) -> bool:
    """Whether the leaf that was seen is the wanted one; how clients like it is the probe's verdict."""
    return endpoint.served_sha256 == wanted_sha256


def clients_refuse(endpoint: Endpoint, wanted_sha256: str) -> bool:
    """Whether the wanted leaf is served, and turned down for what it is or how its chain is sent.

    A finding with a subject is on another certificate, which the server keeps for some of the names.
    """
    failure = endpoint.failure
    is_on_it = failure is not None and failure.reason in REFUSED and not failure.subject
    return serves(endpoint, wanted_sha256) and is_on_it


def flaws(state: WorkloadState, pod: PodState, evidence: Evidence, wanted_sha256: str) -> tuple[Flaw, ...]:
    """Name what is missing for `pod` to prove the certificate on every port; empty when it is proven."""
    if not pod.ready:
        why = f" {pod.key_fault.message}" if pod.key_fault is not None else ""
        where = f" on node {pod.node}" if pod.node else ""
        message = f"Pod {pod.name}{where} is not ready; see its events and log, and whether its node is Ready.{why}"
        return (Flaw(pod, Finding(Reason.POD_NOT_READY, message)),)
    if not state.workload.ports:
        return _unproven_by_annotation(pod, wanted_sha256)
    found = (_flaw(pod, port.port, evidence.get((pod.name, port.port)), wanted_sha256) for port in state.workload.ports)
    return tuple(_of_server(state, flaw) for flaw in found if flaw is not None)


def _of_server(state: WorkloadState, flaw: Flaw) -> Flaw:
    """Say who answers at the port, and why nobody may since its reload."""
    said = f"{flaw.finding.message}{_lost_its_port(state, flaw)}"
    return replace(flaw, server=state.server_in(flaw.pod, flaw.port), finding=replace(flaw.finding, message=said))


def _lost_its_port(state: WorkloadState, flaw: Flaw) -> str:
    """Name as the cause of a closed port that Exim cannot open it again: it gives its rights up before HUP."""
    if flaw.finding.reason is not Reason.CONNECTION_REFUSED or flaw.pod.reloaded_sha256 is None:
        return ""
    servers = zip(state.workload.daemons, flaw.pod.readers, strict=False)
    at_port = (each for each in servers if any(port.port == flaw.port for port in each[0].ports))
    container = next((reader.container for daemon, reader in at_port if daemon.software is Software.EXIM), None)
    if container not in flaw.pod.without_rights:
        return ""
    return (
        f" Exim may have lost it by its reload: container {container} has allowPrivilegeEscalation: false, and to open "
        "a port below 1024 again Exim needs its setuid bit. Set the sysctl net.ipv4.ip_unprivileged_port_start of the "
        "pod to 0, or set updateStrategy: Restart."
    )


def _flaw(pod: PodState, port: int, endpoint: Endpoint | None, wanted_sha256: str) -> Flaw | None:
    if endpoint is None:
        return Flaw(pod, Finding(Reason.PROBING, f"Port {port} of pod {pod.name} was not probed yet."), port)
    if serves(endpoint, wanted_sha256):
        return None
    if endpoint.failure is not None:
        return Flaw(pod, _with_key_fault(pod, endpoint.failure), port)
    return Flaw(pod, next(iter(endpoint.findings), _old_certificate(pod, port)), port)


def _with_key_fault(pod: PodState, found: Finding) -> Finding:
    """Name as the cause of a server without TLS that it cannot read its key, where the pod's spec says so."""
    if pod.key_fault is None or found.reason not in WITHOUT_TLS:
        return found
    if pod.key_fault.severity is Severity.FAIL:
        return replace(pod.key_fault, message=f"{pod.key_fault.message} The probe: {found.message}")
    return replace(found, message=f"{found.message} {pod.key_fault.message}")


def _unproven_by_annotation(pod: PodState, wanted_sha256: str) -> tuple[Flaw, ...]:
    """Without a port to probe, having been reloaded is all there is to know."""
    if wanted_sha256 in (pod.reloaded_sha256, pod.template_sha256):
        return ()
    message = f"Pod {pod.name} has no port to probe and was not reloaded with the certificate yet."
    return (Flaw(pod, Finding(Reason.SERVING_OLD_CERTIFICATE, message)),)


def _old_certificate(pod: PodState, port: int) -> Finding:
    return Finding(Reason.SERVING_OLD_CERTIFICATE, f"Port {port} of pod {pod.name} does not serve the certificate yet.")


def standing_refusals(context: Context, version: str, now: datetime) -> tuple[LoginRefusal, ...]:
    """Those that are younger than the interval, for the credentials as they are and the request as it was."""
    return tuple(
        each
        for each in context.verification.login_refusals
        if now < each.refused_at + context.desired.probe.interval
        and (each.version, each.request) == (version, context.desired.probe_requested)
    )


def refusals_in(asked: Iterable[Endpoint], version: str, request: str | None) -> tuple[LoginRefusal, ...]:
    """What to remember of these endpoints."""
    return tuple(
        LoginRefusal(each.target, found, each.checked_at, version, request)
        for each in asked
        for found in each.findings
        if found.reason is Reason.AUTH_FAILED
    )


def with_refusals(
    asked: Iterable[Endpoint], standing: tuple[LoginRefusal, ...], every: Iterable[Target]
) -> tuple[Endpoint, ...]:
    """Add what stands to endpoints that were asked without a login; where another one refused it, say so.

    `every` server that there is now: one in the place of a server that refused and is gone has not taken the login.
    """
    here = {_place(each) for each in every}
    known = {_place(each.target): each.finding for each in standing}
    gone = {_role(each.target): each.finding for each in standing if _place(each.target) not in here}
    return tuple(
        replace(
            each,
            findings=(
                *each.findings,
                known.get(_place(each.target)) or gone.get(_role(each.target)) or _spared(standing[0]),
            ),
        )
        if standing and each.target.port.is_for_users
        else each
        for each in asked
    )


def _role(target: Target) -> tuple[Route, str, int]:
    """What a pod that takes the place of another one has in common with it."""
    return target.route, target.workload, target.port.port


def _place(target: Target) -> tuple[str, str, str, int]:
    """A server, also after a restart."""
    return target.workload, target.pod, target.address, target.port.port


def _spared(refusal: LoginRefusal) -> Finding:
    where = f"port {refusal.target.port.port} of {refusal.target.pod}"
    message = (
        f"No login was tried: {where} refused it at {refusal.refused_at:%H:%M} UTC, and trying on might lock the "
        "account. It is tried again after the probe's interval, with other credentials, or by `mailtls probe-now`."
    )
    return Finding(Reason.AUTH_NOT_TRIED, message, Severity.WARN)
