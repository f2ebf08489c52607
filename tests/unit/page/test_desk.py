"""The status page as the operator serves it: over real TLS, to readers with and without rights, and to attackers."""

import json
import socket
import ssl
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from urllib.parse import urlencode

import pytest

from builders.guarded_page import PeoplesApi, followed, served
from builders.pages import NOW, few_as_json, named
from builders.resources import resource
from mailtls.api.spec import Key
from mailtls.kube.interface import ApiError
from mailtls.net.server_thread import MOST_HANDSHAKES
from mailtls.page.access import BURST


@pytest.fixture
def api() -> PeoplesApi:
    """An API server with a server of each kind."""
    return PeoplesApi(few_as_json())


@pytest.fixture
def port(api: PeoplesApi) -> Iterator[int]:
    """The page before it."""
    with served(api) as found:
        yield found


def trusting() -> ssl.SSLContext:
    """A client that takes any certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def ask(
    port: int, path: str, token: str = "", method: str = "GET", body: str | None = None, **more: str
) -> HTTPResponse:
    """Send one request."""
    connection = HTTPSConnection("127.0.0.1", port, timeout=30, context=trusting())
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    connection.request(method, path, body, headers | {name.replace("_", "-"): value for name, value in more.items()})
    return connection.getresponse()


def names(port: int, path: str, token: str) -> list[str]:
    """The resources of a list as JSON."""
    return sorted(each["name"] for each in json.load(ask(port, path, token))["resources"])


def test_tenant_sees_his_namespace_and_nothing_of_another(port: int) -> None:
    """Neither in lists nor by address; whether something is there is not said either."""
    assert names(port, "/?format=json&namespace=team-a", "team-token") == ["relay"]
    assert ask(port, "/team-a/relay", "team-token").status == 200
    refused = [ask(port, path, "team-token") for path in ("/", "/?namespace=mail", "/mail/mx1", "/mail/there-is-none")]
    assert [each.status for each in refused] == [403] * 4
    pages = [each.read().decode() for each in refused]
    assert not [page for page in pages if "example.com" in page]
    assert pages[2].replace("mx1", "") == pages[3].replace("there-is-none", "")
    assert len(names(port, "/?format=json", "root-token")) == 7
    assert names(port, "/?format=json&namespace=team-a", "root-token") == ["relay"]


def test_who_has_no_good_token_is_shown_the_form(port: int, api: PeoplesApi) -> None:
    """Without a word on whether a namespace or a resource is there; what is no token is not even reviewed."""
    answers = [ask(port, path, token) for path in ("/", "/mail/mx1") for token in ("", "wrong")]
    assert {each.status for each in answers} == {401}
    assert "mx1.example.com" not in "".join(each.read().decode() for each in answers)
    api.created.clear()
    assert ask(port, "/", "a b").status == 401
    assert ask(port, "/", "x" * 8193).status in {400, 401}
    assert api.created == []


def test_every_answer_forbids_scripts_frames_and_caches(port: int) -> None:
    """And ends its connection, so that nothing behind a request is taken for another one."""
    for answer in (ask(port, "/", "root-token"), ask(port, "/"), ask(port, "/mail/nobody", "root-token")):
        assert "default-src 'none'" in (answer.headers["Content-Security-Policy"] or "")
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Connection"] == "close"
        assert answer.headers["Server"] == "mailtls"


def test_person_signs_in_by_a_form_and_out_again(port: int) -> None:
    """The cookie is for this host, TLS and our own pages only; a form of another site signs nobody in."""
    here, form = f"https://127.0.0.1:{port}", urlencode({"token": " mail-token\n"})
    done = ask(port, "/login", method="POST", body=form, Origin=here)
    cookie = done.headers["Set-Cookie"] or ""
    assert (done.status, done.headers["Location"]) == (303, "./")
    assert cookie == "__Host-mailtls=mail-token; Path=/; HttpOnly; SameSite=Strict; Secure"
    seen = ask(port, "/?namespace=mail", Cookie=cookie.split(";")[0]).read().decode()
    assert "mx1.example.com" in seen
    assert "Sign out" in seen
    assert "Max-Age=0" in (ask(port, "/logout").headers["Set-Cookie"] or "")
    assert ask(port, "/login", method="POST", body=form, Origin="https://evil.example").status == 403
    assert ask(port, "/login", method="POST", body=form).status == 403
    assert ask(port, "/login", method="POST", body="token=wrong", Origin=here).status == 401
    assert ask(port, "/login", method="POST", body="token=" + "x" * 20_000, Origin=here).status == 403
    assert ask(port, "/", "root-token", method="PUT", body="x").status == 405
    assert ask(port, "/login", method="POST", body=form, Origin="http://[").status == 403


def test_token_that_a_browser_would_not_keep_is_answered_with_what_to_do(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the form would come again and again, without a word."""
    long = "x" * 4001 + "-token"
    monkeypatch.setattr("builders.guarded_page.PEOPLE", {long: ("",)})
    assert ask(port, "/", long).status == 200
    here = f"https://127.0.0.1:{port}"
    refused = ask(port, "/login", method="POST", body=urlencode({"token": long}), Origin=here)
    assert refused.headers["Set-Cookie"] is None
    assert "kubectl mailtls page" in refused.read().decode()


