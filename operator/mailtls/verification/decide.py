"""Decides on the steps of verification: what is probed now, and what is looked up for that."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar, Final

from mailtls.api.spec import Desired, Place, PlaceKind
from mailtls.context import Context
from mailtls.kube.snapshot import ObjectVersion
from mailtls.probe.target import Depth, Route, Target
from mailtls.step import Deadline, Step, pods_in
from mailtls.verification.routes import are_due
from mailtls.verification.schedule import (
    depth_to_probe,
    next_deep_probe_at,
    next_probe_at,
    retries_at,
    targets_to_confirm,
    targets_to_probe,
)
from mailtls.verification.state import is_untrusted

MANY_CONNECTIONS: Final = Deadline(120.0, "a full probe makes many connections to each port, one after the other")


@dataclass(frozen=True, slots=True)
class _Probe(Step):
    """Connect to these targets as a mail client would."""

    targets: tuple[Target, ...]

    def places(self, desired: Desired) -> Iterable[Place]:
        """The pods, or those behind Services and public addresses."""
        return (pods_in(desired.key.namespace),)

    def was_answered(self, context: Context) -> bool:
        """Whether each target showed a certificate: servers may hold their greeting back against spam."""
        wanted = set(self.targets)
        probed = [each for each in context.verification.endpoints if each.target in wanted]
        return bool(probed) and all(each.served_sha256 for each in probed)


@dataclass(frozen=True, slots=True)
class ProbePods(_Probe):
    """Probe pods, and look as deep as `depth` says."""

    depth: Depth = Depth.QUICK

    deadline: ClassVar[Deadline] = MANY_CONNECTIONS


@dataclass(frozen=True, slots=True)
class ConfirmPods(_Probe):
    """Probe targets briefly that were unready for a while: what was learned of the same run may still stand."""

    deadline: ClassVar[Deadline] = Deadline(90.0, "pods wait for their turn to be probed, and a port may take a minute")


@dataclass(frozen=True, slots=True)
class FindRoutes(Step):
    """Find how clients come to the pods: by which Services, and at which addresses from outside."""

    def places(self, desired: Desired) -> Iterable[Place]:
        """The resolvers, where a public name is looked up."""
        return (Place(PlaceKind.RESOLVER),) if desired.probe.public is not None else ()


@dataclass(frozen=True, slots=True)
class ProbeRoutes(_Probe):
    """Connect to these Services or public addresses; they prove nothing about single pods."""

    depth: Depth

    deadline: ClassVar[Deadline] = MANY_CONNECTIONS


@dataclass(frozen=True, slots=True)
class RecheckRoots(Step):
    """Check whether the roots to trust were changed since a served chain was not trusted."""


def confirm_pods(context: Context, now: datetime) -> ConfirmPods | None:
    """Pods that are back are probed briefly first."""
    known = targets_to_confirm(context, now)
    return ConfirmPods(known) if known else None


def probe_pods(context: Context, now: datetime) -> ProbePods | None:
    """What the pods serve is probed, before and after they are reloaded."""
    targets = targets_to_probe(context, now)
    return ProbePods(targets, depth_to_probe(context, now)) if targets else None


def probe_due_at(context: Context, now: datetime) -> Iterable[datetime | None]:
    """When the next sweep is due, and the next deep one."""
    if context.snapshot.workloads is not None:
        yield next_probe_at(context, now)
        yield next_deep_probe_at(context)


def probe_retry_at(context: Context, now: datetime) -> Iterable[datetime | None]:
    """When endpoints that fail are probed again."""
    if context.snapshot.workloads is not None:
        yield from retries_at(context, now)


def find_routes(context: Context, now: datetime) -> FindRoutes | None:
    """How clients come is looked up when every pod has the certificate."""
    return FindRoutes() if are_due(context, now) else None


def probe_routes(context: Context, _now: datetime | None = None) -> ProbeRoutes | None:
    """What is not known yet of the routes is probed, those of one depth at a time.

    A Service only passes packets on, to another pod with each connection: one conversation shows all. What stands
    before a public address may end TLS itself, and is probed as thoroughly as the pods were in their sweep.
    """
    known = {endpoint.target for endpoint in context.verification.endpoints}
    unknown = tuple(target for target in context.verification.routes or () if target not in known)
    inside = tuple(target for target in unknown if target.route is Route.SERVICE)
    if inside:
        return ProbeRoutes(inside, Depth.QUICK)
    swept, wanted = context.verification.probed_depth, context.desired.probe.depth
    return ProbeRoutes(unknown, swept if swept.reaches(wanted) else wanted) if unknown else None


def recheck_roots(context: Context, now: datetime) -> RecheckRoots | None:
    """Why a chain is not trusted may be the roots to trust, which a person may have put right meanwhile."""
    due_at = context.verification.roots_due_at
    return RecheckRoots() if (due_at is None or due_at <= now) and roots_are_in_doubt(context) else None


def roots_due_at(context: Context, _now: datetime) -> Iterable[datetime | None]:
    """When the roots are checked again."""
    yield context.verification.roots_due_at if roots_are_in_doubt(context) else None


def roots_are_in_doubt(context: Context) -> bool:
    """Whether a chain that pods serve is not trusted, and the resource names roots that may lack one."""
    verification = context.verification
    return context.desired.probe.trust is not None and (verification.roots is not None or verification.has_untrusted)


def roots_changed(context: Context, version: ObjectVersion) -> bool:
    """Whether the bundle was changed since it was last checked; at the first check, since a chain was not trusted."""
    verification = context.verification
    if verification.roots is not None:
        return (version.path, version.version) != (verification.roots.path, verification.roots.version)
    return any(version.changed_since(each.checked_at) for each in verification.endpoints if is_untrusted(each))


def verified_anew(context: Context) -> Context:
    """Let all pods be probed at once, and a rollout go on that has failed: what was trusted may not be any more."""
    changed = context.with_verification(probed_at=None, roots=None).with_snapshot(workloads=None)
    return replace(changed, rollout=context.rollout.tried_anew())
