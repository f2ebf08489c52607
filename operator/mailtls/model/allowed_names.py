"""Which namespaces may ask the installation's account for which names."""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class AllowedNames:
    """One rule: resources in `namespaces` may order `names`; both are globs, whose `*` stands for dots too."""

    namespaces: tuple[str, ...]
    names: tuple[str, ...]

    def allows(self, namespace: str, name: str) -> bool:
        """Whether this rule lets a namespace have a name, which may be a wildcard."""
        is_theirs = any(fnmatchcase(namespace, glob) for glob in self.namespaces)
        return is_theirs and any(_covers(glob.lower(), name.lower()) for glob in self.names)


def first_refused(rules: Iterable[AllowedNames], namespace: str, names: Iterable[str]) -> str | None:
    """Return the first name that no rule lets the namespace have; without rules all are allowed."""
    known = tuple(rules)
    if not known:
        return None
    return next((name for name in names if not any(rule.allows(namespace, name) for rule in known)), None)


def _covers(glob: str, name: str) -> bool:
    # A wildcard stands for more names than `?` or `[...]` does, so only a glob that begins with `*` covers one.
    is_wide_enough = not name.startswith("*") or glob.startswith("*")
    return is_wide_enough and fnmatchcase(name, glob)
