"""Fetches a challenge response as a CA does (RFC 8555 section 8.3), before the CA is asked to validate."""

import asyncio
import errno
import os
import socket
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from mailtls.issuance.solvers.http01_server import PATH
from mailtls.net.addresses import AddressPolicy

_SECONDS: Final = 5.0  # for everything: lookup, redirects and body
_MOST_REDIRECTS: Final = 10
_LONGEST_BODY: Final = 1024  # a key authorization has 87 octets with the tokens in use today
_LOOKUPS: Final = 256  # at a time; the system gives one up after a minute only, and we after seconds
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_CA_PORTS: Final = {"http": 80, "https": 443}  # the only ones that a CA follows a redirect to
_PATIENCE: Final = 1.0


class _Unseen(Exception):
    """The token is not to be had; the text completes "The self-check ... "."""


class _Guarded(AbstractResolver):
    """Resolves names, and gives only addresses that may be dialled: exactly these are connected to."""

    def __init__(self, policy: AddressPolicy) -> None:
        self._policy, self._resolver = policy, aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Look the name up; raises `_Unseen` when all its addresses are refused."""
        found = await self._resolver.resolve(host, port, family)
        admitted = [each for each in found if self._policy.refusal(each["host"], each["port"]) is None]
        if not admitted:
            raise _Unseen("the name leads to an address that the operator does not connect to")
        return admitted

    async def close(self) -> None:
        """Hold nothing."""


class Http01Check:
    """Asks `http://host/.well-known/acme-challenge/token`; thread-safe, with one event loop for all its callers.

    `port` is for hosts that answer elsewhere than a CA would ask, as in tests. What `policy` refuses is not dialled.
    """

    def __init__(self, port: int = 80, policy: AddressPolicy | None = None) -> None:
        self._port, self._policy = port, policy or AddressPolicy()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def fault(self, host: str, token: str, key_authorization: str) -> str | None:
        """Return what is wrong in a few words; None when the token is answered within ten redirects and five seconds.

        Never a word of what was answered: redirects may lead to places that the resource's owner cannot read.
        """
        try:
            self._run(self._look(host, token, key_authorization))
        except _Unseen as unseen:
            return str(unseen)
        except TimeoutError:
            return "no answer came in time"
        except (aiohttp.ClientError, OSError, ValueError, UnicodeError) as error:
            return _meaning(error)
        return None

    def _run(self, look: Coroutine[Any, Any, None]) -> None:
        future = asyncio.run_coroutine_threadsafe(look, self._running())
        try:
            future.result(_SECONDS + _PATIENCE)
        finally:
            future.cancel()

    def _running(self) -> asyncio.AbstractEventLoop:
        """Start the loop at the first look; its thread never holds the process back at the end."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._loop.set_default_executor(ThreadPoolExecutor(_LOOKUPS, "http01-lookup"))
                threading.Thread(target=self._loop.run_forever, name="http01-check", daemon=True).start()
            return self._loop

    async def _look(self, host: str, token: str, key_authorization: str) -> None:
        url = f"http://{host}:{self._port}{PATH}{token}"
        timeout = aiohttp.ClientTimeout(total=None)  # one limit for all requests together: the one below
        # ssl=False: a CA follows a redirect to https without checking the certificate, which may be what is to be made.
        connector = aiohttp.TCPConnector(
            ssl=False, force_close=True, resolver=_Guarded(self._policy), socket_factory=self._socket
        )
        async with asyncio.timeout(_SECONDS), aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            for redirects in range(_MOST_REDIRECTS + 1):
                async with session.get(url, allow_redirects=False, headers={"Accept": "*/*"}) as response:
                    target = self._target(url, response)
                    if target is None:
                        return await _judge(response, key_authorization, is_redirected=bool(redirects))
                    url = target
        raise _Unseen(f"there are more than {_MOST_REDIRECTS} redirects")

    def _socket(self, found: aiohttp.AddrInfoType) -> socket.socket:
        """Make the socket for an address, if it may be dialled.

        No resolver is asked for a host that is an address, which a redirect can write in the digits of any script:
        here it is the address itself.
        """
        family, kind, protocol, _, (host, port, *_) = found
        if self._policy.refusal(str(host), int(port)) is not None:
            raise _Unseen("a redirect leads to an address that the operator does not connect to")
        return socket.socket(family, kind, protocol)

    def _target(self, url: str, response: aiohttp.ClientResponse) -> str | None:
        location = response.headers.get("Location")
        if response.status not in _REDIRECTS or location is None:
            return None
        target = urljoin(url, location)
        parts = urlsplit(target)
        port = _CA_PORTS.get(parts.scheme) if parts.port is None else parts.port
        if parts.scheme not in _CA_PORTS or port not in {*_CA_PORTS.values(), self._port}:
            raise _Unseen("a redirect leads to another port than 80 and 443, which a CA does not follow")
        return target


async def _judge(response: aiohttp.ClientResponse, key_authorization: str, *, is_redirected: bool) -> None:
    if response.status != HTTPStatus.OK and is_redirected:  # by whom, to whatever path there: the status is theirs
        raise _Unseen(f"a redirect leads to an answer that is not {HTTPStatus.OK}")
    if response.status != HTTPStatus.OK:
        raise _Unseen(f"the answer is {response.status}")
    body = b""
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > _LONGEST_BODY:
            break
    if body[: _LONGEST_BODY + 1].rstrip() != key_authorization.encode(
        "ascii"
    ):  # RFC 8555 allows white space at its end
        raise _Unseen("something else than this operator answers")


def _meaning(error: Exception) -> str:
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "the name does not resolve"
        case aiohttp.ClientConnectorError():
            return f"there is no connection ({os.strerror(error.errno or errno.ECONNREFUSED).lower()})"
        case aiohttp.ClientResponseError():
            return "what answers there speaks no HTTP"
        case ValueError():
            return "a redirect leads to no URL"
    return "the connection broke"
