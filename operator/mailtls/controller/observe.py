"""Gathers what decisions look at: the resource, its Secrets, and what earlier passes of this process remember."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import random
from threading import Lock

from mailtls.api.reading.document import Json
from mailtls.api.reading.spec import RENEW, Defaults
from mailtls.api.resource import GROUP, resource_path
from mailtls.api.spec import Desired, Key
from mailtls.api.status import Status
from mailtls.api.status_json import read
from mailtls.domains.policy import still_named
from mailtls.issuance.guard import is_consumed
from mailtls.issuance.policy import may_have_left_an_order
from mailtls.issuance.references import roots_still_in_doubt
from mailtls.issuance.storage import noted
from mailtls.kube.claims import Claims
from mailtls.kube.interface import ApiError, Cluster, Unreachable
from mailtls.kube.secrets import Secrets
from mailtls.net.effects import ResourceChanged
from mailtls.observed import Observed, ServingSecret, Staged
from mailtls.reasons.reason import Finding, Reason
from mailtls.times import Clock
from mailtls.verification.routes import known_ways
from mailtls.verification.schedule import has_rolled_out, stands, still_failing

ASK_CA_AFTER_START = timedelta(hours=6)
READ_LASTS = timedelta(seconds=10)  # how long a pass that waits for the CA may go on from what it read


@dataclass(frozen=True, slots=True)
class _Memory:
    """What the last pass over a resource knew; `is_paused`: it only waits for the CA, and wrote all that there is."""

    uid: str
    seen: Observed
    is_paused: bool


@dataclass(frozen=True, slots=True)
class Observer:
    """Reads the world; keeps between passes only what can be had again by asking again."""

    cluster: Cluster
    secrets: Secrets
    claims: Claims
    clock: Clock
    defaults: Defaults
    _memory: dict[Key, _Memory] = field(default_factory=dict)
    _read_at: dict[Key, datetime] = field(default_factory=dict)
    _heard: set[Key] = field(default_factory=set)
    _unread: set[Key] = field(default_factory=set)
    _lock: Lock = field(default_factory=Lock)

    def heard(self, key: Key) -> None:
        """Learn that something may have changed: call it before a pass is asked for, which then reads all anew."""
        with self._lock:
            self._heard.add(key)
            self._unread.add(key)

    def paused(self, key: Key) -> Observed | None:
        """What a pass that waited for the CA goes on from, as if it had not ended; None where all must be read.

        It is what our own writes left a moment ago. Whoever wrote since is met as a conflict, or was heard of.
        """
        with self._lock:
            is_news = key in self._heard
            self._heard.discard(key)
            self._unread.discard(key)  # before the resource is read: what is heard later is news
            memory, read_at = self._memory.get(key), self._read_at.get(key)
        if is_news or memory is None or not memory.is_paused or read_at is None:
            return None
        return memory.seen if self.clock.now() - read_at < READ_LASTS else None

    def resource(self, key: Key) -> Json | None:
        """Return the resource as it is now; None when it is gone or on its way out."""
        with self._lock:
            self._read_at[key] = self.clock.now()
        found = self.cluster.get(resource_path(key))
        return None if found is None or found["metadata"].get("deletionTimestamp") else found

    def require_unchanged(self, key: Key, known: Json) -> None:
        """Raise `ResourceChanged` where a user decided something since `known` was read; cheap while nothing is heard.

        What cannot be read counts as changed: the next pass says why.
        """
        with self._lock:
            is_news = key in self._unread
            self._unread.discard(key)
        if not is_news:
            return
        try:
            found = self.cluster.get(resource_path(key))
        except (ApiError, Unreachable) as problem:
            raise ResourceChanged(str(problem)) from problem
        if found is None or _decided(found) != _decided(known):
            raise ResourceChanged(str(key))

    def observe(self, desired: Desired, resource: Json) -> Observed:
        """Gather; what an earlier pass knew of an order or an endpoint is kept while it is about the same."""
        known = read(resource.get("status") or {}).stored
        is_its_own = known is not None and known.name == desired.secret_name
        secret = self.secrets.serving(desired, known.uid if known is not None and is_its_own else None)
        staged, copy = self.secrets.beside(desired)
        if isinstance(staged, Finding):
            return self._seen(desired, resource, replace(secret, foreign=secret.foreign or staged), None)
        return self._seen(desired, resource, self.secrets.recognized(desired, secret, staged), staged, copy)

    def resume(self, desired: Desired, paused: Observed) -> Observed:
        """Gather again for a pass that goes on, but read nothing from the API server."""
        return self._seen(desired, paused.resource, paused.secret, paused.staged, paused.copy)

    def _seen(
        self,
        desired: Desired,
        resource: Json,
        secret: ServingSecret,
        staged: Staged | None,
        copy: ServingSecret | None = None,
    ) -> Observed:
        status = read(resource.get("status") or {})
        fresh = Observed(
            status=status,
            secret=secret,
            resource=resource,
            staged=staged,
            copy=copy,
            holder=self.claims.holder(desired.key.namespace, desired.secret_name),
            sharers=self.claims.sharers(desired.key),
            schedule=status.schedule,
            ask_ca_again_at=self.clock.now() + ASK_CA_AFTER_START * random(),  # noqa: S311 - spreads a restart
            handled_probe=status.handled_probe,
            deep_probed_at=status.deep_probed_at,
            domains=status.domains,
            leftovers_due_at=self.clock.now() if _may_have_left_an_order(desired, status, secret) else None,
        )
        before = self._recall(desired)
        seen = fresh if before is None else _carried(before, fresh, self.clock)
        seen = replace(
            seen,
            domains=still_named(desired, seen.domains),
            domains_asked=seen.domains_asked if desired.domains else None,
        )
        return noted(seen, self.clock.now()) if seen.staged and is_consumed(seen.staged, seen) else seen

    def _recall(self, desired: Desired) -> Observed | None:
        with self._lock:
            memory = self._memory.get(desired.key)
        return memory.seen if memory and memory.uid == desired.uid else None

    def remember(self, desired: Desired, seen: Observed, *, is_paused: bool = False) -> None:
        """Keep what this pass knows for the next."""
        with self._lock:
            self._memory[desired.key] = _Memory(desired.uid, seen, is_paused)

    def forget(self, key: Key) -> None:
        """Drop what is known of a resource that is gone."""
        with self._lock:
            self._memory.pop(key, None)
            self._read_at.pop(key, None)
            self._unread.discard(key)


def _may_have_left_an_order(desired: Desired, status: Status, secret: ServingSecret) -> bool:
    """Whether an order may be open in a staged Secret that is not the present one: an earlier name, or resource."""
    is_of_a_namesake = secret.foreign is not None and secret.foreign.reason is Reason.PENDING
    return is_of_a_namesake or may_have_left_an_order(desired.generation, status)


def _carried(before: Observed, fresh: Observed, clock: Clock) -> Observed:
    """Carry what earlier passes know over, each part while it still applies."""
    seen = replace(
        fresh,
        schedule=fresh.schedule or before.schedule,
        ask_ca_again_at=before.ask_ca_again_at if _is_same_wish(before, fresh) else clock.now(),
        stumbles=before.stumbles,
        leftovers_due_at=before.leftovers_due_at if _is_same_wish(before, fresh) else clock.now(),
        leftover=before.leftover,
        sights=before.sights,
        look_again_at=before.look_again_at,
        domains=before.domains,
        domains_asked=before.domains_asked,
    )
    seen = replace(seen, deep_probed_at=before.deep_probed_at, login_refusals=before.login_refusals)
    for carry in (_carry_news, _carry_refusal, _carry_intent, _carry_order, _carry_evidence, _carry_rollout):
        seen = carry(before, seen, clock)
    return seen


def _carry_news(before: Observed, seen: Observed, _clock: Clock) -> Observed:
    """What a pass learned and could not report, because it was cut short: a failed attempt, an issued certificate."""
    if before.status == read(before.resource.get("status") or {}):
        return seen
    status = replace(seen.status, attempts=before.status.attempts, history=before.status.history)
    return replace(seen, status=status, issued=before.issued, refused=before.refused)


def _carry_refusal(before: Observed, seen: Observed, clock: Clock) -> Observed:
    """A refusal holds back until its time, whatever wakes the resource; a changed spec or a wish lifts it."""
    failure = before.issue_failure
    if failure is None or not failure.lasts or failure.retry_at is None or failure.retry_at <= clock.now():
        return seen
    is_same = _is_same_wish(before, seen) and _renewal_wish(before) == _renewal_wish(seen)
    return replace(seen, issue_failure=failure) if is_same else seen


def _renewal_wish(seen: Observed) -> str | None:
    return (seen.resource.get("metadata", {}).get("annotations") or {}).get(RENEW)


def _carry_intent(before: Observed, seen: Observed, _clock: Clock) -> Observed:
    """A key that was staged by a pass which then stood in line: the CA has not heard of it yet."""
    known, staged = before.staged, seen.staged
    if known is None or staged is None or known.staged_at != staged.staged_at or staged.order_url is not None:
        return seen
    return replace(seen, is_fresh_intent=before.is_fresh_intent)


def _carry_order(before: Observed, seen: Observed, _clock: Clock) -> Observed:
    order, staged = before.order, seen.staged
    if order is None or staged is None or not staged.is_open or before.staged is None:
        return seen
    if before.staged.staged_at != staged.staged_at or staged.order_url not in (None, order.url):
        return seen
    is_asked = _renewal_wish(before) != _renewal_wish(seen)
    return replace(
        seen,
        order=order.hurried() if is_asked else order,
        presented=before.presented,
        published=before.published,
        presenting_since=before.presenting_since,
        hidden_by=before.hidden_by,
        looks=before.looks,
        was_resumed=before.was_resumed,
        wait_until=None if is_asked else before.wait_until,
    )


def _carry_evidence(before: Observed, seen: Observed, _clock: Clock) -> Observed:
    """What was right is trusted until the next sweep; what failed is asked again in every pass.

    A spec that has changed may ask more of the same servers, so that a sweep is due.
    """
    if not _is_same_certificate(before, seen):
        return seen
    return replace(
        seen,
        endpoints=tuple(endpoint for endpoint in before.endpoints if stands(endpoint)),
        set_aside=before.set_aside,
        roots=roots_still_in_doubt(before),
        look_at_roots_at=before.look_at_roots_at,
        ways=known_ways(before) if _is_same_wish(before, seen) else None,
        probed_at=before.probed_at if _is_same_wish(before, seen) else None,
        probed_depth=before.probed_depth,
        failing_since=still_failing(before),
        handled_probe=before.handled_probe or seen.handled_probe,
    )


def _carry_rollout(before: Observed, seen: Observed, clock: Clock) -> Observed:
    """A rollout goes on where it was; one that has ended, or was for another spec, leaves a clean sheet."""
    if not (_is_same_certificate(before, seen) and _is_same_wish(before, seen)) or has_rolled_out(before, clock.now()):
        return seen
    seen = replace(seen, rolls_failed=before.rolls_failed)
    failure = before.roll_failure
    if failure is None:
        return replace(seen, progress=before.progress)
    if failure.retry_at is not None and clock.now() < failure.retry_at:
        return replace(seen, progress=before.progress, roll_failure=failure)
    return seen  # the time of the next attempt has come: it begins with a clean sheet


def _decided(resource: Json) -> tuple[object, ...]:
    """What a user decides about a resource: its spec, its end, and requests by annotation."""
    meta = resource.get("metadata") or {}
    requests = {name: value for name, value in (meta.get("annotations") or {}).items() if name.startswith(f"{GROUP}/")}
    return (meta.get("uid"), meta.get("generation"), meta.get("deletionTimestamp"), requests)


def _is_same_wish(before: Observed, seen: Observed) -> bool:
    known, now = (each.resource.get("metadata", {}).get("generation") for each in (before, seen))
    return bool(known == now)


def _is_same_certificate(before: Observed, seen: Observed) -> bool:
    known, now = before.secret.certificate, seen.secret.certificate
    return known is not None and now is not None and known.sha256 == now.sha256
