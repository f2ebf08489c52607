"""Refusals of the trial login: while one stands, none is tried, as a server may lock out who tries too often.

It stands for the probe's interval, whatever else has pods asked again: another fault, a new pod, a deep probe.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from mailtls.model.observed import LoginRefusal, Observed
from mailtls.model.reason import Finding, Reason, Severity
from mailtls.model.spec import Desired
from mailtls.probe.target import Endpoint, Target


def standing_refusals(desired: Desired, seen: Observed, version: str, now: datetime) -> tuple[LoginRefusal, ...]:
    """Those that are younger than the interval, for the credentials as they are and the wish as it was."""
    return tuple(
        each
        for each in seen.login_refusals
        if now < each.refused_at + desired.probe.interval
        and (each.version, each.wish) == (version, desired.probe_requested)
    )


def refusals_in(asked: Iterable[Endpoint], version: str, wish: str | None) -> tuple[LoginRefusal, ...]:
    """What to remember of these endpoints."""
    return tuple(
        LoginRefusal(each.target, found, each.checked_at, version, wish)
        for each in asked
        for found in each.findings
        if found.reason is Reason.AUTH_FAILED
    )


def with_refusals(asked: Iterable[Endpoint], standing: tuple[LoginRefusal, ...]) -> tuple[Endpoint, ...]:
    """Add what stands to endpoints that were asked without a login; where another one refused it, say so."""
    known = {_place(each.target): each.finding for each in standing}
    return tuple(
        replace(each, findings=(*each.findings, known.get(_place(each.target)) or _spared(standing[0])))
        if standing and each.target.port.is_for_users
        else each
        for each in asked
    )


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
