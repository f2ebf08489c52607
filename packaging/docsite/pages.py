"""Which files of the repository are pages of the site, and where each of their links leads there: pure text.

On the forge people read the files where they lie, so links in them are relative paths of the repository. The site has
a tree of its own: docs/ is its top, and what lies outside of docs/ gets a place in it.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

OUTSIDE: Final = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing/index.md",
    "CODE_OF_CONDUCT.md": "contributing/code-of-conduct.md",
    "SUPPORT.md": "contributing/help.md",
    "CHANGELOG.md": "reference/changelog.md",
    "SECURITY.md": "explanation/security.md",
    "examples/README.md": "how-to/examples/index.md",
}
"""Pages outside of docs/, and where they are on the site. The README and docs/README.md are one page there."""
_EXAMPLE: Final = re.compile(r"examples/(?P<name>[^/]+)/README\.md")
_LINK: Final = re.compile(r"`[^`]*`|(?P<before>\]\()(?P<target>[^)\s#]+)(?P<after>(?:#[^)\s]*)?\))")
_FENCE: Final = re.compile(r"^ *(```|~~~)")
_ELSEWHERE: Final = re.compile(r"[a-z][a-z0-9+.-]*:")


class BrokenLink(Exception):
    """A link leads to nothing; the message names the page and the link."""


@dataclass(frozen=True, slots=True)
class Tree:
    """The files of the repository that Git knows, and the pages among them: repository path -> path on the site."""

    files: frozenset[str]
    pages: Mapping[str, str]

    @classmethod
    def of(cls, files: Iterable[str]) -> Tree:
        """Find the pages among the files."""
        known = frozenset(files)
        placed = {each: place for each in known if (place := _place(each))}
        return cls(known, placed)

    def target(self, path: str) -> str | None:
        """Return where a file or folder of the repository is on the site; None for what does not exist."""
        for each in (path, posixpath.join(path, "README.md")):
            if each in self.pages:
                return self.pages[each]
        return asset(path) if path in self.files else None


def _place(path: str) -> str | None:
    if path in OUTSIDE:
        return OUTSIDE[path]
    if example := _EXAMPLE.fullmatch(path):
        return f"how-to/examples/{example['name']}.md"
    if path == "docs/README.md" or not (path.startswith("docs/") and path.endswith(".md")):
        return "index.md" if path == "docs/README.md" else None
    inside = path.removeprefix("docs/")
    return re.sub(r"(^|/)README\.md$", r"\1index.md", inside)


def asset(path: str) -> str:
    """Return where a file that is no page is on the site: what docs/ holds keeps its place."""
    return path.removeprefix("docs/") if path.startswith("docs/") else f"files/{path}"


def on_site(path: str, text: str, tree: Tree, use: Callable[[str], None] = lambda _: None) -> str:
    """Return a page with its links as the site has them; `use` is called with each file they lead to that is no page.

    Raises `BrokenLink` for the first that leads nowhere.
    """
    here = posixpath.dirname(tree.pages[path])

    def place(match: re.Match[str]) -> str:
        target = match["target"]
        if target is None or _ELSEWHERE.match(target):
            return match[0]
        wanted = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        found = tree.target(wanted)
        if found is None:
            raise BrokenLink(f"{path} links to {target}, which does not exist")
        if found not in tree.pages.values():
            use(wanted)
        return match["before"] + posixpath.relpath(found, here or ".") + match["after"]

    return "".join(
        line if is_code else _LINK.sub(place, line) for line, is_code in _lines(text.splitlines(keepends=True))
    )


def _lines(lines: Iterable[str]) -> Iterable[tuple[str, bool]]:
    """Yield each line, and whether it is code: nothing there is a link."""
    fence = ""
    for line in lines:
        found = _FENCE.match(line)
        if found and not fence:
            fence = found[1]
        elif found and found[1] == fence:
            yield line, True
            fence = ""
            continue
        yield line, bool(fence)
