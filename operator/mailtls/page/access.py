"""Who reads, and what they may: the API server's word on both, kept for a few seconds and asked for within bounds."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from threading import Lock
from typing import Final, Protocol

from mailtls.api.reading.document import Json
from mailtls.api.resource import GROUP, PLURAL
from mailtls.net.effects import within
from mailtls.net.shared_work import Expiring
from mailtls.page.site import Address

REVIEWS: Final = "/apis/authentication.k8s.io/v1/tokenreviews"
ACCESS_REVIEWS: Final = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
KEPT: Final = 10.0  # seconds: so long does a right last that was taken away
MOST_KEPT: Final = 4096
REVIEW_SECONDS: Final = 5.0
BURST: Final = 20  # reviews at once for tokens that nobody knows, and for each user
RATE: Final = 5.0  # and a second: nobody may use up what the API server grants the operator


class Reviews(Protocol):
    """What of the Kubernetes API is needed here."""

    def create(self, path: str, body: Json) -> Json:
        """POST."""


class TooMany(Exception):
    """More came of one user, or of unknown tokens, than is reviewed; try again in a moment."""


@dataclass(frozen=True, slots=True)
class User:
    """Whom the API server knows by a token; `spec` is how it is named in an access review."""

    name: str
    spec: Json


@dataclass(frozen=True, slots=True)
class Question:
    """What a reader wants to do with resources; `namespace` empty: with those of all namespaces."""

    verb: str
    namespace: str = ""
    name: str = ""

    @classmethod
    def of(cls, wanted: Address) -> "Question":
        """Return what an address takes: to list, or to get the one resource."""
        if wanted.key is not None:
            return cls("get", wanted.key.namespace, wanted.key.name)
        return cls("list", wanted.namespace or "")


class _Budget:
    """So many reviews at once, and so many a second."""

    def __init__(self, now: float) -> None:
        self._left, self._filled_at = float(BURST), now

    def spend(self, now: float) -> None:
        """Take one; raises `TooMany`."""
        self._left = min(float(BURST), self._left + (now - self._filled_at) * RATE)
        self._filled_at = now
        if self._left < 1:
            raise TooMany
        self._left -= 1


_STRANGERS: Final = ""  # is the name of no user


class Access:
    """Asks the API server; both methods raise what the `Cluster` raises, and keep no token, only its hash."""

    def __init__(self, cluster: Reviews, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._cluster, self._monotonic, self._lock = cluster, monotonic, Lock()
        self._users = Expiring[bytes, tuple[User | None]](KEPT, MOST_KEPT, monotonic)
        self._answers = Expiring[tuple[str, Question], bool](KEPT, MOST_KEPT, monotonic)
        self._proven: OrderedDict[bytes, str] = OrderedDict()
        self._budgets: OrderedDict[str, _Budget] = OrderedDict()

    def user(self, token: str) -> User | None:
        """Return whom a token belongs to, None for nobody; raises `TooMany` where too many reviews would be made."""
        key = _key(token)
        kept = self._users.get(key)
        if kept is not None:
            return kept[0]
        self._spend(self._proven.get(key, _STRANGERS))
        found = self._review(token)
        self._users.put(key, (found,))
        self._note(key, found)
        return found

    def kept(self, token: str, question: Question | None) -> tuple[User | None] | None:
        """Return who it is if they may, as it was reviewed a moment ago; None where the API server has to be asked."""
        found = self._users.get(_key(token))
        if found is None or found[0] is None or question is None:
            return found
        allowed = self._answers.get(_asked(found[0], question))
        return None if allowed is None else (found[0] if allowed else None,)

    def is_proven(self, token: str) -> bool:
        """Whether a token was good when it was last reviewed, however long ago."""
        with self._lock:
            return _key(token) in self._proven

    def may(self, user: User, question: Question) -> bool:
        """Whether a user may; raises `TooMany` like `user`."""
        key = _asked(user, question)
        kept = self._answers.get(key)
        if kept is not None:
            return kept
        self._spend(user.name)
        attributes = {"group": GROUP, "resource": PLURAL, "verb": question.verb}
        attributes |= {"namespace": question.namespace, "name": question.name}
        spec = {**user.spec, "resourceAttributes": attributes}
        answer = self._ask(ACCESS_REVIEWS, "authorization.k8s.io/v1", "SubjectAccessReview", spec)
        return self._answers.put(key, answer.get("allowed") is True)

    def _review(self, token: str) -> User | None:
        status = self._ask(REVIEWS, "authentication.k8s.io/v1", "TokenReview", {"token": token})
        found = status.get("user") or {}
        if status.get("authenticated") is not True or not found.get("username"):
            return None
        named = {"user": found["username"], "uid": found.get("uid"), "groups": found.get("groups")}
        spec = {name: value for name, value in {**named, "extra": found.get("extra")}.items() if value}
        return User(str(found["username"]), spec)

    def _ask(self, path: str, version: str, kind: str, spec: Json) -> Json:
        with within(REVIEW_SECONDS):
            answer = self._cluster.create(path, {"apiVersion": version, "kind": kind, "spec": spec})
        return answer.get("status") or {}

    def _spend(self, name: str) -> None:
        """Each user has a budget, and all tokens that nobody knows share one, so that nobody waits for another."""
        with self._lock:
            now = self._monotonic()
            budget = self._budgets.pop(name, None) or _Budget(now)
            self._budgets[name] = budget
            if len(self._budgets) > MOST_KEPT:  # that of the strangers is never the oldest for long
                self._budgets.popitem(last=False)
            budget.spend(now)

    def _note(self, key: bytes, user: User | None) -> None:
        with self._lock:
            self._proven.pop(key, None)
            if user is not None:
                self._proven[key] = user.name
            while len(self._proven) > MOST_KEPT:
                self._proven.popitem(last=False)


def _key(token: str) -> bytes:
    return sha256(token.encode()).digest()


def _asked(user: User, question: Question) -> tuple[str, Question]:
    return repr(user.spec), question
