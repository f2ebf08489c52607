"""Does with its certificate what Stalwart 0.16 does (seen in its tls.rs and action.rs), in one process for all ports.

It reads the files when it starts and by the action of its API, and does not watch them. The entry of its registry whose
certificate has expired is deleted: it serves one of its own then, whatever the files hold later.
"""

import base64
import json
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FILES = ("/etc/stalwart-tls/tls.crt", "/etc/stalwart-tls/tls.key")
OWN = ("/tmp/own.crt", "/tmp/own.key")
LOGIN = Path("/etc/stalwart-reload/login")
NEEDED = {"urn:ietf:params:jmap:core", "urn:stalwart:jmap"}
GREETINGS = {
    "smtp": "220 stalwart ESMTP\r\n",
    "imap": "* OK [CAPABILITY IMAP4rev1 STARTTLS] stalwart\r\n",
    "pop3": "+OK stalwart\r\n",
    "sieve": '"IMPLEMENTATION" "stalwart"\r\n"SASL" ""\r\n"SIEVE" "fileinto"\r\n"STARTTLS"\r\nOK\r\n',
}
# By protocol and command; the first word of an IMAP command is its tag. What follows STARTTLS is TLS.
ANSWERS: dict[str, dict[str, str]] = {
    "smtp": {"EHLO": "250-stalwart\r\n250 STARTTLS\r\n", "STARTTLS": "220 go\r\n", "QUIT": "221 bye\r\n"},
    "imap": {
        "CAPABILITY": "* CAPABILITY IMAP4rev1 STARTTLS\r\n{tag} OK\r\n",
        "STARTTLS": "{tag} OK\r\n",
        "LOGOUT": "* BYE\r\n{tag} OK\r\n",
    },
    "pop3": {"CAPA": "+OK\r\nUSER\r\n.\r\n", "QUIT": "+OK\r\n"},
    "sieve": {"CAPABILITY": GREETINGS["sieve"], "STARTTLS": "OK\r\n", "LOGOUT": "OK\r\n"},
}
LISTENERS = {25: "smtp", 587: "smtp", 465: "smtp", 143: "imap", 993: "imap", 995: "pop3", 4190: "sieve"}
IMPLICIT = {465, 993, 995}


class Certificates:
    """What the process serves, and whether its registry has the entry that names the files."""

    def __init__(self) -> None:
        """Make a certificate of its own, and read the files."""
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", OWN[1]]
        make = ["openssl", "req", "-x509", *key, "-subj", "/CN=localhost", "-out", OWN[0]]
        subprocess.run(make, check=True, capture_output=True)
        self.has_entry = True
        self.context = self.reload()

    def reload(self) -> ssl.SSLContext:
        """Read all anew; connections that are open go on with what they have."""
        dates = ["openssl", "x509", "-noout", "-checkend", "0", "-in", FILES[0]]
        self.has_entry = self.has_entry and subprocess.run(dates, check=False, capture_output=True).returncode == 0
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*(FILES if self.has_entry else OWN))
        return self.context


CERTIFICATES = Certificates()


class Mail(socketserver.StreamRequestHandler):
    """A connection on one of the ports."""

    def handle(self) -> None:
        """Greet, and answer until the client goes."""
        port = self.request.getsockname()[1]
        protocol, is_inside = LISTENERS[port], port in IMPLICIT
        if is_inside:
            self.start_tls()
        self.say(GREETINGS[protocol], is_inside=is_inside)
        while line := self.rfile.readline(1000).decode(errors="replace").split():
            tag, command = (line[0], line[-1].upper()) if protocol == "imap" else ("", line[0].upper())
            self.say(ANSWERS[protocol].get(command, "500 unknown\r\n").format(tag=tag), is_inside=is_inside)
            if command == "STARTTLS":
                self.start_tls()
                is_inside = True
                if protocol == "sieve":  # RFC 5804 section 2.2
                    self.say(GREETINGS[protocol], is_inside=True)
            elif command in {"QUIT", "LOGOUT"}:
                return

    def say(self, words: str, *, is_inside: bool) -> None:
        """Send lines; inside TLS there is no STARTTLS."""
        if is_inside:
            words = words.replace("250-stalwart\r\n250 STARTTLS", "250 stalwart").replace('"STARTTLS"\r\n', "")
            words = words.replace(" STARTTLS", "")
        self.wfile.write(words.encode())

    def start_tls(self) -> None:
        """Begin TLS with the certificate of this moment."""
        self.request = CERTIFICATES.context.wrap_socket(self.request, server_side=True)
        self.setup()


class Api(BaseHTTPRequestHandler):
    """JMAP, as far as one action goes."""

    def do_POST(self) -> None:
        """Answer one request."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        login = base64.b64encode(LOGIN.read_bytes().strip()).decode()
        if self.path != "/jmap" or self.headers["Authorization"] != f"Basic {login}":
            self.send_error(401)
            return
        ((method, arguments, number),) = asked["methodCalls"]
        known = set(asked["using"]) == NEEDED and method == "x:Action/set"
        done = {name: act(action) for name, action in arguments["create"].items()} if known else {}
        made = {name: {"id": "b"} for name, is_done in done.items() if is_done}
        refused = {name: {"type": "invalidProperties"} for name in done if name not in made}
        self.answer([method, {"created": made} if made else {"notCreated": refused}, number])

    def answer(self, response: list[Any]) -> None:
        """Write one line, as serde does."""
        said = json.dumps({"methodResponses": [response], "sessionState": "0"}, separators=(",", ":")).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)


def act(action: Mapping[str, Any]) -> bool:
    """Perform an action."""
    if action != {"@type": "ReloadTlsCertificates"}:
        return False
    CERTIFICATES.reload()
    return True


class Listener(socketserver.ThreadingTCPServer):
    """Takes its port again at once."""

    allow_reuse_address = True
    daemon_threads = True


for number in LISTENERS:
    threading.Thread(target=Listener(("0.0.0.0", number), Mail).serve_forever).start()
ThreadingHTTPServer(("127.0.0.1", 8080), Api).serve_forever()
