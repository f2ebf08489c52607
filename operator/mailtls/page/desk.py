"""The page as the operator serves it: a token first, then the API server's access review, then the page."""

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Final, TypeVar
from urllib.parse import parse_qs

import structlog
from aiohttp import web

from mailtls.kube.interface import ApiError, Unreachable
from mailtls.net.http_server import last_answer
from mailtls.page import site
from mailtls.page.access import REVIEW_SECONDS, Access, Question, TooMany, User
from mailtls.page.feed import Feed
from mailtls.page.frame import Board, Page, Reader, notice
from mailtls.page.server import METHODS, moved, response, split
from mailtls.page.signing import TOO_LONG, UNKNOWN, Cookie, sign_in
from mailtls.page.site import Address
from mailtls.times import Clock

WORKERS: Final = 4  # reviews at a time in a lane
MOST_WAITING: Final = 32  # in a lane
MOST_OCTETS: Final = 12_288  # of a form
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=-]{1,8192}")  # RFC 6750 section 2.1
_R = TypeVar("_R")
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Given:
    """A token, and whether it came from our own cookie."""

    token: str = ""
    is_cookie: bool = False


class _Busy(Exception):
    """So many wait for a review that another one would wait too long."""


class _Lane:
    """A few threads that make reviews, and so many readers who wait for them at most."""

    def __init__(self, name: str) -> None:
        self._threads, self._waiting = ThreadPoolExecutor(WORKERS, thread_name_prefix=name), 0

    async def run(self, review: Callable[[], _R]) -> _R:
        """Make a review; raises `_Busy`, or TimeoutError."""
        if self._waiting >= MOST_WAITING:
            raise _Busy
        self._waiting += 1
        future, loop = self._threads.submit(review), asyncio.get_running_loop()
        future.add_done_callback(lambda _done: loop.call_soon_threadsafe(self._leave))
        return await asyncio.wait_for(asyncio.wrap_future(future), 2 * REVIEW_SECONDS)

    def _leave(self) -> None:
        self._waiting -= 1


class Desk:
    """Answers requests. Readers whose token was good before are reviewed apart from those whom nobody knows yet."""

    def __init__(self, access: Access, feed: Feed, clock: Clock, *, is_secure: bool) -> None:
        self._access, self._feed, self._clock, self._cookie = access, feed, clock, Cookie(is_secure=is_secure)
        self._readers, self._strangers = _Lane("page-readers"), _Lane("page-strangers")

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        try:
            return await self._answer(request)
        except (web.HTTPException, web.RequestPayloadError, OSError, EOFError):
            raise  # the reader's own
        except Exception:
            log.exception("the status page failed")
            return last_answer(HTTPStatus.INTERNAL_SERVER_ERROR)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path, query = split(request)
        board = Board(self._clock.now())
        if path == "/login" and request.method == "POST":
            return await self._sign_in(request, board)
        if request.method not in METHODS:
            return last_answer(HTTPStatus.METHOD_NOT_ALLOWED)
        if path == "/logout":
            return moved("./", self._cookie.forgetting(), Page(HTTPStatus.SEE_OTHER, ""))
        wanted = site.address(path, query)
        if wanted is None:
            return response(notice(404, "Not found", "There is no such page.", board))
        return await self._show(wanted, self._given(request), board)

    async def _show(self, wanted: Address, given: _Given, board: Board) -> web.StreamResponse:
        root = "../" if wanted.key else "./"
        user = await self._reviewed(given.token, None, board) if given.token else None
        if isinstance(user, web.Response):
            return user
        if user is None:
            return response(sign_in(board, root, UNKNOWN if given.token else ""), {"WWW-Authenticate": "Bearer"})
        board = Board(board.now, self._feed.heard_at(), Reader(user.name, can_sign_out=given.is_cookie))
        question = Question.of(wanted)
        allowed = await self._reviewed(given.token, question, board)
        if isinstance(allowed, web.Response):
            return allowed
        if allowed is None:
            return response(_refused(question, board, root))
        if board.heard_at is None:
            return response(
                notice(503, "One moment", "The mail servers are being listed. Load the page again.", board, root)
            )
        views = self._feed.views(lambda key: not question.namespace or key.namespace == question.namespace)
        return response(site.page(wanted, views, board))

    async def _reviewed(self, token: str, question: Question | None, board: Board) -> "User | web.Response | None":
        """Return who it is, if they may; None if they may not, a response where that cannot be known now."""
        if (kept := self._access.kept(token, question)) is not None:
            return kept[0]
        lane = self._readers if self._access.is_proven(token) else self._strangers
        try:
            return await lane.run(partial(self._review, token, question))
        except (TooMany, _Busy, TimeoutError):
            return _busy(board)
        except (ApiError, Unreachable) as problem:
            log.warning("the status page could not ask the API server who may read it", error=str(problem))
            words = "The API server does not say who may read this page. The operator's log says why."
            return response(notice(503, "Not now", words, board))

    def _review(self, token: str, question: Question | None) -> User | None:
        user = self._access.user(token)
        return user if user is None or question is None or self._access.may(user, question) else None

    def _given(self, request: web.BaseRequest) -> _Given:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and _TOKEN.fullmatch(token.strip()):
            return _Given(token.strip())
        kept = self._cookie.token(request.cookies)
        return _Given(kept, is_cookie=True) if _TOKEN.fullmatch(kept) else _Given()

    async def _sign_in(self, request: web.BaseRequest, board: Board) -> web.StreamResponse:
        if not _is_from_here(request) or not 0 < (request.content_length or 0) <= MOST_OCTETS:
            return last_answer(HTTPStatus.FORBIDDEN)
        form = parse_qs((await request.content.readexactly(request.content_length or 0)).decode("ascii", "replace"))
        token = "".join(form.get("token", [""])[-1].split())
        user = await self._reviewed(token, None, board) if _TOKEN.fullmatch(token) else None
        if isinstance(user, web.Response):
            return user
        if user is None:
            return response(sign_in(board, "./", UNKNOWN))
        cookie = self._cookie.keeping(token)
        if cookie is None:
            return response(sign_in(board, "./", TOO_LONG))
        return moved("./", cookie, Page(HTTPStatus.SEE_OTHER, ""))


def _is_from_here(request: web.BaseRequest) -> bool:
    """Whether a form was sent by a page of ours: no other site may sign a reader in as somebody else."""
    scheme, _, host = request.headers.get("Origin", "").partition("://")
    return bool(scheme and host) and host == request.headers.get("Host", "")


def _busy(board: Board) -> web.Response:
    words = "Too many readers are being checked. Load the page again in a moment."
    return response(notice(503, "Not now", words, board), {"Retry-After": "5"})


def _refused(question: Question, board: Board, root: str) -> Page:
    """Say what is missing; whether there is such a namespace or resource is not said."""
    where = f"in namespace {question.namespace}" if question.namespace else "in all namespaces"
    words = f"You may not {question.verb} mailservertls.mailtls.dev {where}."
    if not question.namespace:
        words += " Name a namespace that you may see."
    return site.refusal(words, board, root)
