"""ACME's JSON, to and from the model (RFC 8555 section 7.1); reads leniently, for CAs differ in what they leave out."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from acme import messages
from josepy.json_util import field

from mailtls.model.order import AuthorizationState, ChallengeState, OrderState, Status
from mailtls.model.problem import Problem

Json = dict[str, Any]


class NewOrder(messages.NewOrder):
    """A new-order request that can say which certificate it replaces (RFC 9773 section 5)."""

    replaces: str | None = field("replaces", omitempty=True)


def new_order_message(names: Sequence[str], profile: str | None, replaces: str | None) -> NewOrder:
    """Make the request for `names`; fields that are None stay out."""
    identifiers = [messages.Identifier(typ=messages.IDENTIFIER_FQDN, value=name) for name in names]
    return NewOrder(identifiers=identifiers, profile=profile, replaces=replaces)


def problem_from_json(text: str, otherwise: str) -> Problem:
    """Read a problem document (RFC 9457); `otherwise` is the detail when the answer is none."""
    try:
        document = json.loads(text)
    except ValueError:
        return Problem("", otherwise)
    return read_problem(document) or Problem("", otherwise)


def read_problem(document: Any) -> Problem | None:
    """Fold a problem and its subproblems into one; of a compound problem the first part names the type."""
    if not isinstance(document, dict):
        return None
    parts = [each for each in document.get("subproblems") or () if isinstance(each, dict)]
    kind = str(document.get("type", ""))
    if kind.endswith(":compound") and parts:
        kind = str(parts[0].get("type", kind))
    details = [str(document.get("detail") or document.get("title") or ""), *map(_part, parts)]
    return Problem(kind, "; ".join(detail for detail in details if detail))


def _part(subproblem: Json) -> str:
    name = (subproblem.get("identifier") or {}).get("value", "")
    detail = str(subproblem.get("detail", ""))
    return f"{name}: {detail}" if name else detail


def read_order(order: OrderState, body: Json, retry_at: datetime | None, now: datetime) -> OrderState:
    """Return `order` as the CA describes it now, keeping what is known of its authorizations."""
    status = str(body.get("status", Status.UNREAD))
    known = {each.url: each for each in order.authorizations}
    urls = body.get("authorizations") or tuple(known)
    return replace(
        order,
        status=status,
        identifiers=tuple(str(each["value"]) for each in body.get("identifiers") or ()) or order.identifiers,
        authorizations=tuple(known.get(url) or AuthorizationState(url) for url in urls),
        finalize_url=str(body.get("finalize") or order.finalize_url),
        certificate_url=body.get("certificate"),
        expires_at=_time(body.get("expires")),
        retry_at=retry_at,
        problem=read_problem(body.get("error")),
        profile=body.get("profile") or order.profile,
        read_at=now,
        polls=order.polls + 1,
    )


def read_authorization(
    authorization: AuthorizationState,
    body: Json,
    retry_at: datetime | None,
    now: datetime,
) -> AuthorizationState:
    """Return `authorization` as the CA describes it now."""
    name = str(body["identifier"]["value"])
    return AuthorizationState(
        url=authorization.url,
        status=str(body.get("status", Status.UNREAD)),
        name=name.removeprefix("*."),
        wildcard=bool(body.get("wildcard")) or name.startswith("*."),
        challenges=tuple(read_challenge(each) for each in body.get("challenges") or ()),
        expires_at=_time(body.get("expires")),
        retry_at=retry_at,
        read_at=now,
        polls=authorization.polls + 1,
    )


def read_challenge(body: Json) -> ChallengeState:
    """Return a challenge; some types have no token."""
    return ChallengeState(
        type=str(body.get("type", "")),
        url=str(body["url"]),
        token=str(body.get("token", "")),
        status=str(body.get("status", Status.PENDING)),
        problem=read_problem(body.get("error")),
    )


def read_time(value: str) -> datetime:
    """Read a time of RFC 3339; raises ValueError."""
    named = datetime.fromisoformat(value.upper())
    return named.replace(tzinfo=UTC) if named.tzinfo is None else named.astimezone(UTC)


def _time(value: Any) -> datetime | None:
    try:
        return read_time(str(value)) if value else None
    except ValueError:
        return None