def test_cookie_without_tls_tells_other_ports_of_the_machine_nothing(api: PeoplesApi) -> None:
    """A browser sends it to all of them; only the process that has set it can read it."""
    with served(api, is_secure=False) as port, served(api, is_secure=False) as other:

        def sent(to: int, method: str, path: str, body: str | None = None, **headers: str) -> HTTPResponse:
            connection = HTTPConnection("127.0.0.1", to, timeout=30)
            connection.request(method, path, body, headers)
            return connection.getresponse()

        done = sent(port, "POST", "/login", "token=root-token", Origin=f"http://127.0.0.1:{port}")
        cookie = (done.headers["Set-Cookie"] or "").split(";")[0]
        assert cookie.startswith("mailtls=")
        assert "root-token" not in cookie
        assert sent(port, "GET", "/", Cookie=cookie).status == 200
        assert sent(other, "GET", "/", Cookie=cookie).status == 401
        assert sent(port, "GET", "/", Cookie="mailtls=root-token").status == 401


def test_flood_of_wrong_tokens_keeps_no_known_reader_out(port: int) -> None:
    """It is refused from some point on; who was known before goes on reading."""
    assert ask(port, "/", "root-token").status == 200
    answers = {ask(port, "/", f"wrong-{number}").status for number in range(BURST + 20)}
    assert answers <= {401, 503}
    assert ask(port, "/?q=mx1", "root-token").status == 200


def test_api_server_that_refuses_reviews_is_named(port: int, api: PeoplesApi) -> None:
    """Nobody sees anything then."""
    api.refuses = ApiError(403, "Forbidden", "may not create tokenreviews")
    answer = ask(port, "/", "root-token")
    assert answer.status == 503
    assert "tokenreviews" not in answer.read().decode()


def test_clients_that_hold_connections_open_lock_nobody_out(port: int) -> None:
    """Some do not even begin with TLS, others never end their request."""
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(3 * MOST_HANDSHAKES)]
    slow = []
    for _ in range(20):
        secured = trusting().wrap_socket(socket.create_connection(("127.0.0.1", port)))
        secured.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        slow.append(secured)
    assert ask(port, "/", "root-token").status == 200
    for each in (*silent, *slow):
        each.close()


@pytest.mark.parametrize(
    "request_", [b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 40_000, b"\x00\x01 nonsense\r\n\r\n"]
)
def test_request_that_is_too_long_or_none_ends_the_connection(port: int, request_: bytes) -> None:
    """Without repeating any of it."""
    with trusting().wrap_socket(socket.create_connection(("127.0.0.1", port))) as secured:
        secured.settimeout(30)
        secured.sendall(request_ + b"\r\n\r\n")
        answer = b""
        try:
            while more := secured.recv(4096):
                answer += more
        except (ConnectionError, ssl.SSLError):
            pass
    assert b"aaaa" not in answer
    assert b"nonsense" not in answer
    assert not answer or answer.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400"))


def test_feed_follows_what_changes_and_keeps_no_more_than_is_shown() -> None:
    """Events in their order; of namespaces that were named those alone; a status that was blown up is cut."""
    gone, added = (
        few_as_json()[0],
        named(resource(endpoints=[few_as_json()[0]["status"]["endpoints"][0]] * 500), "more"),
    )
    for each in (gone, added):
        each["metadata"]["resourceVersion"] = "2"
    added["status"]["docsURL"] = "https://evil.example/{page}"
    events = [{"type": "ADDED", "object": added}, {"type": "DELETED", "object": gone}]
    events.append({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "3"}}})
    feed = followed(PeoplesApi(few_as_json(), events), "mail")
    seen = {view.key: view for view in feed.views(lambda _key: True)}
    assert set(seen) == {Key("mail", "mx2"), Key("mail", "imap"), Key("mail", "more")}
    assert len(seen[Key("mail", "more")].endpoints) == 100
    assert not seen[Key("mail", "more")].docs_url  # the operator knows its own
    assert feed.heard_at() == NOW


def test_resource_that_cannot_be_read_takes_no_other_from_the_page() -> None:
    """Listed or changed, and however it came to be so."""
    broken = few_as_json()[0]
    broken["metadata"] |= {"generation": "many", "resourceVersion": "2"}
    key = Key(broken["metadata"]["namespace"], broken["metadata"]["name"])
    rest = few_as_json()[1:]
    assert len(followed(PeoplesApi([broken, *rest])).views(lambda _key: True)) == len(rest)
    changed = followed(PeoplesApi(few_as_json(), [{"type": "MODIFIED", "object": broken}]))
    assert key not in {view.key for view in changed.views(lambda _key: True)}


def test_feed_that_has_not_listed_yet_says_so(api: PeoplesApi) -> None:
    """The page must not look as if there were no mail servers."""
    feed = followed(api, "mail", "team-a")
    feed._heard["/apis/mailtls.dev/v1alpha1/namespaces/mail/mailservertls"] = None
    assert feed.heard_at() is None
