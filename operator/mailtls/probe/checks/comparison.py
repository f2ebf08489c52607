"""Compares endpoints with each other: what should be equal and differs, and which ports nobody offers or can reach."""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from types import MappingProxyType
from typing import Final

from mailtls.probe.target import RELAY_PORT, Endpoint, Route, Target
from mailtls.reasons.reason import Finding, Reason, Severity


def differences(endpoints: Iterable[Endpoint]) -> tuple[Finding, ...]:
    """Name what differs between the endpoints of each workload and port, by one warning for each of them.

    Whoever serves another certificate than the stored one fails by a finding of its own. So do endpoints without TLS,
    which are left out.
    """
    served = sorted((each for each in endpoints if each.served_sha256), key=_group)
    groups = (list(group) for _, group in groupby(served, _group))
    return tuple(finding for group in groups if (finding := _difference_of_pods(group)))


def _difference_of_pods(group: list[Endpoint]) -> Finding | None:
    variants = {name: text for name, of in _ASPECTS.items() if (text := _variants(group, of))}
    if not variants:
        return None
    where = " port ".join(filter(None, (_owner(group[0].target), str(group[0].target.port.port))))
    return Finding(
        Reason.PODS_INCONSISTENT,
        f"{where}: what should be equal differs in {' and in '.join(variants)}, so that clients meet one or the other "
        "by chance: finish the rollout, and let all run the same image and configuration.",
        Severity.WARN,
        evidence="; ".join(variants.values()),
        subject=where,
    )


def _variants(group: list[Endpoint], of: Callable[[Endpoint], str]) -> str:
    """List who has what, empty when all have the same."""
    by_value: dict[str, list[str]] = {}
    for each in group:
        by_value.setdefault(of(each), []).append(_name(each.target))
    if len(by_value) == 1:
        return ""
    shown = list(by_value.items())[:_SHOWN]
    return ", ".join(f"{value or 'nothing'} at {' and '.join(sorted(set(pods))[:_SHOWN])}" for value, pods in shown)


def _owner(target: Target) -> str:
    return f"Services of {target.workload}" if target.route is Route.SERVICE else target.workload or _public(target)


def _public(target: Target) -> str:
    return target.pod if target.route is Route.PUBLIC else ""


def _name(target: Target) -> str:
    return target.pod if target.route is Route.PODS else f"{target.label} ({target.address})"


def _group(endpoint: Endpoint) -> tuple[str, str, int]:
    """Whom to compare with whom: on another route a server may well offer something else."""
    return endpoint.target.route, endpoint.target.workload, endpoint.target.port.port


_ASPECTS: Mapping[str, Callable[[Endpoint], str]] = {
    "certificate": lambda each: f"{each.served_sha256:.16}…",
    "TLS version": lambda each: each.tls_version or "",
    "capabilities": lambda each: " ".join(each.capabilities),
}
_SHOWN: Final = 3  # variants in one message, and addresses of each
_CLOSED: Final = frozenset({Reason.CONNECTION_REFUSED, Reason.CONNECT_TIMEOUT, Reason.NETWORK_UNREACHABLE})
_SUBMISSION: Final[Mapping[int, int]] = MappingProxyType({465: 587, 587: 465})  # each beside its twin
_FOR_WHOM: Final[Mapping[int, str]] = MappingProxyType(
    {465: "implicit TLS, which no attacker can strip", 587: "STARTTLS, which older mail programs know alone"}
)


def not_offered(endpoints: Iterable[Endpoint], named: Container[Target]) -> frozenset[Target]:
    """Return the ports that nobody named and that no address of a host answers on, while another of its ports does.

    Silence on port 25 is left to `with_blocked_ports`: it is as likely a filter between that drops it.
    """
    endpoints = tuple(endpoints)
    opened = {(each.target.pod, each.target.port.port) for each in endpoints if not _is_closed(each)}
    hosts = {host for host, _ in opened}
    return frozenset(
        each.target
        for each in endpoints
        if each.target not in named
        and _is_closed(each)
        and not _is_silent_relay(each)
        and each.target.pod in hosts
        and (each.target.pod, each.target.port.port) not in opened
    )


