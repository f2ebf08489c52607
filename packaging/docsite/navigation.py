"""The navigation of the site: navigation.yml names the pages in their order, and `folder/*` all others of a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Unlisted(Exception):
    """Pages that nobody would find, or names of pages that do not exist; the message names them."""


def expand(navigation: list[Any], pages: Iterable[str]) -> list[Any]:
    """Return the navigation with each page named; raises `Unlisted` where it and the pages differ."""
    known = set(pages)
    named = [each for each in _leaves(navigation) if not each.endswith("/*")]
    if unknown := set(named) - known:
        raise Unlisted(f"navigation.yml names pages that do not exist: {', '.join(sorted(unknown))}")
    expanded = _expand(navigation, sorted(known - set(named)))
    if missing := known - set(_leaves(expanded)):
        raise Unlisted(f"navigation.yml lacks pages: {', '.join(sorted(missing))}")
    return expanded


def _expand(entries: list[Any], free: list[str]) -> list[Any]:
    found: list[Any] = []
    for entry in entries:
        if isinstance(entry, dict):
            found += [{title: _expand(each, free) if isinstance(each, list) else each} for title, each in entry.items()]
        elif entry.endswith("/*"):
            found += [each for each in free if each.rpartition("/")[0] == entry.removesuffix("/*")]
        else:
            found.append(entry)
    return found


def _leaves(entries: Any) -> Iterator[str]:
    if isinstance(entries, str):
        yield entries
    for entry in entries if isinstance(entries, list) else entries.values() if isinstance(entries, dict) else ():
        yield from _leaves(entry)
