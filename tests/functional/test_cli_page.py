"""`mailtls page` as a program, in a real browser: what a postmaster sees at three widths, and who else sees nothing."""

import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser

from builders import pages
from builders.guarded_page import PeoplesApi, served
from functional.browser import CHROMIUM, Visit, browser
from functional.cli import KUBECONFIG

in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is missing: no page was seen in a browser")


class ApiServer(BaseHTTPRequestHandler):
    """Lists a server of each kind, and one whose every text is an attack."""

    def do_GET(self) -> None:
        """Answer."""
        later = datetime.now(UTC) - pages.NOW + timedelta(minutes=5)
        shown = pages.moved([*pages.few_as_json(), pages.hostile_as_json()], later)
        if "/namespaces/" in self.path:
            shown = [each for each in shown if f"/namespaces/{each['metadata']['namespace']}/" in self.path]
        body = json.dumps({"metadata": {}, "items": shown}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the program says that the page is."""
    with ThreadingHTTPServer(("127.0.0.1", 0), ApiServer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        file = tmp_path_factory.mktemp("page") / "kubeconfig"
        file.write_text(KUBECONFIG.format(port=server.server_port))
        with started("-A", kubeconfig=file) as program:
            assert program.stdout is not None
            yield program.stdout.readline().strip()
            program.terminate()
        server.shutdown()


def started(*arguments: str, kubeconfig: Path) -> subprocess.Popen[str]:
    """The program, as a person starts it."""
    command = [sys.executable, "-m", "mailtls", "page", *arguments, "--kubeconfig", str(kubeconfig)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for all."""
    with browser() as found:
        yield found


def answered(address: str, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    """What the server says to a request."""
    connection = HTTPConnection(urlsplit(address).netloc, timeout=30)
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    return response.status, response.read().decode()


def test_page_is_for_who_knows_its_address(address: str) -> None:
    """Others on the machine do not, nor a site that leads a browser here by a name of its own."""
    root = urlsplit(address).path
    assert len(root) > 20
    assert answered(address, root)[0] == 200
    assert answered(address, f"{root}mail/mx1?format=json")[0] == 200
    refused = [answered(address, "/"), answered(address, root, Host="evil.example"), answered(address, f"{root[:-2]}/")]
    assert refused == [(404, "")] * 3
    assert answered(address, root, "POST")[0] == 405
    assert answered(address, f"{root}mail/nobody")[0] == 404


@in_a_browser
def test_every_page_fits_every_window_in_light_and_dark(address: str, chromium: Browser) -> None:
    """Nothing sticks out, is cut off, breaks the policy or runs, whatever others have written."""
    visit = Visit(chromium)
    for path in ("", "?q=mx&order=name", "mail/mx1", "team-a/relay", "team-b/new", "tenant/evil"):
        visit.tab.goto(address + path)
        assert visit.faults() == [], path
    assert visit.background("light") == "rgb(245, 246, 248)"
    assert visit.background("dark") == "rgb(15, 19, 24)"


@in_a_browser
def test_no_page_has_a_barrier(address: str, chromium: Browser) -> None:
    """By axe-core: the list, servers in each state, one that is not there, the sign-in and a refusal."""
    visit = Visit(chromium, ignore_https_errors=True)
    for path in ("", "mail/mx1", "team-b/new", "tenant/evil", "mail/nobody"):
        visit.tab.goto(address + path)
        assert visit.barriers() == [], path
    with served(PeoplesApi(pages.few_as_json())) as port:
        visit.tab.goto(f"https://127.0.0.1:{port}/")
        assert visit.barriers() == []
        visit.tab.get_by_label("Bearer token").fill("mail-token")
        visit.tab.keyboard.press("Enter")
        visit.tab.get_by_role("heading", name="Not allowed").wait_for()
        assert visit.barriers() == []


@in_a_browser
def test_barriers_are_found_in_both_schemes(chromium: Browser) -> None:
    """A colour that is too pale in the dark only, and a picture without words."""
    visit = Visit(chromium)
    style = "<style>@media(prefers-color-scheme:dark){body{background:#000}p{color:#333}}</style>"
    visit.tab.set_content(f'<html lang="en"><title>Mail</title>{style}<p>Pale</p><img src="data:,">')
    found = {each.partition(": <")[0] for each in visit.barriers()}
    assert found == {
        *(f"{width} {scheme}: image-alt" for width in (360, 1280) for scheme in ("light", "dark")),
        *(f"{width} dark: color-contrast" for width in (360, 1280)),
    }


@in_a_browser
def test_postmaster_finds_what_is_wrong_by_keyboard(address: str, chromium: Browser) -> None:
    """From the list by its search to the server, to what to do about it, and to the JSON."""
    visit = Visit(chromium)
    visit.tab.goto(address)
    visit.tab.keyboard.press("Tab")
    assert visit.tab.evaluate("document.activeElement.textContent") == "Skip to the content"
    with visit.tab.expect_navigation():  # the page before has the same field and the same row
        visit.tab.get_by_role("link", name="Not ready").click()
    visit.tab.get_by_label("Name, host or reason").fill("servingold")
    with visit.tab.expect_navigation():
        visit.tab.keyboard.press("Enter")
    row = visit.tab.get_by_role("row").filter(has_text="mx1.example.com")
    assert "84 days left" in row.inner_text()
    visit.tab.get_by_role("link", name="mx1").press("Enter")
    visit.tab.get_by_role("heading", name="mx1.example.com").wait_for()
    cell = visit.tab.get_by_role("row", name="postfix-1").get_by_role("cell").nth(1)
    assert re.split(r"\s*\n\s*", cell.inner_text()) == [
        "✕ ServingOldCertificate", "TLS 1.3", "12 days left", "another certificate",
    ]  # fmt: skip
    assert (
        "What to do: Reload the server" in visit.tab.get_by_role("listitem").filter(has_text="Served by").inner_text()
    )
    visit.tab.get_by_role("link", name="This page as JSON").click()
    assert json.loads(visit.tab.inner_text("pre"))["name"] == "mx1"
    assert visit.complaints == []


@in_a_browser
def test_person_signs_in_to_the_page_that_the_operator_serves(chromium: Browser) -> None:
    """By a token, over TLS; the browser keeps the cookie, and forgets it when told to."""
    with served(PeoplesApi(pages.few_as_json())) as port:
        visit = Visit(chromium, ignore_https_errors=True)
        visit.tab.goto(f"https://127.0.0.1:{port}/")
        assert visit.faults()[1:] == []  # the first is Chromium's own word on the 401
        visit.tab.get_by_label("Bearer token").fill("mail-token")
        visit.tab.keyboard.press("Enter")
        visit.tab.get_by_role("heading", name="Not allowed").wait_for()
        visit.tab.get_by_label("Namespace").fill("mail")
        visit.tab.get_by_role("button", name="Show").click()
        visit.tab.get_by_role("link", name="mx1").click()
        visit.tab.get_by_role("heading", name="mx1.example.com").wait_for()
        visit.tab.get_by_role("link", name="Sign out").click()
        visit.tab.get_by_role("heading", name="Sign in").wait_for()
        assert visit.tab.context.cookies() == []


@pytest.mark.skipif(shutil.which("w3m") is None, reason="w3m is missing: no page was read as text")
def test_page_reads_well_as_text(address: str) -> None:
    """In a terminal, without colours or pictures."""
    _, html = answered(address, f"{urlsplit(address).path}mail/mx1")
    command = ["w3m", "-dump", "-cols", "100", "-T", "text/html"]
    shown = subprocess.run(command, input=html, capture_output=True, text=True, check=True).stdout
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert "Served by every port: no" in lines
    assert "✕ Not ready ServingOldCertificate · a person has to act" in lines
    assert any("✓ OK ✕ ServingOldCertificate" in line for line in lines)
    assert any("TLS 1.3 TLS 1.3 TLS 1.2 TLS 1.3" in line for line in lines)


def test_namespace_of_the_context_is_shown_without_more(tmp_path: Path) -> None:
    """As `mailtls status` does."""
    with ThreadingHTTPServer(("127.0.0.1", 0), ApiServer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        file = tmp_path / "kubeconfig"
        file.write_text(KUBECONFIG.format(port=server.server_port))
        with started(kubeconfig=file) as program:
            assert program.stdout is not None
            found = program.stdout.readline().strip()
            listed = json.loads(answered(found, f"{urlsplit(found).path}?format=json")[1])["resources"]
            program.terminate()
        server.shutdown()
    assert {each["namespace"] for each in listed} == {"mail"}
