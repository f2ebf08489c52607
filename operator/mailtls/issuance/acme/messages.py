"""ACME's JSON, to and from the model (RFC 8555 section 7.1); reads leniently, for CAs differ in what they leave out."""

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import requests
from acme import messages
from josepy.json_util import field

from mailtls.issuance.acme.problem_document import Problem
from mailtls.issuance.order_state import AuthorizationState, ChallengeState, OrderState, Status
from mailtls.reasons.quoting import shorten

Json = dict[str, Any]
_ACME_TYPES: Final = ("urn:ietf:params:acme:error:", "urn:acme:error:")
_MOST_PARTS: Final = 20  # of a compound problem
# An answer of 1 MiB may hold a hundred thousand short parts, of which each takes a hundred times its length in memory,
# for as long as the resource is there. What is read is what an order of a hundred names may need.
_MOST_AUTHORIZATIONS: Final = 400
_MOST_CHALLENGES: Final = 50
_LONGEST_URL: Final = 2048
_LONGEST_TOKEN: Final = 1024
_LONGEST_WORD: Final = 300  # a status, a type, a profile; a name has 253 characters
_LONGEST_DETAIL: Final = 4000


class NewOrder(messages.NewOrder):
    """A new-order request that can say which certificate it replaces (RFC 9773 section 5)."""

    replaces: str | None = field("replaces", omitempty=True)


def new_order_message(names: Sequence[str], profile: str | None, replaces: str | None) -> NewOrder:
    """Make the request for `names`; fields that are None stay out."""
    identifiers = [messages.Identifier(typ=messages.IDENTIFIER_FQDN, value=name) for name in names]
    return NewOrder(identifiers=identifiers, profile=profile, replaces=replaces)


def problem_from_response(response: requests.Response) -> Problem:
    """Read the problem document of an error (RFC 8555 section 6.7); any other answer is only named by its status.

    A redirect or a name may lead to a server that is none of ACME's: what such a one writes is nobody's business here.
    """
    status = f"HTTP status {response.status_code}"
    return problem_from_json(response.text, status) if _is_problem(response) else Problem("", status)


def problem_from_json(text: str, otherwise: str) -> Problem:
    """Read a problem document (RFC 9457); `otherwise` is the detail when the text is none."""
    found = read_problem(json_of(text))
    return found if found is not None and (found.type or found.detail) else Problem("", otherwise)


def json_of(text: str) -> Any:
    """Return what a text of JSON says, None for one that is none, or nested so deep that nobody means it."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _is_problem(response: requests.Response) -> bool:
    media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media_type == "application/problem+json":
        return True
    # Some CAs answer problems as plain JSON; their types are of ACME all the same.
    document = json_of(response.text)
    return isinstance(document, dict) and str(document.get("type", "")).startswith(_ACME_TYPES)


def read_problem(document: Any) -> Problem | None:
    """Fold a problem and its subproblems into one; of a compound problem the first part names the type."""
    if not isinstance(document, dict):
        return None
    listed = document.get("subproblems")
    parts = [each for each in listed if isinstance(each, dict)][:_MOST_PARTS] if isinstance(listed, list) else []
    kind = str(document.get("type", ""))
    if kind.endswith(":compound") and parts:
        kind = str(parts[0].get("type", kind))
    details = [str(document.get("detail") or document.get("title") or ""), *map(_part, parts)]
    words = "; ".join(detail for detail in details if detail)
    return Problem(shorten(kind, _LONGEST_WORD), shorten(words, _LONGEST_DETAIL))


def _part(subproblem: Json) -> str:
    identifier = subproblem.get("identifier")
    name = identifier.get("value", "") if isinstance(identifier, dict) else ""
    detail = str(subproblem.get("detail", ""))
    return f"{name}: {detail}" if name else detail


def read_order(order: OrderState, body: Json, retry_at: datetime | None, now: datetime) -> OrderState:
    """Return `order` as the CA describes it now, keeping what is known of its authorizations.

    Raises ValueError for one with more or longer parts than an order has.
    """
    known = {each.url: each for each in order.authorizations}
    urls = [_url(url) for url in _few(body.get("authorizations") or known, _MOST_AUTHORIZATIONS)]
    identifiers = _few(body.get("identifiers") or (), _MOST_AUTHORIZATIONS)
    return replace(
        order,
        status=_word(body.get("status", Status.UNREAD)),
        identifiers=tuple(_word(each["value"]) for each in identifiers) or order.identifiers,
        authorizations=tuple(known.get(url) or AuthorizationState(url) for url in urls),
        finalize_url=_url(body.get("finalize") or order.finalize_url),
        certificate_url=_url(body["certificate"]) if body.get("certificate") else None,
        expires_at=_time(body.get("expires")),
        retry_at=retry_at,
        problem=read_problem(body.get("error")),
        profile=_text(body.get("profile")) or order.profile,
        read_at=now,
        polls=order.polls + 1,
    )


def read_authorization(
    authorization: AuthorizationState,
    body: Json,
    retry_at: datetime | None,
    now: datetime,
) -> AuthorizationState:
    """Return `authorization` as the CA describes it now; raises ValueError like `read_order`."""
    name = _word(body["identifier"]["value"])
    return AuthorizationState(
        url=authorization.url,
        status=_word(body.get("status", Status.UNREAD)),
        name=name.removeprefix("*."),
        wildcard=bool(body.get("wildcard")) or name.startswith("*."),
        challenges=tuple(read_challenge(each) for each in _few(body.get("challenges") or (), _MOST_CHALLENGES)),
        expires_at=_time(body.get("expires")),
        retry_at=retry_at,
        read_at=now,
        polls=authorization.polls + 1,
    )


def read_challenge(body: Json) -> ChallengeState:
    """Return a challenge; some types have no token. Raises ValueError like `read_order`."""
    return ChallengeState(
        type=_word(body.get("type", "")),
        url=_url(body["url"]),
        token=_bounded(body.get("token", ""), _LONGEST_TOKEN),
        status=_word(body.get("status", Status.PENDING)),
        problem=read_problem(body.get("error")),
    )


def read_time(value: str) -> datetime:
    """Read a time of RFC 3339; raises ValueError."""
    named = datetime.fromisoformat(value.upper())
    try:
        return named.replace(tzinfo=UTC) if named.tzinfo is None else named.astimezone(UTC)
    except OverflowError as error:  # the last or first hours of the calendar, in another time zone
        raise ValueError(f"{value} is no time in UTC") from error


def _text(value: Any) -> str | None:
    return _word(value) if value else None


def _url(value: Any) -> str:
    return _bounded(value, _LONGEST_URL)


def _word(value: Any) -> str:
    return _bounded(value, _LONGEST_WORD)


def _bounded(value: Any, longest: int) -> str:
    text = str(value)
    if len(text) > longest:
        raise ValueError(f"it holds a text of more than {longest} characters")
    return text


def _few(values: Collection[Any], most: int) -> Collection[Any]:
    if len(values) > most:
        raise ValueError(f"it has more than {most} parts")
    return values


def _time(value: Any) -> datetime | None:
    try:
        return read_time(str(value)) if value else None
    except ValueError:
        return None