def with_lonely_submission(endpoints: Sequence[Endpoint], missing: Iterable[Target]) -> tuple[Endpoint, ...]:
    """Warn where a host offers one port for submission and not the other (RFC 8314 section 3.3: both, for now)."""
    alone = {(target.pod, _SUBMISSION[target.port.port]) for target in missing if target.port.port in _SUBMISSION}
    return tuple(
        _with(each, _lonely(each.target)) if _place(each) in alone and not _is_closed(each) else each
        for each in endpoints
    )


def with_blocked_ports(endpoints: Sequence[Endpoint]) -> tuple[Endpoint, ...]:
    """Take silence on port 25 for a filter, unless another server answers on it in the same address family."""
    open_families = {
        _family(each) for each in endpoints if each.target.port.port == RELAY_PORT and not _is_closed(each)
    }
    return tuple(
        replace(each, findings=(_blocked(each.target),))
        if _is_silent_relay(each) and _family(each) not in open_families
        else each
        for each in endpoints
    )


def with_differences(endpoints: Sequence[Endpoint]) -> tuple[Endpoint, ...]:
    """Warn at each address of a name that another address of it serves another certificate on the same port."""
    served = sorted((each for each in endpoints if each.served_sha256), key=_name_and_port)
    groups = (list(group) for _, group in groupby(served, _name_and_port))
    found = {each.target: finding for group in groups if (finding := _difference_of_addresses(group)) for each in group}
    return tuple(_with(each, found[each.target]) if each.target in found else each for each in endpoints)


def _is_closed(endpoint: Endpoint) -> bool:
    return endpoint.failure is not None and endpoint.failure.reason in _CLOSED


def _is_silent_relay(endpoint: Endpoint) -> bool:
    is_silent = endpoint.failure is not None and endpoint.failure.reason is Reason.CONNECT_TIMEOUT
    return is_silent and endpoint.target.port.port == RELAY_PORT


def _place(endpoint: Endpoint) -> tuple[str, int]:
    return endpoint.target.pod, endpoint.target.port.port


def _name_and_port(endpoint: Endpoint) -> tuple[str, int]:
    return endpoint.target.server_name, endpoint.target.port.port


def _family(endpoint: Endpoint) -> bool:
    return ":" in endpoint.target.address


def _with(endpoint: Endpoint, finding: Finding) -> Endpoint:
    return replace(endpoint, findings=(*endpoint.findings, finding))


def _lonely(target: Target) -> Finding:
    twin = _SUBMISSION[target.port.port]
    return Finding(
        Reason.SUBMISSION_PORT_MISSING,
        f"{target.pod} takes mail from users on port {target.port.port}, but not on {twin}: offer {twin} too, for "
        f"{_FOR_WHOM[twin]}.",
        Severity.WARN,
    )


def _blocked(target: Target) -> Finding:
    return Finding(
        Reason.PORT_BLOCKED,
        f"Port {target.port.port} of {target.address} does not answer from here: many providers block outgoing port "
        "25, or a firewall drops the packets, or the address leads nowhere. To be sure, probe from elsewhere, such as "
        "from a server that sends mail.",
        Severity.WARN,
    )


def _difference_of_addresses(group: Sequence[Endpoint]) -> Finding | None:
    by_leaf: dict[str, list[str]] = {}
    for each in group:
        by_leaf.setdefault(each.served_sha256 or "", []).append(each.target.address)
    if len(by_leaf) == 1:
        return None
    target = group[0].target
    return Finding(
        Reason.PODS_INCONSISTENT,
        f"The addresses of {target.server_name} serve {len(by_leaf)} different certificates on port "
        f"{target.port.port}, so that clients meet one or the other by chance: renew or reload where it was forgotten.",
        Severity.WARN,
        evidence="; ".join(
            f"{leaf:.16}… at {_listed(addresses)}" for leaf, addresses in list(by_leaf.items())[:_SHOWN]
        ),
    )


def _listed(addresses: Sequence[str]) -> str:
    more = f" and {len(addresses) - _SHOWN} more" if len(addresses) > _SHOWN else ""
    return ", ".join(addresses[:_SHOWN]) + more
