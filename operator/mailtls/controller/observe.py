"""Gathers what decisions look at: the resource, its Secrets, and what earlier reconciles of this process remember."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import random
from threading import Lock

from mailtls.api.reading.document import Json
from mailtls.api.reading.spec import Defaults
from mailtls.api.resource import decided, resource_path
from mailtls.api.spec import Desired, Key
from mailtls.api.status_json import read
from mailtls.context import Context, carried
from mailtls.domains.state import DomainsState
from mailtls.issuance.guard import is_consumed
from mailtls.issuance.policy import may_have_left_an_order
from mailtls.issuance.state import IssuanceState
from mailtls.issuance.storage import noted
from mailtls.kube.claims import Claims
from mailtls.kube.interface import ApiError, Cluster, Unreachable
from mailtls.kube.secrets import Secrets
from mailtls.kube.snapshot import Snapshot
from mailtls.net import tracing
from mailtls.net.effects import ResourceChanged
from mailtls.reasons.reason import Finding, Reason
from mailtls.rollout import going_back
from mailtls.times import Clock
from mailtls.verification.schedule import has_rolled_out, waiting_for_their_turn
from mailtls.verification.state import VerificationState

ASK_CA_AFTER_START = timedelta(hours=6)
READ_LASTS = timedelta(seconds=10)  # how long a reconcile that waits for the CA may go on from what it read


@dataclass(frozen=True, slots=True)
class _Memory:
    """What the last reconcile of a resource knew; `is_paused`: it only waits for the CA, and wrote all there is."""

    context: Context
    is_paused: bool


@dataclass(frozen=True, slots=True)
class Observer:
    """Reads the world; keeps between reconciles only what can be had again by asking again."""

    cluster: Cluster
    secrets: Secrets
    claims: Claims
    clock: Clock
    defaults: Defaults
    _memory: dict[Key, _Memory] = field(default_factory=dict)
    _read_at: dict[Key, datetime] = field(default_factory=dict)
    _with_event: set[Key] = field(default_factory=set)
    _unread: set[Key] = field(default_factory=set)
    _lock: Lock = field(default_factory=Lock)

    def note_event(self, key: Key) -> None:
        """Learn that something may have changed: call it before a reconcile is asked for, which then reads all anew."""
        with self._lock:
            self._with_event.add(key)
            self._unread.add(key)

    def paused(self, key: Key) -> Context | None:
        """What a reconcile that waited for the CA goes on from, as if it had not ended; None where all must be read.

        It is what our own writes left a moment ago. Whoever wrote since is met as a conflict, or by an event.
        """
        with self._lock:
            is_news = key in self._with_event
            self._with_event.discard(key)
            tracing.note(trigger="Event" if is_news else "Timer")
            self._unread.discard(key)  # before the resource is read: a later event is news
            memory, read_at = self._memory.get(key), self._read_at.get(key)
            if memory is None:
                return None
            is_recent = read_at is not None and self.clock.now() - read_at < READ_LASTS
            if memory.is_paused and is_recent and not is_news:
                return memory.context
            # Even where not all can be read now: what was paused is older than what this reconcile reads of it.
            self._memory[key] = replace(memory, is_paused=False)
            return None

    def resource(self, key: Key) -> Json | None:
        """Return the resource as it is now; None when it is gone or on its way out.

        Where it cannot be read, its event still counts: no reconcile goes on from what it knew.
        """
        read_at = self.clock.now()
        try:
            found = self.cluster.get(resource_path(key))
        except Exception:
            with self._lock:
                self._with_event.add(key)
            raise
        with self._lock:
            self._read_at[key] = read_at
        return None if found is None or found["metadata"].get("deletionTimestamp") else found

    def require_unchanged(self, key: Key, known: Json) -> None:
        """Raise `ResourceChanged` where a user decided something since `known` was read; cheap without an event.

        What cannot be read counts as changed: the next reconcile says why.
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
        if found is None or decided(found) != decided(known):
            raise ResourceChanged(str(key))

    def observe(self, desired: Desired, resource: Json) -> Context:
        """Gather; what an earlier reconcile knew of an order or an endpoint is kept while it is about the same."""
        status = read(resource.get("status") or {})
        known = status.stored
        is_its_own = known is not None and known.name == desired.secret_name and not known.is_from_elsewhere
        secret = self.secrets.serving(desired, known.uid if known is not None and is_its_own else None)
        staged, copy = (None, None) if desired.is_external else self.secrets.beside(desired)
        if isinstance(staged, Finding):
            secret, staged, copy = replace(secret, foreign=secret.foreign or staged), None, None
        else:
            secret = self.secrets.recognized(desired, secret, staged)
        found = Snapshot(resource=resource, status=status, reported=status, secret=secret, staged=staged, copy=copy)
        return self._context(desired, found)

    def resume(self, paused: Context) -> Context:
        """Gather again for a reconcile that goes on, but read nothing from the API server."""
        known = paused.snapshot
        return self._context(paused.desired, replace(known, status=known.reported, workloads=None))

    def _context(self, desired: Desired, found: Snapshot) -> Context:
        # Who only reads a Secret takes it from nobody.
        holder = None if desired.is_external else self.claims.holder(desired.key.namespace, desired.secret_name)
        found = replace(found, holder=holder, sharers=self.claims.sharers(desired.key))
        now, before = self.clock.now(), self._recall(desired)
        context = _fresh(desired, found, now)
        if before is not None:
            is_out, waiting = has_rolled_out(before, now), waiting_for_their_turn(before, now)
            context = carried(before, context, now, has_rolled_out=is_out, waiting=waiting)
        staged = context.snapshot.staged
        context = noted(context, now) if staged and is_consumed(staged, context) else context
        return going_back.noted(context, now)

    def _recall(self, desired: Desired) -> Context | None:
        with self._lock:
            memory = self._memory.get(desired.key)
        return memory.context if memory and memory.context.desired.uid == desired.uid else None

    def remember(self, context: Context, *, is_paused: bool = False) -> None:
        """Keep what this reconcile knows for the next."""
        with self._lock:
            self._memory[context.desired.key] = _Memory(context, is_paused)

    def forget(self, key: Key) -> None:
        """Drop what is known of a resource that is gone."""
        with self._lock:
            self._memory.pop(key, None)
            self._read_at.pop(key, None)
            self._unread.discard(key)


def _fresh(desired: Desired, found: Snapshot, now: datetime) -> Context:
    """Return what a process without memory begins with: what the status says of earlier ones."""
    status = found.status
    issuance = IssuanceState(
        schedule=status.schedule,
        renewal_info_due_at=now + ASK_CA_AFTER_START * random(),  # noqa: S311 - spreads a restart
        leftovers_due_at=now if _may_have_left_an_order(desired, found) else None,
    )
    verification = VerificationState(handled_probe=status.handled_probe, deep_probed_at=status.deep_probed_at)
    domains = DomainsState(reports=status.domains).of(desired.domains)
    return Context(desired, found, issuance=issuance, verification=verification, domains=domains)


def _may_have_left_an_order(desired: Desired, found: Snapshot) -> bool:
    """Whether an order may be open in a staged Secret that is not the present one: an earlier name, or resource."""
    foreign = found.secret.foreign
    is_of_a_namesake = foreign is not None and foreign.reason is Reason.PENDING
    return is_of_a_namesake or may_have_left_an_order(desired.generation, found.status)
