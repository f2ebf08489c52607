"""Fetches an MTA-STS policy as a sender would (RFC 8461 section 3.3): one HTTPS request, nothing followed."""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from mailtls.maildomain.facts import StsFault, StsFetch
from mailtls.net.addresses import AddressPolicy
from mailtls.pki.roots import add_roots, missing_roots
from mailtls.pki.served_certificate import WITHOUT_ROOT
from mailtls.reasons.quoting import quote, shorten

PATH: Final = "/.well-known/mta-sts.txt"
LARGEST_POLICY: Final = 65536  # RFC 8461 section 3.3 suggests 64 kilobytes
LONGEST_SECONDS: Final = 60.0  # and one minute
_HTTPS: Final = 443


class PolicyFetcher:
    """Fetches policies; `roots_pem` are trusted besides the system's roots, `port` is for servers in tests.

    Addresses that `policy` refuses are not dialled; without one all are, as befits the command line.

    `seconds` is the limit for all of it, from the first packet to the last octet, at most a minute. Raises ValueError
    with a sentence for roots that are none.
    """

    def __init__(
        self, roots_pem: str = "", port: int = _HTTPS, seconds: float = 10.0, *, policy: AddressPolicy | None = None
    ) -> None:
        self._context, self._port, self._has_own_roots = _context(roots_pem), port, bool(roots_pem.strip())
        self._seconds, self._policy = min(seconds, LONGEST_SECONDS), policy

    def fetch(self, host: str, addresses: Sequence[str], seconds: float | None = None) -> StsFetch:
        """Fetch the policy of `host` from the first of its addresses that answers; never raises for what it does."""
        limit = self._seconds if seconds is None else min(self._seconds, seconds)
        policy, port = self._policy, self._port
        refusals = {each: what for each in addresses if policy and (what := policy.refusal(each, port))}
        admitted = [each for each in addresses if each not in refusals]
        if refusals and not admitted:
            address, what = next(iter(refusals.items()))
            return StsFetch(StsFault.UNREACHABLE, f"its address {address} is {what}, which is not connected to")
        try:
            return asyncio.run(self._fetch(host, admitted, limit))
        except TimeoutError:
            return StsFetch(StsFault.UNREACHABLE, f"no complete answer in {limit:.0f} seconds")
        except aiohttp.ClientConnectorCertificateError as refusal:
            return self._distrusted(refusal.certificate_error)
        except aiohttp.ClientConnectorSSLError as error:
            return StsFetch(StsFault.CERTIFICATE, f"the TLS handshake failed ({shorten(str(error.os_error))})")
        except (aiohttp.ClientError, OSError, ValueError, EOFError) as error:
            return StsFetch(StsFault.UNREACHABLE, _meaning(error))

    def _distrusted(self, error: Any) -> StsFetch:
        """Say whose fault it is: without roots no certificate can be trusted, and the server's may be good."""
        missing = "" if self._has_own_roots else missing_roots()
        if missing and getattr(error, "verify_code", 0) in WITHOUT_ROOT:
            return StsFetch(StsFault.NO_ROOTS, missing)
        return StsFetch(StsFault.CERTIFICATE, _objection(error))

    async def _fetch(self, host: str, addresses: Sequence[str], seconds: float) -> StsFetch:
        connector = aiohttp.TCPConnector(
            resolver=_Known(addresses), ssl=self._context, force_close=True, use_dns_cache=False
        )
        # Identity: a body that grows when it is unpacked could exceed the limit unnoticed.
        headers = {"Accept-Encoding": "identity", "Accept": "text/plain, */*;q=0.1"}
        timeout = aiohttp.ClientTimeout(total=None)  # the one below holds for everything
        async with (
            asyncio.timeout(seconds),
            aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session,
            session.get(f"https://{host}:{self._port}{PATH}", headers=headers, allow_redirects=False) as response,
        ):
            return await _read(response)


class _Known(AbstractResolver):
    """Gives the addresses that were looked up already, by the resolvers that the user chose."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002 - both families are given
    ) -> list[ResolveResult]:
        """Return all addresses, whatever the host."""
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        """Hold nothing."""


def _context(roots_pem: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if roots_pem.strip():
        try:
            add_roots(context, roots_pem)
        except ValueError as error:
            raise ValueError(f"The bundle of roots cannot be used: {error}.") from None
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # on by default from Python 3.13 on, but senders are not so strict
    context.hostname_checks_common_name = False  # RFC 8461 section 3.3 wants a DNS-ID
    return context


async def _read(response: aiohttp.ClientResponse) -> StsFetch:
    status = response.status
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return StsFetch(StsFault.REDIRECT, f"{status} to {quote(response.headers.get('Location', '').encode())}")
    if status != HTTPStatus.OK:
        return StsFetch(StsFault.STATUS, f"HTTP status {status}")
    given = response.headers.get("Content-Type", "")
    if given.partition(";")[0].strip().lower() != "text/plain":
        return StsFetch(StsFault.CONTENT_TYPE, quote(given.encode(errors="replace")))
    body = b""
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > LARGEST_POLICY:
            return StsFetch(StsFault.TOO_LARGE, f"more than {LARGEST_POLICY} octets")
    return StsFetch(body=body)


def _objection(error: Any) -> str:
    return shorten(getattr(error, "verify_message", "") or str(error))


def _meaning(error: Exception) -> str:
    match error:
        case aiohttp.ClientConnectorError():
            return f"no connection ({os.strerror(error.errno or errno.ECONNREFUSED).lower()})"
        case aiohttp.ClientResponseError() | ValueError():
            return "what answers there speaks no HTTP"
    return "the connection broke"
