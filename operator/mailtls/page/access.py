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
BURST: Final = 20  # reviews for tokens that nobody knows, at once
RATE: Final = 5.0  # and a second: who sends rubbish must not use up what the API server grants the operator


class Reviews(Protocol):
    """What of the Kubernetes API is needed here."""

    def create(self, path: str, body: Json) -> Json:
        """POST."""


class TooMany(Exception):
    """More unknown tokens came than are reviewed; try again in a moment."""


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


class Access:
    """Asks the API server; both methods raise what the `Cluster` raises, and keep no token, only its hash."""

    def __init__(self, cluster: Reviews, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._cluster, self._monotonic, self._lock = cluster, monotonic, Lock()
        self._users = Expiring[bytes, tuple[User | None]](KEPT, MOST_KEPT, monotonic)
        self._answers = Expiring[tuple[str, Question], bool](KEPT, MOST_KEPT, monotonic)
        self._proven: OrderedDict[bytes, None] = OrderedDict()
        self._budget, self._filled_at = float(BURST), monotonic()

    def user(self, token: str) -> User | None:
        """Return whom a token belongs to, None for nobody; raises `TooMany` where too many unknown ones came."""
        key = sha256(token.encode()).digest()
        kept = self._users.get(key)
        if kept is not None:
            return kept[0]
        self._spend(key)
        found = self._review(token)
        self._users.put(key, (found,))
        self._note(key, is_proven=found is not None)
        return found

    def is_proven(self, token: str) -> bool:
        """Whether a token was good when it was last reviewed, however long ago."""
        with self._lock:
            return sha256(token.encode()).digest() in self._proven

    def may(self, user: User, question: Question) -> bool:
        """Whether a user may."""
        key = (repr(user.spec), question)
        kept = self._answers.get(key)
        if kept is not None:
            return kept
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

    def _spend(self, key: bytes) -> None:
        """Let tokens pass that were good before; others share a budget, so that nobody waits for them."""
        with self._lock:
            if key in self._proven:
                return
            now = self._monotonic()
            self._budget = min(float(BURST), self._budget + (now - self._filled_at) * RATE)
            self._filled_at = now
            if self._budget < 1:
                raise TooMany
            self._budget -= 1

    def _note(self, key: bytes, *, is_proven: bool) -> None:
        with self._lock:
            self._proven.pop(key, None)
            if is_proven:
                self._proven[key] = None
            while len(self._proven) > MOST_KEPT:
                self._proven.popitem(last=False)
