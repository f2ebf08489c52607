"""HTML that is escaped unless it says that it is markup: what tenants, pods and servers say can be no element.

There is no template language, so there is no place in a template where an escape could be forgotten.
"""

import re
from collections.abc import Iterable
from html import escape
from typing import Final

from mailtls.reasons.quoting import printable, shorten

LONGEST_TEXT: Final = 2000  # characters of one text; a status that is longer was not written by the operator
_EMPTY: Final = frozenset({"input", "link", "meta", "wbr"})


_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Content = str | int | None
Attribute = str | int | bool | None


def text(content: Content) -> Markup:
    """Escape a text, bounded and without characters that cannot be seen; markup stays as it is."""
    if isinstance(content, Markup):
        return content
    if content is None:
        return Markup()
    return Markup(escape(printable(shorten(str(content), LONGEST_TEXT))))


def tag(name: str, /, *inside: Content, **attributes: Attribute) -> Markup:
    """Make an element; `class_` and `aria_label` stand for `class` and `aria-label`, None leaves an attribute out."""
    head = f"<{name}{''.join(map(_attribute, attributes.items()))}>"
    return Markup(head if name in _EMPTY else f"{head}{''.join(map(text, inside))}</{name}>")


def camel(word: str) -> Markup:
    """Let a word in CamelCase break where a new one begins, on narrow screens."""
    return Markup(_HUMP.sub("<wbr>", text(word)))


def join(parts: Iterable[Content], between: str = "") -> Markup:
    """Put parts one behind the other, with a text between them."""
    return Markup(text(between).join(map(text, parts)))


def _attribute(pair: tuple[str, Attribute]) -> str:
    name, value = pair
    if value is None or value is False:
        return ""
    name = name.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{text(value)}"'
