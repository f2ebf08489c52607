"""What lies between a probe and the pods, where it comes by a Service or from outside."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from mailtls.lifecycle.probe.seen import Seen
from mailtls.model.probe.endpoint import Target
from mailtls.model.probe.talk import Fault, Phase
from mailtls.model.probe.way import Way
from mailtls.model.reason import Finding, Reason, Severity


def port_is_blocked(seen: Seen) -> Finding | None:
    """From outside nobody answers: as likely a filter before us as one before the server, so no verdict on it."""
    stop = seen.facts.stopped(Phase.CONNECT)
    if seen.target.way is not Way.PUBLIC or stop is None or stop.fault is not Fault.TIMED_OUT:
        return None
    return Finding(
        Reason.PORT_BLOCKED,
        f"Port {seen.port} of {seen.target.address} does not answer from here: many providers block outgoing port 25, "
        "or a firewall drops the packets, or the address leads nowhere. Ask from elsewhere by `mailtls probe "
        f"{seen.target.pod}`.",
        Severity.WARN,
    )


def with_directions(target: Target, finding: Finding) -> Finding:
    """Say what else than the pod may be at fault."""
    if finding.severity is Severity.WARN or target.way not in _DIRECTIONS:
        return finding
    return replace(finding, message=f"{finding.message} {_DIRECTIONS[target.way](target)}")


def _by_service(target: Target) -> str:
    return (
        f"The Service {target.pod} leads there: see that its selector and targetPort match pods of {target.workload} "
        "only, and that these are ready."
    )


def _from_outside(target: Target) -> str:
    return (
        f"This answers at {target.address}, the public address of {target.pod}: a balancer, proxy or middlebox before "
        "the pods may do other than they, or the DNS record is wrong."
    )


_DIRECTIONS: Final[Mapping[Way, Callable[[Target], str]]] = MappingProxyType(
    {Way.SERVICE: _by_service, Way.PUBLIC: _from_outside}
)
