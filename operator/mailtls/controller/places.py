"""What a step waits on that may be dead: a CA, a DNS server, the resolvers, pods, the objects of a namespace."""

from collections.abc import Collection, Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

from mailtls.api.spec import Acme, Desired, Place, PlaceKind
from mailtls.context import Context
from mailtls.controller.step import (
    AdoptSecret,
    AdvanceOrder,
    CloseLeftovers,
    CloseOrder,
    ConfirmPods,
    FindWays,
    KeepCopy,
    LookAtDomains,
    OpenOrder,
    ProbePods,
    ProbeWays,
    PutRight,
    ResumeOrder,
    Roll,
    RollBack,
    ScheduleRenewal,
    StageKey,
    Step,
    StoreCertificate,
)
from mailtls.issuance.order import Present
from mailtls.issuance.solvers.policy import places_of_names
from mailtls.reasons.reason import Reason

SLOW: Final = 10.0
"""Seconds: who takes longer is suspected to be dead; who is busy may take five for all that is asked at once."""
UNSEEN: Final = 3.0
"""Seconds after which pods and names under validation are dead where nothing was seen of them."""


def places_of(step: Step, desired: Desired) -> frozenset[Place]:
    """Return all that performing the step may have to wait on; none for what only computes or reads the API server.

    None either for saving an order's URL: whoever has ordered must be able to write it down, however full it is.
    """
    return frozenset(_places(step, desired))


def ca_of(acme: Acme) -> Place:
    """Return the place of a CA: its host and port, as many directories may be on one server."""
    return Place(PlaceKind.CA, urlsplit(acme.server).netloc.lower())


def _places(step: Step, desired: Desired) -> Iterator[Place]:
    namespace = desired.key.namespace
    match step:
        case AdvanceOrder(action=Present() as action):
            yield from places_of_names(desired, [each.authorization.identifier for each in action.challenges])
        case OpenOrder() | ResumeOrder() | AdvanceOrder() | ScheduleRenewal():
            yield ca_of(desired.acme)
        case CloseOrder() | CloseLeftovers():
            yield ca_of(desired.acme)
            yield from places_of_names(desired, desired.dns_names)
        case StageKey() | StoreCertificate() | RollBack() | AdoptSecret() | PutRight() | KeepCopy():
            yield Place(PlaceKind.OBJECTS, namespace)
        case ProbePods() | ConfirmPods() | ProbeWays() | Roll():
            yield Place(PlaceKind.PODS, namespace)
        case LookAtDomains():
            yield Place(PlaceKind.RESOLVER)
        case FindWays() if desired.probe.public is not None:
            yield Place(PlaceKind.RESOLVER)
        case _:
            pass


_SILENCE: Final = {PlaceKind.CA: Reason.ACME_UNREACHABLE, PlaceKind.DNS: Reason.DNS_UNREACHABLE}


def outcomes(step: Step, places: frozenset[Place], context: Context, seconds: float) -> Mapping[Place, bool]:
    """Return which places answered a step that ended with `seen`, and which did not; unknown ones are missing.

    A step that says who was not reached blames nobody else; one that succeeded was answered, unless it took very long.
    Pods may be slow on purpose (a greeting is held back against spam): they are dead only where one of a slow step's
    probes saw no certificate.
    """
    failures = (context.issuance.failure, context.issuance.close_failure)
    blamed = silent(places, {failure.finding.reason for failure in failures if failure is not None})
    if blamed:
        return blamed
    if _saw_certificates(step, context):
        return dict.fromkeys(places, True)
    return {place: seconds < (UNSEEN if place.differs_by_resource else SLOW) for place in places}


def silent(places: frozenset[Place], reasons: Collection[Reason]) -> dict[Place, bool]:
    """Return those of the places that did not answer, by the reasons that were given for it."""
    return {place: False for place in places if _SILENCE.get(place.kind) in reasons}


def _saw_certificates(step: Step, context: Context) -> bool:
    if not isinstance(step, ProbePods | ConfirmPods | ProbeWays):
        return False
    asked = [each for each in context.verification.endpoints if each.target in step.targets]
    return bool(asked) and all(each.served_sha256 for each in asked)
