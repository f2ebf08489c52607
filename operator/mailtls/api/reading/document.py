"""Reads JSON that people wrote: each value knows its path, and each complaint is a sentence that names it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, TypeVar

from mailtls.reasons.reason import Finding, Reason
from mailtls.times import format_duration, parse_duration

Json = dict[str, Any]
Choice = TypeVar("Choice", bound=StrEnum)
Value = TypeVar("Value")


class InvalidSpec(Exception):
    """The spec cannot be carried out; `finding` says why, and what to write instead."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


@dataclass(frozen=True, slots=True)
class Node:
    """A JSON value and where it stands (`spec.dnsNames[0]`); complaints never repeat the value, it may be a secret."""

    path: str
    value: object

    def refused(self, sentence: str, reason: Reason = Reason.INVALID_SPEC) -> InvalidSpec:
        """Make the exception that says what to write here instead."""
        return InvalidSpec(Finding(reason, f"{self.path}: {sentence}."))

    @property
    def is_given(self) -> bool:
        """Whether there is anything: null is the same as nothing."""
        return self.value is not None

    def at(self, name: str) -> "Node":
        """Return the member `name` of an object, which may be absent."""
        if self.value is None:
            return Node(f"{self.path}.{name}", None)
        if not isinstance(self.value, dict):
            raise self.refused("write fields here, as name: value")
        return Node(f"{self.path}.{name}", self.value.get(name))

    def items(self, most: int) -> "tuple[Node, ...]":
        """Return the items of a list, none when it is absent."""
        if self.value is None:
            return ()
        if not isinstance(self.value, list):
            raise self.refused("write a list here")
        if len(self.value) > most:
            raise self.refused(f"list {most} at most")
        return tuple(Node(f"{self.path}[{index}]", item) for index, item in enumerate(self.value))

    def text(self, most: int = 253) -> str:
        """Return a text that must be given, of 1 to `most` characters."""
        if self.value is None:
            raise self.refused("this must be given")
        if not isinstance(self.value, str):
            raise self.refused("write a text here, in quotation marks where YAML reads it as something else")
        if not 1 <= len(self.value) <= most:
            raise self.refused(f"write 1 to {most} characters")
        if any(ord(character) < ord(" ") or 0xD800 <= ord(character) <= 0xDFFF for character in self.value):  # noqa: PLR2004
            raise self.refused("leave control characters out")
        return self.value

    def argument(self, most: int) -> str:
        """Return a text for a program, of up to `most` characters of any kind but NUL (execve takes none)."""
        if not isinstance(self.value, str):
            raise self.refused("write a text here, in quotation marks where YAML reads it as something else")
        if len(self.value) > most or "\0" in self.value:
            raise self.refused(f"write up to {most} characters and no NUL")
        return self.value

    def matching(self, pattern: re.Pattern[str], sentence: str, most: int = 253) -> str:
        """Return a text that fits `pattern` as a whole; `sentence` says what to write instead."""
        text = self.text(most)
        if pattern.fullmatch(text) is None:
            raise self.refused(sentence)
        return text

    def read(self, parser: Callable[[str], Value], most: int = 253) -> Value:
        """Return what `parser` makes of the text; the ValueError that it raises says what to write instead."""
        text = self.text(most)
        try:
            return parser(text)
        except ValueError as error:
            raise self.refused(str(error)) from error

    def whole(self, least: int, most: int) -> int:
        """Return a whole number that must be given."""
        if not isinstance(self.value, int) or isinstance(self.value, bool) or not least <= self.value <= most:
            raise self.refused(f"write a whole number from {least} to {most}")
        return self.value

    def flag(self, default: bool) -> bool:
        """Return true or false, `default` when absent."""
        if self.value is None:
            return default
        if not isinstance(self.value, bool):
            raise self.refused("write true or false")
        return self.value

    def choice(self, options: type[Choice]) -> Choice:
        """Return one of the words of `options`, which must be given."""
        for option in options:
            if option == self.value:
                return option
        raise self.refused(f"write one of {', '.join(options)}")


def duration(node: Node, least: timedelta, most: timedelta) -> timedelta:
    """Return a length of time between two others, which must be given."""
    given = node.read(parse_duration)
    if not least <= given <= most:
        raise node.refused(f"write a duration from {format_duration(least)} to {format_duration(most)}")
    return given
