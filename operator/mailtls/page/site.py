"""Which page an address means, what a reader must be allowed to do for it, and the page."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qs, unquote

from mailtls.api.resource_json import resource_as_json
from mailtls.api.resource_view import ResourceView
from mailtls.api.spec import Key
from mailtls.page import overview, story
from mailtls.page.frame import JSON, Board, Page, document, notice
from mailtls.page.markup import join, tag
from mailtls.page.overview import Search

_LONGEST_NAME: Final = 253
_PARTS: Final = 2


@dataclass(frozen=True, slots=True)
class Address:
    """What a reader wants to see: the list (`key` None), or one resource."""

    key: Key | None = None
    search: Search = field(default_factory=Search)
    wants_json: bool = False

    @property
    def namespace(self) -> str | None:
        """The one namespace that all of it is from; None for all of the cluster."""
        return self.key.namespace if self.key else self.search.namespace or None


def address(path: str, query: str) -> Address | None:
    """Read the path below the root and the query; None where no page is."""
    wants_json = "json" in _values(query).get("format", ())
    if path in {"", "/"}:
        return Address(search=Search.of(query), wants_json=wants_json)
    parts = [unquote(each) for each in path.removeprefix("/").split("/")]
    if len(parts) != _PARTS or not all(map(_is_name, parts)):
        return None
    return Address(key=Key(parts[0], parts[1]), wants_json=wants_json)


def _values(query: str) -> Mapping[str, list[str]]:
    try:
        return parse_qs(query, max_num_fields=10)
    except ValueError:
        return {}


def _is_name(text: str) -> bool:
    """Whether Kubernetes could call an object so: what is no name is never compared, nor asked about."""
    return (
        0 < len(text) <= _LONGEST_NAME
        and all(each.islower() or each in "-.0123456789" for each in text)
        and text.isascii()
    )


def page(wanted: Address, views: Sequence[ResourceView], board: Board) -> Page:
    """Write the page from what its reader may see, sorted by key."""
    if wanted.key is None:
        if wanted.wants_json:
            return _json(overview.as_json(views, wanted.search, board))
        return Page(200, overview.as_html(views, wanted.search, board))
    found = next((each for each in views if each.key == wanted.key), None)
    if found is None:
        words = f"There is no MailServerTLS {wanted.key.name} in namespace {wanted.key.namespace}."
        return notice(404, "Not found", words, board, root="../")
    return _json(resource_as_json(found)) if wanted.wants_json else Page(200, story.as_html(found, board))


def refusal(words: str, board: Board, root: str) -> Page:
    """Make the page of a reader who may not see this; another namespace may be one that they may see."""
    main = join([tag("h1", "Not allowed"), tag("section", tag("p", words), overview.namespace_form(root))])
    return Page(403, document("Not allowed", main, board, root))


def _json(found: object) -> Page:
    return Page(200, json.dumps(found, indent=2) + "\n", JSON)
