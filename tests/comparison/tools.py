"""Runs the quick ones of the tools that postmasters use, each as its manual has it, on one service of a server."""

import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mailservers.case import Case
from mailservers.certificates import HOST
from mailservers.stock import AUTHORITY
from mailtls.probe.target import Protocol, TlsMode

PATIENCE = 12  # seconds for a tool that asks once
_GOODBYE = {Protocol.IMAP: "a LOGOUT\n", Protocol.SIEVE: "LOGOUT\n", Protocol.POP3: "QUIT\n"}


@dataclass(frozen=True, slots=True)
class Said:
    """What a tool printed, and whether it called the service bad."""

    text: str
    bad: bool


def openssl(case: Case, where: tuple[str, int], roots: Path) -> Said:
    """Run `openssl s_client` with every check that it has, and say goodbye inside TLS as a client does."""
    address, port = where
    command = ["openssl", "s_client", "-connect", f"{bracketed(address)}:{port}", "-servername", HOST]
    command += ["-verify_hostname", HOST, "-verify_return_error", "-CAfile", str(roots), "-crlf", "-ign_eof"]
    if case.tls is TlsMode.START_TLS:
        command += ["-starttls", str(case.protocol)]
    goodbye = _GOODBYE.get(case.protocol, f"{'LHLO' if case.protocol is Protocol.LMTP else 'EHLO'} {HOST}\nQUIT\n")
    code, text = _run(command, PATIENCE, goodbye)
    return Said(text, code != 0)


def posttls_finger(case: Case, where: tuple[str, int], roots: Path) -> Said | None:
    """Run `posttls-finger` at its strictest level; None for protocols that it does not speak."""
    if case.protocol not in {Protocol.SMTP, Protocol.LMTP}:
        return None
    address, port = where
    command = ["posttls-finger", "-l", "secure", "-F", str(roots), "-s", HOST, "-t", "5", "-T", "5"]
    command += ["-L", "summary,verbose", "-o", "myhostname=prober.example.com"]  # as openssl has a whole name, too
    command += ["-w"] * (case.tls is TlsMode.IMPLICIT) + ["-S"] * (case.protocol is Protocol.LMTP)
    code, text = _run([*command, f"[{address}]:{port}", HOST], PATIENCE)
    return Said(text, code != 0 or "Verified TLS connection established" not in text)


def bracketed(address: str) -> str:
    """Write an address as it stands before a port."""
    return f"[{address}]" if ":" in address else address


def _run(command: list[str], patience: float, typed: str = "") -> tuple[int, str]:
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, input=typed.encode(), timeout=patience, start_new_session=True
        )
    except subprocess.TimeoutExpired as late:
        return 1, f"{_decoded(late.stdout)}{_decoded(late.stderr)}(no answer in {patience:g} seconds)"
    return done.returncode, _decoded(done.stdout) + _decoded(done.stderr)


def _decoded(output: bytes | None) -> str:
    return (output or b"").decode(errors="replace")


def versions() -> Mapping[str, str]:
    """Which Postfix and OpenSSL the quick ones are of."""
    postfix = subprocess.run(["postconf", "-dh", "mail_version"], check=True, capture_output=True, text=True).stdout
    openssl = subprocess.run(["openssl", "version"], check=True, capture_output=True, text=True).stdout
    return {"postfix": postfix.strip(), "openssl": openssl.split()[1]}


Tool = Callable[[Case, tuple[str, int], Path], Said | None]
TOOLS: Mapping[str, Tool] = {"posttls-finger": posttls_finger, "openssl": openssl}


def write_roots(folder: Path) -> Path:
    """Write the authority that the tools shall trust, as they would the system's."""
    file = folder / "roots.pem"
    file.write_text(AUTHORITY.roots_pem)
    return file
