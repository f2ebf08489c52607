"""Resources in each state, with the status that the operator writes, and what other tools should make of them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

from builders.contexts import a_context, wanting
from builders.endpoints import POSTFIX, proven
from builders.stories import NOW, attempts, desired, schedule
from mailtls.api.reading.document import Json
from mailtls.api.spec import Desired, Key
from mailtls.api.status import Status
from mailtls.api.status_json import write, write_conditions
from mailtls.context import Context
from mailtls.controller.conditions import conditions, interruption, refusal
from mailtls.controller.status_writer import report_of
from mailtls.kube.snapshot import ServingSecret
from mailtls.reasons.reason import Finding, Reason, Severity
from mailtls.verification.conditions import while_held

MISSING = ServingSecret(exists=False)
OLD = Finding(Reason.SERVING_OLD_CERTIFICATE, "The old certificate is served.")
CLOSED = Finding(Reason.CONNECTION_REFUSED, "Nobody listens there.")
UNSAFE = Finding(Reason.AUTH_OFFERED_BEFORE_TLS, "Passwords are taken without TLS.")

_USUAL: Final[dict[str | None, tuple[str, str]]] = {
    None: ("Current", "Healthy"),
    "Reconciling": ("InProgress", "Progressing"),
    "Stalled": ("Failed", "Degraded"),
}


@dataclass(frozen=True, slots=True)
class Seen:
    """A resource, and what is to be seen in it; `outlook` None: neither Reconciling nor Stalled."""

    name: str
    resource: Json
    outlook: str | None
    kstatus: str
    argo_cd: str


def described() -> Iterable[Seen]:
    """Describe every state that a user can meet."""
    of_postfix = desired(workloads=(POSTFIX,))
    failed = a_context(secret=MISSING, status=Status(attempts=attempts()), schedule=None)
    paused = desired(workloads=(POSTFIX,), is_paused=True)
    yield Seen("unseen", _resource(1, {"observedGeneration": -1}), None, "InProgress", "Progressing")
    yield Seen("changed", ready(of_postfix, generation=2), None, "InProgress", "Progressing")
    yield Seen("ready", ready(of_postfix), None, "Current", "Healthy")
    yield _seen("warning", of_postfix, _warning(), None)
    yield _seen("renewal refused", desired(), _refused_renewal(), None)
    yield _seen("first order", desired(), a_context(secret=MISSING, status=Status(), schedule=None), "Reconciling")
    yield _seen("rate limited", desired(), failed, "Reconciling")
    yield _seen("rate limited often", desired(), _failed(failed, failed=9), "Reconciling")
    yield _seen("challenge failed", desired(), _failed(failed, reason=Reason.CHALLENGE_FAILED), "Reconciling")
    often = _failed(failed, reason=Reason.CHALLENGE_FAILED, failed=3)
    yield _seen("challenge failed often", desired(), often, "Stalled")
    yield _seen("given up", desired(), _failed(failed, reason=Reason.ORDER_FAILED, next_attempt_at=None), "Stalled")
    forbidden = _failed(failed, reason=Reason.CAA_FORBIDS)
    yield _seen("CAA", desired(), forbidden, "Stalled")
    yield _seen("CAA, corrected", desired(generation=2), forbidden, "Reconciling")
    yield _seen("CAA, renewed by hand", desired(renew_requested="2"), forbidden, "Reconciling")
    yield _seen("of another", desired(), a_context(holder=Key("mail", "elder")), "Stalled")
    yield _seen("rolling out", of_postfix, proven(OLD, OLD), "Reconciling")
    yield _seen("port closed", of_postfix, proven(CLOSED), "Reconciling")
    yield _seen("set up wrong", of_postfix, _serving(proven(UNSAFE)), "Stalled")
    yield _seen("paused", paused, _still_good(proven(OLD, OLD)), None, "Suspended")
    yield _seen("paused, and port closed", paused, _still_good(proven(CLOSED, OLD)), "Stalled")
    yield _seen("suspended", desired(suspend=True), a_context(), None, "Suspended")
    yield _seen("suspended at once", desired(suspend=True), a_context(secret=MISSING), "Stalled", "Suspended")
    for name, make, reason in (
        ("invalid", refusal, Reason.INVALID_SPEC),
        ("forbidden", interruption, Reason.FORBIDDEN),
        ("defect", interruption, Reason.INTERNAL_ERROR),
    ):
        said = make(Finding(reason, "It cannot be used."), Status(), 1, NOW)
        resource = _resource(1, write_conditions(1, said))
        yield _of(name, resource, "Reconciling" if reason is Reason.INTERNAL_ERROR else "Stalled")


def ready(wanted: Desired, generation: int = 1) -> Json:
    """Make a resource that was ready, whose spec may have been changed since."""
    return _resource(generation, _status(wanting(wanted, proven())))


def _seen(name: str, wanted: Desired, have: Context, outlook: str | None, argo_cd: str = "") -> Seen:
    resource = _resource(wanted.generation, _status(wanting(wanted, have)), suspend=wanted.suspend)
    return _of(name, resource, outlook, argo_cd)


def _of(name: str, resource: Json, outlook: str | None, argo_cd: str = "") -> Seen:
    """Make one that the operator has seen; `argo_cd` where it is not as usual."""
    kstatus, usual = _USUAL[outlook]
    return Seen(name, resource, outlook, kstatus, argo_cd or usual)


def _status(context: Context) -> Json:
    context = while_held(context, NOW)
    return write(report_of(context, conditions(context, NOW), NOW))


def _resource(generation: int, status: Json, *, suspend: bool = False) -> Json:
    """Make what the API server has of it; the merge patch takes null away."""
    shown = {name: value for name, value in status.items() if value is not None}
    meta = {"namespace": "mail", "name": "mx", "generation": generation}
    whole = {"apiVersion": "mailtls.dev/v1alpha1", "kind": "MailServerTLS", "metadata": meta}
    return whole | {"spec": {"dnsNames": ["mx.example.test"], "suspend": suspend}, "status": shown}


def _failed(have: Context, **changes: Any) -> Context:
    return have.with_snapshot(status=Status(attempts=attempts(**changes)))


def _refused_renewal() -> Context:
    refused = attempts(reason=Reason.CAA_FORBIDS, failed=5, next_attempt_at=None)
    return a_context(schedule=schedule(renewal_at=NOW), status=Status(attempts=refused))


def _warning() -> Context:
    return _serving(proven(Finding(Reason.WEAK_CRYPTO, "An old cipher is taken.", Severity.WARN)))


def _serving(have: Context) -> Context:
    """Have every port serve the stored certificate, whatever else was found there."""
    endpoints = (replace(each, served_sha256="aa" * 32) for each in have.verification.endpoints)
    return have.with_verification(endpoints=tuple(endpoints))


def _still_good(have: Context) -> Context:
    """Have what is served be valid for a month."""
    endpoints = (replace(each, served_not_after=NOW + timedelta(days=30)) for each in have.verification.endpoints)
    return have.with_verification(endpoints=tuple(endpoints))
