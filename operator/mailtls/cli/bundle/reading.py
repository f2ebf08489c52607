"""Reads for a bundle: GET requests alone, each within bounds; what could not be read is a line, and ends nothing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, Protocol, TypeVar
from urllib.parse import urlencode

from mailtls.api.reading.document import Json
from mailtls.kube.interface import ApiError, Unreachable
from mailtls.net.effects import within

LONGEST: Final = 15.0  # seconds for one thing; a pod behind the proxy may never answer
_MALFORMED: Final = (KeyError, TypeError, ValueError, AttributeError, IndexError)
T = TypeVar("T")


class Readable(Protocol):
    """What a bundle needs of a cluster."""

    def get(self, path: str) -> Json | None:
        """Return the object, None when it does not exist."""

    def list(self, path: str, *, label_selector: str = "") -> list[Json]:
        """Return all items."""

    def text(self, path: str, *, most: int) -> tuple[str, bool]:
        """GET what is no JSON."""


@dataclass(slots=True)
class Reader:
    """Reads from a cluster, each thing within some seconds; `missing` lists what is not in the bundle, and why.

    `silence` is the last failure to get an answer at all.
    """

    cluster: Readable
    seconds: float = LONGEST
    missing: list[str] = field(default_factory=list)
    answers: int = 0
    silence: Unreachable | None = None

    def object(self, what: str, path: str) -> Json | None:
        """Return an object, None where there is none or it cannot be read."""
        found = self._try(what, lambda: self.cluster.get(path))
        if found is None and not self._was_noted(what):
            self.note(what, "it does not exist")
        return found

    def some(self, what: str, path: str, most: int, query: Mapping[str, str] | None = None) -> list[Json]:
        """Return the first items of a list, in the order of their names, and note it where there are more."""
        page = self._try(what, lambda: self.cluster.get(f"{path}?{urlencode({'limit': most, **(query or {})})}"))
        if page is None:
            return []
        if (page.get("metadata") or {}).get("continue"):
            self.note(what, f"there are more, and only the first {most} are here")
        kind = str(page.get("kind", "")).removesuffix("List")
        items = [{"kind": kind, **each} for each in page.get("items") or ()]
        return sorted(items, key=lambda each: (str(each["metadata"].get("namespace")), each["metadata"]["name"]))

    def text(self, what: str, path: str, most: int) -> str | None:
        """Return a text, None where it cannot be read."""
        found = self._try(what, lambda: self.cluster.text(path, most=most))
        if found is None:
            return None
        if found[1]:
            self.note(what, f"it is longer, and only its first {most} bytes are here")
        return found[0]

    def shaped(self, what: str, shape: Callable[[Json], T], found: Json) -> T | None:
        """Keep of an object what a bundle keeps, None where it is none of that kind."""
        try:
            return shape(found)
        except _MALFORMED as fault:
            self.note(what, f"it is not as the API server writes it ({type(fault).__name__})")
            return None

    def note(self, what: str, why: str) -> None:
        """Say what is missing."""
        self.missing.append(f"{what}: {why}")

    def _was_noted(self, what: str) -> bool:
        return bool(self.missing) and self.missing[-1].startswith(f"{what}: ")

    def _try(self, what: str, read: Callable[[], T | None]) -> T | None:
        try:
            with within(self.seconds):
                found = read()
        except ApiError as refusal:
            self.answers += 1
            self.note(what, f"you may not read it ({refusal.message})" if refusal.is_forbidden else str(refusal))
        except (Unreachable, TimeoutError) as silence:
            self.silence = silence if isinstance(silence, Unreachable) else Unreachable(f"No answer came: {silence}")
            self.note(what, str(silence))
        except _MALFORMED as fault:
            self.note(what, f"the answer cannot be read ({type(fault).__name__})")
        else:
            self.answers += 1
            return found
        return None


class ReadingOnly:
    """The cluster as preflight sees it for a bundle: nothing is sent but GET, and no Secret of a credential is read.

    Preflight says of what it refuses that it cannot be checked.
    """

    def __init__(self, cluster: Readable, secrets: frozenset[str]) -> None:
        self._cluster, self._secrets = cluster, secrets

    def get(self, path: str) -> Json | None:
        """Return an object; of Secrets only those that serve."""
        if "/secrets/" in path and path not in self._secrets:
            raise _refusal("a support bundle uses no credentials")
        return self._cluster.get(path)

    def list(self, path: str, *, label_selector: str = "") -> list[Json]:
        """Return all items."""
        return self._cluster.list(path, label_selector=label_selector)

    def __getattr__(self, name: str) -> Callable[..., Json]:
        """Refuse all that is no reading."""

        def refuse(*_given: object, **_named: object) -> Json:
            raise _refusal(f"a support bundle only reads, and does not {name}")

        return refuse


def _refusal(words: str) -> ApiError:
    return ApiError(HTTPStatus.FORBIDDEN, "Forbidden", words)
