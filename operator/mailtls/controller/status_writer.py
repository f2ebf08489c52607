"""Reports a reconcile: status, Events and metrics, each only when something changed."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from mailtls.api.reading.document import InvalidSpec, Json
from mailtls.api.reading.spec import secret_name
from mailtls.api.resource import resource_path
from mailtls.api.spec import Key
from mailtls.api.state import Failure
from mailtls.api.status import Condition, ConditionType, OpenOrder, Report, Status, Truth
from mailtls.api.status_json import read, write, write_conditions
from mailtls.context import Context
from mailtls.controller.conditions import conditions, interruption, linked, refusal
from mailtls.controller.events import Events
from mailtls.issuance.guard import to_remember
from mailtls.issuance.state import IssuanceState
from mailtls.issuance.storage import warnings
from mailtls.kube.interface import ApiError, Cluster
from mailtls.metrics import Metrics
from mailtls.reasons.reason import FOUND_BY_DEEP_PROBES, Finding, Reason
from mailtls.resource_metrics import Known, Served, Stored
from mailtls.rollout.conditions import summary
from mailtls.rollout.going_back import with_proof
from mailtls.rollout.policy import shared
from mailtls.times import Clock, parse_rfc3339
from mailtls.verification.conditions import served, while_held
from mailtls.verification.evidence import resting

PASSING = frozenset({Reason.PENDING, Reason.ISSUING, Reason.ROLLING_OUT, Reason.PROBING})  # no Event for being at work
CHECK_LAG: Final = timedelta(seconds=30)
"""How far `checkedAt` in the status may lag behind: in a rollout each pod is probed every few seconds."""
OF_PODS = frozenset({"endpoints", "served", "endpointsServed", "endpointsTotal", "rollout"})  # of the status
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Reporter:
    """Reports to users what is; `docs_url` is where they find more, with `{page}` in it."""

    cluster: Cluster
    metrics: Metrics
    clock: Clock
    docs_url: str | None = None
    _events: Events = field(init=False)

    def __post_init__(self) -> None:
        """Count Events for as long as this one lives."""
        object.__setattr__(self, "_events", Events(self.cluster, self.clock))

    def report(self, context: Context, now: datetime) -> Json:
        """Write the status where it differs from the one that was read, post transitions; return the new object.

        `now` is when the last step was decided on, so that what is said and what is done agree.
        """
        context = while_held(context, now)
        said = linked(conditions(context, now), self.docs_url)
        stored = with_proof(to_remember(context), context, now)
        context = context.with_snapshot(status=replace(context.snapshot.status, stored=stored))
        shown = write(report_of(context, said, now, self.docs_url))
        if context.desired.suspend:  # nobody looks at the pods, so what was last seen of them stands
            shown = {name: value for name, value in shown.items() if name not in OF_PODS}
        # before the status: who waits for a condition finds its metrics
        self.metrics.update(context.desired.key, known_of(context, said))
        written = self._write(context.snapshot.resource, shown)
        is_news = context.snapshot.status.attempts != context.snapshot.reported.attempts
        self._post_transitions(
            context.snapshot.resource, said, context.snapshot.reported, context.issuance, is_news=is_news
        )
        self._post_domains(context.snapshot.resource, said, context.snapshot.reported)
        self._post_late_issuer(context.snapshot.resource, said, context.snapshot.reported)
        for warning in warnings(context) if context.issuance.issued is not None else ():
            self._events.post(context.snapshot.resource, "Warning", str(warning.reason), warning.message)
        self._post_sharers(context)
        if _has_rolled_out(context, said):
            self.metrics.rollout_ended("succeeded", _seconds_rolling(context, self.clock))
        return written

    def refuse(self, resource: Json, finding: Finding) -> None:
        """Say that the spec cannot be used, and why; what was known of a certificate stays in the status."""
        meta, before = resource["metadata"], read(resource.get("status") or {})
        said = linked(refusal(finding, before, meta["generation"], self.clock.now()), self.docs_url)
        self._write(resource, write_conditions(meta["generation"], said, self.docs_url))
        self._post_transitions(resource, said, before, IssuanceState(), is_news=False)
        self.metrics.update(_key(meta), Known(conditions=said))

    def cut_short(self, resource: Json, finding: Finding) -> None:
        """Say what ended a reconcile before it could report; all else that was known stays in the status.

        The metric and the Event come first: they are all there is where the status cannot be written. Raises what keeps
        it from being written.
        """
        meta, before = resource["metadata"], read(resource.get("status") or {})
        said = linked(interruption(finding, before, meta["generation"], self.clock.now()), self.docs_url)
        self.metrics.update(_key(meta), Known(conditions=said))
        self._post_transitions(resource, said, before, IssuanceState(), is_news=False)
        self._write(resource, write_conditions(meta["generation"], said, self.docs_url))

    def unreadable(self, key: Key, finding: Finding) -> None:
        """Say by metric and Event why a resource cannot be read, which so has no status to write."""
        meta = {"namespace": key.namespace, "name": key.name}
        said = interruption(finding, read({}), 0, self.clock.now())
        self.metrics.update(key, Known(conditions=said))
        self._events.post({"metadata": meta}, "Warning", str(finding.reason), finding.message)

    def restore(self, resource: Json) -> None:
        """Show what the last leader reported, until this one knows better: an alert must not miss a restart."""
        status, stored = read(resource.get("status") or {}), None
        with suppress(InvalidSpec, ValueError, AttributeError):  # one odd resource must not keep us from starting
            expiry = (resource.get("status") or {}).get("certificate", {}).get("notAfter")
            if expiry and status.schedule:
                stored = Stored(secret_name(resource), parse_rfc3339(expiry), status.schedule.renewal_at)
        known = Known(stored, domains=status.domains, conditions=status.conditions)
        self.metrics.update(_key(resource["metadata"]), known)

    def forget(self, key: Key) -> None:
        """Drop the metrics of a resource that is gone."""
        self.metrics.forget(key)

    def _write(self, resource: Json, status: Json) -> Json:
        before, meta = resource.get("status") or {}, resource["metadata"]
        after = _stripped(before | status)
        if not _is_news(before, after):
            return resource | {"status": before}
        try:
            self.cluster.report(resource_path(_key(meta)), meta["uid"], before, after)
        except ApiError as error:
            if not error.is_missing:  # deleted meanwhile: nobody is left to report to
                raise
        return resource | {"status": after}

    def _post_transitions(
        self, resource: Json, said: Iterable[Condition], reported: Status, issuance: IssuanceState, *, is_news: bool
    ) -> None:
        ready = next(each for each in said if each.type is ConditionType.READY)
        before = reported.condition(ConditionType.READY)
        changed = before is None or (before.status, before.reason) != (ready.status, ready.reason)
        issued, failure = issuance.issued, issuance.failure
        is_good = ready.status is Truth.TRUE
        has_failed = failure is not None and failure.is_final and is_news
        has_failed = has_failed or _is_new_refusal(failure, reported, said)
        if issuance.refused is not None:
            self._events.post(resource, "Warning", str(issuance.refused.event), issuance.refused.message)
        if failure is not None and has_failed:
            self._events.post(resource, "Warning", str(failure.finding.reason), failure.finding.message)
        elif issued is not None:
            self._events.post(resource, "Normal", str(issued.event), issued.message)
        is_reported = has_failed or (is_good and issued is not None)  # but a new certificate hides no trouble with it
        if changed and not is_reported and (is_good or _is_trouble(ready)):
            self._events.post(resource, "Normal" if is_good else "Warning", str(ready.reason), ready.message)
        if changed:
            log.info("ready" if ready.status is Truth.TRUE else "not ready", reason=ready.reason, message=ready.message)

    def _post_sharers(self, context: Context) -> None:
        """Report once that another resource names a workload of this one, and again when it is another one."""
        warning, before = shared(context), context.snapshot.status.condition(ConditionType.ROLLED_OUT)
        if warning is not None and (before is None or warning.message not in before.message):
            self._events.post(context.snapshot.resource, "Warning", str(warning.reason), warning.message)

    def _post_late_issuer(self, resource: Json, said: Iterable[Condition], reported: Status) -> None:
        """Report once that whoever writes the Secret has not renewed: what is there serves, so Ready says nothing."""
        now = next(each for each in said if each.type is ConditionType.ISSUED)
        before = reported.condition(ConditionType.ISSUED)
        if now.reason is Reason.RENEWAL_MISSING and (before is None or before.reason is not now.reason):
            self._events.post(resource, "Warning", str(now.reason), now.message)

    def _post_domains(self, resource: Json, said: Iterable[Condition], reported: Status) -> None:
        """Report when what the domains publish became worse, or good again."""
        now = next((each for each in said if each.type is ConditionType.DOMAIN_HEALTHY), None)
        before = reported.condition(ConditionType.DOMAIN_HEALTHY)
        if now is None or now.status is Truth.UNKNOWN:
            return
        if before is not None and (before.status, before.reason) == (now.status, now.reason):
            return
        self._events.post(resource, "Normal" if now.status is Truth.TRUE else "Warning", str(now.reason), now.message)


def known_of(context: Context, said: Iterable[Condition]) -> Known:
    """Gather what the metrics show; nothing where this reconcile did not find it out."""
    snapshot, desired = context.snapshot, context.desired
    certificate, stored, served_now = snapshot.secret.certificate, None, None
    if certificate is not None and not snapshot.secret.is_placeholder:
        renewal_at = context.issuance.schedule.renewal_at if context.issuance.schedule else None
        stored = Stored(desired.secret_name, certificate.not_after, renewal_at)
    if snapshot.workloads is not None:
        served_now = Served(context.verification.endpoints, resting(snapshot.workloads, desired.server_name))
    return Known(stored, served_now, context.domains.reports, said)


def report_of(context: Context, said: Iterable[Condition], now: datetime, docs_url: str | None = None) -> Report:
    """Gather what the status shows."""
    snapshot, secret = context.snapshot, context.snapshot.secret
    status = snapshot.status
    return Report(
        generation=context.desired.generation,
        conditions=tuple(said),
        certificate=None if secret.is_placeholder else secret.certificate,
        schedule=context.issuance.schedule,
        stored=status.stored,
        order=_open_order(context),
        attempts=status.attempts,
        endpoints=context.verification.endpoints,
        served=served(context),
        rollout=summary(context, now),
        deep_probed_at=_deep_probed_at(context),
        domains=context.domains.reports,
        history=status.history,
        handled={
            "renew": secret.handled_renew,
            "probe": _handled_probe(context),
            "rollback": secret.handled_rollback,
        },
        docs_url=docs_url,
    )


def _open_order(context: Context) -> OpenOrder | None:
    staged = context.snapshot.staged
    ours = staged if staged is not None and staged.is_open else context.issuance.leftover
    return OpenOrder(ours.order_url, ours.staged_at) if ours else None


def _deep_probed_at(context: Context) -> datetime | None:
    """None while something was found: no status holds that, so a new process has to find it again."""
    found = (finding for each in context.verification.endpoints for finding in each.findings)
    return None if any(each.reason in FOUND_BY_DEEP_PROBES for each in found) else context.verification.deep_probed_at


def _handled_probe(context: Context) -> str | None:
    """A request for a probe is handled when the domains were checked, too; that comes after the pods.

    Where there is neither a pod nor a domain, there is nothing that it has to wait for.
    """
    desired = context.desired
    if desired.probe_requested is not None and not (desired.workloads or desired.domains or desired.suspend):
        return desired.probe_requested
    asked, handled = context.domains.last_check, context.verification.handled_probe
    return handled if asked is None or asked.probe_requested == handled else context.snapshot.status.handled_probe


def _is_new_refusal(failure: Failure | None, reported: Status, said: Iterable[Condition]) -> bool:
    """Whether a refusal that lasts is said for the first time: a renewal that waits leaves Ready as it is."""
    if failure is None or not failure.lasts:
        return False
    before = reported.condition(ConditionType.ISSUED)
    issued = next(each for each in said if each.type is ConditionType.ISSUED)
    return before is None or before.message != issued.message


def _has_rolled_out(context: Context, said: Iterable[Condition]) -> bool:
    """Whether this reconcile saw the end of a rollout in which a pod was reloaded or restarted."""
    before = context.snapshot.status.condition(ConditionType.ROLLED_OUT)
    was_out = before is not None and before.status is Truth.TRUE
    is_out = any(each.type is ConditionType.ROLLED_OUT and each.status is Truth.TRUE for each in said)
    has_acted = context.rollout.progress is not None and bool(context.rollout.progress.acted_at)
    return is_out and has_acted and (not was_out or context.issuance.issued is not None)


def _seconds_rolling(context: Context, clock: Clock) -> float:
    return (clock.now() - context.rollout.progress.started_at).total_seconds() if context.rollout.progress else 0.0


def _stripped(value: Any) -> Any:
    """What is kept of a value: None says that there is nothing."""
    if not isinstance(value, dict):
        return value
    return {name: _stripped(each) for name, each in value.items() if each is not None}


def _is_news(before: Json, after: Json) -> bool:
    """Whether a status tells a reader more than that endpoints were probed again a moment later, and are as before."""
    (old, old_times), (new, new_times) = _without_times(before), _without_times(after)
    return old != new or any(map(_lags, old_times, new_times))


def _without_times(status: Json) -> tuple[Json, list[str]]:
    endpoints = [dict(each) for each in status.get("endpoints") or ()]
    times = [each.pop("checkedAt", "") for each in endpoints]
    return status | {"endpoints": endpoints}, times


def _lags(then: str, now: str) -> bool:
    try:
        return then != now and abs(parse_rfc3339(now) - parse_rfc3339(then)) >= CHECK_LAG
    except ValueError:  # whoever may write the status wrote it, or one is missing
        return True


def _is_trouble(ready: Condition) -> bool:
    return ready.reason not in PASSING


def _key(meta: Json) -> Key:
    return Key(meta["namespace"], meta["name"])
