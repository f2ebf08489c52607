"""Compares the endpoints of one workload: pods, or addresses of one name, that should be equal."""

from collections.abc import Callable, Iterable, Mapping
from itertools import groupby

from mailtls.model.probe.endpoint import Endpoint, Target
from mailtls.model.probe.way import Way
from mailtls.model.reason import Finding, Reason, Severity

SHOWN = 3  # variants in one message


def differences(endpoints: Iterable[Endpoint]) -> tuple[Finding, ...]:
    """Name what differs between the endpoints of each workload and port, by one warning for each of them.

    Whoever serves another certificate than the stored one fails by a finding of its own. So do endpoints without TLS,
    which are left out.
    """
    served = sorted((each for each in endpoints if each.served_sha256), key=_place)
    groups = (list(group) for _, group in groupby(served, _place))
    return tuple(finding for group in groups if (finding := _difference(group)))


def _difference(group: list[Endpoint]) -> Finding | None:
    told = {name: text for name, of in _ASPECTS.items() if (text := _variants(group, of))}
    if not told:
        return None
    where = " port ".join(filter(None, (_owner(group[0].target), str(group[0].target.port.port))))
    return Finding(
        Reason.PODS_INCONSISTENT,
        f"{where}: what should be equal differs in {' and in '.join(told)}, so that clients meet one or the other by "
        "chance: finish the rollout, and let all run the same image and configuration.",
        Severity.WARN,
        evidence="; ".join(told.values()),
        subject=where,
    )


def _variants(group: list[Endpoint], of: Callable[[Endpoint], str]) -> str:
    """Tell who has what, empty when all have the same."""
    by_value: dict[str, list[str]] = {}
    for each in group:
        by_value.setdefault(of(each), []).append(_name(each.target))
    if len(by_value) == 1:
        return ""
    shown = list(by_value.items())[:SHOWN]
    return ", ".join(f"{value or 'nothing'} at {' and '.join(sorted(set(pods))[:SHOWN])}" for value, pods in shown)


def _owner(target: Target) -> str:
    return f"Services of {target.workload}" if target.way is Way.SERVICE else target.workload or _public(target)


def _public(target: Target) -> str:
    return target.pod if target.way is Way.PUBLIC else ""


def _name(target: Target) -> str:
    return target.pod if target.way is Way.PODS else f"{target.label} ({target.address})"


def _place(endpoint: Endpoint) -> tuple[str, str, int]:
    """Whom to compare with whom: by another way a server may well offer something else."""
    return endpoint.target.way, endpoint.target.workload, endpoint.target.port.port


_ASPECTS: Mapping[str, Callable[[Endpoint], str]] = {
    "certificate": lambda each: f"{each.served_sha256:.16}…",
    "TLS version": lambda each: each.tls_version or "",
    "capabilities": lambda each: " ".join(each.capabilities),
}
