"""A `MailServerTLS` as a person reads it, and how far the operator has come with a request."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from mailtls.api.resource import Request
from mailtls.api.spec import Key
from mailtls.api.status import Condition, ConditionType, HistoryEntry, ServedCount, Status, Truth
from mailtls.reasons.pages import address, file_of
from mailtls.reasons.reason import Reason


@dataclass(frozen=True, slots=True)
class EndpointLine:
    """One entry of `status.endpoints`; empty texts where it says nothing.

    `server` is a pod, or what it is beside its name: `Service/postfix`.
    """

    server: str
    port: int
    address: str = ""
    result: str = ""
    reason: str = ""
    message: str = ""
    tls_version: str = ""
    not_after: datetime | None = None
    sha256: str = ""
    cipher: str = ""
    checked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class CertificateLine:
    """What `status.certificate` says of the stored certificate beside its end; empty where it says nothing."""

    serial_number: str = ""
    issuer: str = ""
    sha256: str = ""
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class ResourceView:
    """One resource; `handled` is the last value of each annotation that the operator has handled.

    `docs_url` is where the documentation is served, with `{page}` in it; empty where it is not.
    """

    key: Key
    names: tuple[str, ...] = ()
    created_at: datetime | None = None
    generation: int = 0
    is_suspended: bool = False
    is_external: bool = False
    is_paused: bool = False
    status: Status = field(default_factory=Status)
    served: str = ""
    served_count: ServedCount | None = None
    expires_at: datetime | None = None
    renews_at: datetime | None = None
    certificate: CertificateLine | None = None
    secret_name: str = ""
    endpoints: tuple[EndpointLine, ...] = ()
    handled: Mapping[str, str] = field(default_factory=dict)
    docs_url: str = ""

    @property
    def host(self) -> str:
        """The name that clients dial: the first."""
        return self.names[0] if self.names else ""

    @property
    def is_ready(self) -> bool:
        """Whether every port serves the certificate."""
        ready = self.status.condition(ConditionType.READY)
        return ready is not None and ready.status is Truth.TRUE

    @property
    def obstacle(self) -> Condition | None:
        """The first condition of the story that is not true: the one to read."""
        return next((each for each in self.status.conditions if each.status is not Truth.TRUE), None)

    def page_of(self, reason: Reason) -> str:
        """Return the address of a reason's page, or its file where the documentation is not served."""
        return address(reason, self.docs_url) if self.docs_url else file_of(reason)


_ENDINGS: Final = frozenset({Reason.ISSUED, Reason.ROLLED_BACK, Reason.ROLLBACK_REFUSED})


@dataclass(frozen=True, slots=True)
class Progress:
    """`came_true` None: not yet decided. `sentence` says where things stand."""

    came_true: bool | None
    sentence: str


def progress(view: ResourceView, request: Request, value: str) -> Progress:
    """Say how far the request of this value is."""
    if view.is_suspended:
        return Progress(came_true=False, sentence=suspended(view))
    if view.handled.get(request) != value:
        return _waiting(view, request, value)
    if request is Request.PROBE:
        return _verified(view)
    refusal = _refusal(view) if request is Request.ROLLBACK else None
    if refusal is not None:
        return Progress(came_true=False, sentence=f"{refusal.event}: {refusal.message}")
    return _rolled_out(view)


def _rolled_out(view: ResourceView) -> Progress:
    """Whether the certificate that was requested is in every pod; one that failed there was rolled back."""
    if view.is_ready:
        return Progress(came_true=True, sentence=_ready(view))
    rolled_out = view.status.condition(ConditionType.ROLLED_OUT)
    if rolled_out is not None and rolled_out.reason is Reason.ROLLED_BACK:
        return Progress(came_true=False, sentence=f"{rolled_out.reason}: {rolled_out.message}")
    return Progress(came_true=None, sentence=_story(view))


def _ready(view: ResourceView) -> str:
    """Say that all is well, also where the new certificate waits because people want it so."""
    ready = view.status.condition(ConditionType.READY)
    if ready is not None and ready.reason is not Reason.READY:
        return f"{view.key} is Ready ({ready.reason}): {ready.message}"
    return f"{view.key} is Ready: every probed port serves the certificate."


def refused(view: ResourceView, request: Request) -> str:
    """Say why a request is never handled; empty where it is."""
    if not view.is_external or request is Request.PROBE:
        return ""
    return (
        f"{view.key}: its Secret is written by somebody else (spec.external), so request another certificate there, "
        "such as by cmctl renew."
    )


def suspended(view: ResourceView) -> str:
    """Say that a request has to wait, and for what."""
    return f"{view.key} is suspended: the operator handles the request when spec.suspend is false."


def _waiting(view: ResourceView, request: Request, value: str) -> Progress:
    attempts = view.status.attempts
    failed = attempts is not None and request is Request.RENEW and attempts.observed_renew == value
    if attempts is None or not failed:
        return Progress(came_true=None, sentence=_story(view))
    sentence = f"{attempts.reason}: {attempts.message}"
    return Progress(came_true=None if attempts.next_attempt_at else False, sentence=sentence)


def _refusal(view: ResourceView) -> HistoryEntry | None:
    """What became of a rollback that was handled: a refusal leaves the resource as Ready as it was."""
    last = next((each for each in reversed(view.status.history) if each.event in _ENDINGS), None)
    return last if last is not None and last.event is Reason.ROLLBACK_REFUSED else None


def _verified(view: ResourceView) -> Progress:
    verified = view.status.condition(ConditionType.VERIFIED)
    if verified is None or verified.status is Truth.UNKNOWN:
        return Progress(came_true=None, sentence=_story(view))
    return Progress(came_true=verified.status is Truth.TRUE, sentence=f"{verified.reason}: {verified.message}")


def _story(view: ResourceView) -> str:
    obstacle = view.obstacle
    if obstacle is None:
        return "The operator has not taken up the request yet."
    return f"{obstacle.type}: {obstacle.reason}: {obstacle.message}"
