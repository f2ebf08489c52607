"""One HTTPS request to a stranger that says it is an ACME server, bounded in time, in size and in where it may lead."""

from collections.abc import Mapping
from http import HTTPStatus
from http.client import HTTPException
from io import BytesIO
from typing import Final, Protocol
from urllib.parse import urljoin, urlsplit

import requests
from requests.utils import get_environ_proxies
from urllib3.exceptions import HTTPError, ReadTimeoutError

from mailtls.issuance.acme.connection import CONNECT_SECONDS, AddressRefused, Roots
from mailtls.net.addresses import AddressPolicy
from mailtls.net.effects import seconds_left, within
from mailtls.reasons.quoting import printable, shorten

REQUEST_SECONDS: Final = 30.0  # from the lookup of the name to the last octet of the answer, redirects included
LARGEST_BODY: Final = 1 << 20
_MOST_REDIRECTS: Final = 5
_REDIRECTS: Final = frozenset(
    {
        HTTPStatus.MOVED_PERMANENTLY,
        HTTPStatus.FOUND,
        HTTPStatus.SEE_OTHER,
        HTTPStatus.TEMPORARY_REDIRECT,
        HTTPStatus.PERMANENT_REDIRECT,
    }
)
_CHUNK: Final = 1 << 16


class Unfit(requests.ConnectionError):
    """The server's answer, or where it leads, is not taken; the text completes "Let the operator reach URL: ..."."""


class NotAdmitted(Unfit):
    """The server's addresses are such as the operator does not connect to."""


class NotHttps(Unfit):
    """A URL that the server gave is none of https (RFC 8555 section 6.1)."""


class Send(Protocol):
    """Sends one request and returns the whole answer; raises `requests.RequestException` for all that is none."""

    def __call__(self, method: str, url: str, headers: Mapping[str, str], data: str | None = None) -> requests.Response:
        """Send, and follow redirects of GET alone."""


class MakeTransport(Protocol):
    """Makes what sends the requests of one account."""

    def __call__(
        self, directory_url: str, roots_pem: str = "", *, policy: AddressPolicy | None = None, pooled: int = 1
    ) -> Send:
        """Trust `roots_pem`, and dial only addresses that `policy` admits."""


class Transport:
    """Thread-safe. What is read is the answer's own octets, never unpacked: a small body could fill all memory.

    `directory_url` decides which proxy of the environment leads there, looked up once. Raises what `Roots` raises.
    """

    def __init__(
        self, directory_url: str, roots_pem: str = "", *, policy: AddressPolicy | None = None, pooled: int = 1
    ) -> None:
        self._proxies = dict(get_environ_proxies(directory_url))
        self._adapter = Roots(roots_pem, policy=policy, pool_maxsize=pooled)

    def __call__(self, method: str, url: str, headers: Mapping[str, str], data: str | None = None) -> requests.Response:
        """Send and return the whole answer; raises `requests.RequestException` for all that is none.

        Redirects are followed for GET alone: nothing signed is sent to where it was not signed for.
        """
        with within(REQUEST_SECONDS):
            for _ in range(_MOST_REDIRECTS + 1):
                response = self._exchange(method, url, headers, data)
                target = _redirected(response) if method == "GET" else None
                if target is None:
                    return response
                url = target
        raise Unfit(f"it redirects more than {_MOST_REDIRECTS} times")

    def close(self) -> None:
        """Close the connections that are kept."""
        self._adapter.close()

    def _exchange(self, method: str, url: str, headers: Mapping[str, str], data: str | None) -> requests.Response:
        require_https(url)
        request = requests.PreparedRequest()
        times = (CONNECT_SECONDS, REQUEST_SECONDS)
        try:
            request.prepare(method, url, headers=dict(headers), data=data)
            response = self._adapter.send(request, stream=True, timeout=times, proxies=self._proxies)
            response.raw = BytesIO(_body(response))
        except requests.RequestException:
            raise
        except AddressRefused as refused:
            raise NotAdmitted(str(refused)) from None
        except (ReadTimeoutError, TimeoutError) as error:
            raise requests.ReadTimeout(str(error)) from error
        except (HTTPError, HTTPException, OSError) as error:
            raise requests.ConnectionError(str(error)) from error
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            # What libraries say of URLs and headers that nobody would send in earnest.
            raise Unfit(f"its answer is not HTTP ({type(error).__name__})") from error
        response.encoding = "utf-8"  # RFC 8555 section 6.1: all of ACME is JSON or PEM
        return response


def require_https(url: str) -> None:
    """Raise `NotHttps` for a URL that is none of https; bodies, keys and nonces go nowhere else."""
    try:
        parts = urlsplit(url)
        is_fit = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_fit = False
    if not is_fit:
        raise NotHttps(f"it leads to {shorten(printable(url))}, which is not an https URL")


def location_of(response: requests.Response) -> str | None:
    """Return the URL of what a request made, None where the answer names none; raises `NotHttps`."""
    given = response.headers.get("Location")
    if not given:
        return None
    try:
        whole = urljoin(response.url, given)
    except ValueError:
        raise NotHttps("it names something that is not a URL") from None
    require_https(whole)
    return whole


def _body(response: requests.Response) -> bytes:
    body = b""
    for chunk in response.raw.stream(_CHUNK, decode_content=False):
        body += chunk
        if len(body) > LARGEST_BODY:
            response.close()
            raise Unfit("its answer is larger than 1 MiB")
        seconds_left()
    response.raw.release_conn()
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if body and encoding not in {"", "identity"}:
        raise Unfit("it compresses its answer, though that was not requested")
    return body


def _redirected(response: requests.Response) -> str | None:
    location = response.headers.get("Location")
    if response.status_code not in _REDIRECTS or location is None:
        return None
    try:
        return urljoin(response.url, location)
    except ValueError:
        raise NotHttps("it redirects to something that is not a URL") from None
