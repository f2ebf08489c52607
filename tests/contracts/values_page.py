"""The page of chart values, made from values.yaml: its comments are the documentation.

The comment right above a key describes it.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Final

import yaml

_KEY: Final = re.compile(r"^(?P<indent> *)(?P<name>[A-Za-z][A-Za-z0-9]*):(?P<rest>.*)$")
_COMMENT: Final = re.compile(r"^ *# ?(?P<words>.*)$")
BAR: Final = "&#124;"  # that of a table is none
HEAD: Final = """\
# Chart values

Every value of the Helm chart, with its default. This page is made from `charts/mailtls/values.yaml`; do not edit it.

| value | default | what it does |
| --- | --- | --- |
"""


@dataclass(frozen=True, slots=True)
class Value:
    """One value that has no others below it in values.yaml; `words` may be empty, where the line above says it all."""

    path: tuple[str, ...]
    default: Any
    words: str

    @property
    def name(self) -> str:
        """As `--set` takes it."""
        return ".".join(self.path)


def values(text: str) -> tuple[Value, ...]:
    """Return all values in the order of the file; a map or list that is written in one line is one value."""
    whole = yaml.safe_load(text)
    stack: list[tuple[int, str]] = []
    words: list[str] = []
    found = []
    for line in text.splitlines():
        if comment := _COMMENT.match(line):
            words.append(comment["words"].removeprefix("-- "))
            continue
        if key := _KEY.match(line):
            depth = len(key["indent"])
            stack = [*((at, name) for at, name in stack if at < depth), (depth, key["name"])]
            path = tuple(name for _, name in stack)
            default = _at(whole, path)
            if key["rest"].strip() or not isinstance(default, dict):
                found.append(Value(path, default, " ".join(words)))
        words = []
    return tuple(found)


def _at(whole: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        whole = whole[name]
    return whole


def page(text: str) -> str:
    """Return docs/reference/chart-values.md."""
    rows = (f"| `{each.name}` | {_shown(each.default)} | {cell(each.words)} |" for each in values(text))
    return HEAD + "\n".join(rows) + "\n"


def cell(words: str) -> str:
    """Return prose as a cell of a table: no bar ends it, and nothing in it is HTML."""
    return prose(words.replace("|", BAR))


def prose(words: str) -> str:
    """Return words as Markdown shows them: a tag such as <name> outside of code is none."""
    parts = words.split("`")
    return "`".join(part if index % 2 else part.replace("<", "&lt;") for index, part in enumerate(parts))


def _shown(default: Any) -> str:
    return f"`{json.dumps(default, ensure_ascii=False).replace('|', BAR)}`"
