"""By which words a tool's output counts as having named a fault, and what the table says of it.

The rules are generous: OpenSSL's "wrong version number" counts for a port that speaks clear text where TLS is due, and
so do all words of testssl.sh that name a fault, whatever weight it gives them. What does not count is a fact that is
printed without a judgement, such as "Server public key is 1024 bit".
"""

import re
from collections.abc import Mapping
from enum import Enum

from comparison.tools import Said
from mailservers.case import Case
from mailtls.probe.target import ProxyProtocol
from mailtls.reasons.reason import Reason


class Mark(Enum):
    """What a tool made of a case; the value is what the table shows, the order is the rank, best first."""

    NOTICED = "noticed"
    GOOD = "fine"  # a service that is as it should be, and said to be
    SOMETHING_ELSE = "something else"
    FALSE_ALARM = "false alarm"
    MISSED = "did not notice"
    CANNOT = "cannot probe"
    NOT_RUN = "not run"

    @property
    def rank(self) -> int:
        """Two for a right answer, one for a wrong alarm where there is cause for one, else nothing."""
        return {Mark.NOTICED: 2, Mark.GOOD: 2, Mark.SOMETHING_ELSE: 1}.get(self, 0)


_BROKEN_HANDSHAKE = r"SSL_connect error|alert|unexpected eof|lost connection|errno=|reset by peer"
NAMES: Mapping[Reason, str] = {
    Reason.CONNECTION_REFUSED: r"Connection refused|Can't connect",
    Reason.CONNECT_TIMEOUT: r"timed out|a firewall",
    Reason.NETWORK_UNREACHABLE: r"No route to host|unreachable",
    Reason.NO_BANNER: r"while reading server greeting|no banner",
    Reason.PROXY_HEADER_MISSING: rf"while reading server greeting|Server local error|no banner|{_BROKEN_HANDSHAKE}",
    Reason.SERVER_BUSY: r"not available: 4|rejected: 4|^4\d\d|got 4\d\d|msg 4\d\d|\* BYE",
    Reason.PROBE_DENIED: r"not available: 5|rejected: 5|^5\d\d|got 5\d\d",
    Reason.PROTOCOL_ERROR: r"unexpected server greeting|greeting.*(\* OK|\+OK)|SMTP service not available: \*",
    Reason.CLIENT_NAME_REFUSED: r"(EHLO|HELO) rejected|\b550 5\.7\.1|\b501 Synt",
    Reason.XCLIENT_REFUSED: r"XCLIENT",
    Reason.IMAP_PREAUTH_BLOCKS_STARTTLS: r"PREAUTH",
    Reason.IMPLICIT_TLS_ON_STARTTLS_PORT: r"implicit TLS|wrapper",
    Reason.PLAINTEXT_ON_IMPLICIT_TLS_PORT: r"wrong version number|not TLS|doesn't seem to be a TLS/SSL enabled server",
    Reason.STARTTLS_NOT_ADVERTISED: r"Didn't find STARTTLS|No STARTTLS found|STARTTLS.*not (offered|supported|found)",
    Reason.STARTTLS_MASKED: r"Didn't find STARTTLS|No STARTTLS found|STARTTLS.*not (offered|supported|found)|XXXX",
    Reason.STARTTLS_UNAVAILABLE: r"STARTTLS rejected|STARTTLS.*(fail|refused|problem)|\b454\b",
    Reason.STARTTLS_REJECTED: r"STARTTLS rejected|STARTTLS.*(fail|refused|problem)|\b502\b",
    Reason.PLAINTEXT_AFTER_STARTTLS: (
        r"after STARTTLS|plaintext|wrong version number|doesn't seem to be a TLS/SSL enabled server"
    ),
    Reason.TLS_HANDSHAKE_FAILED: rf"{_BROKEN_HANDSHAKE}|No server certificate could be retrieved",
    Reason.NO_SHARED_TLS_VERSION: (
        r"unsupported protocol|no protocols available|protocol version|TLS1_2 \w+ not offered"
    ),
    Reason.EHLO_AFTER_TLS_FAILED: r"EHLO rejected|lost connection",
    Reason.CLIENT_CERTIFICATE_REQUIRED: (
        r"EHLO rejected|No client certificate presented|certificate required|lost connection|clientAuth \w+ required"
    ),
    Reason.CERTIFICATE_EXPIRED: r"has expired|expired!?$|expirationStatus (CRITICAL|HIGH)",
    Reason.CERTIFICATE_NOT_YET_VALID: r"not yet valid|notBefore (CRITICAL|HIGH)",
    Reason.CERTIFICATE_EXPIRING_SOON: r"expirationStatus (LOW|MEDIUM|HIGH)",
    Reason.CERTIFICATE_VALIDITY_TOO_LONG: r"cert_(extlifeSpan|validityPeriod).* (MEDIUM|HIGH)",
    Reason.SELF_SIGNED: r"self-?.?signed( certificate)?(?! (certificate )?in)",
    Reason.UNTRUSTED_ROOT: r"in certificate chain|local issuer|untrusted issuer|CA in chain|chain_of_trust CRITICAL",
    Reason.INCOMPLETE_CHAIN: r"local issuer|first certificate|untrusted issuer|chain incomplete",
    Reason.HOSTNAME_MISMATCH: r"hostname mismatch|does not match|cert_trust (HIGH|CRITICAL)|trust.*(MEDIUM|HIGH)",
    Reason.WRONG_CERTIFICATE_PURPOSE: r"certificate purpose|not designated for use as a server|extKeyUsage HIGH",
    Reason.WEAK_CRYPTO: (
        r"too weak|(keySize|signatureAlgorithm|cipherlist_(NULL|EXPORT|LOW|3DES_IDEA)).* (MEDIUM|HIGH|CRITICAL)"
    ),
    Reason.CHAIN_OUT_OF_ORDER: r"out of order|wrong order|chain.*order|ordering_problem \w+ yes",
    Reason.STARTTLS_READVERTISED: r"STARTTLS.*again",
    Reason.AUTH_OFFERED_BEFORE_TLS: r"AUTH.*before|plaintext.*AUTH",
    Reason.AUTH_MISSING: r"AUTH.*missing",
    Reason.AUTH_FAILED: r"\b535\b|AUTHENTICATIONFAILED",
    Reason.TLS_REQUIRED_FOR_AUTH: r"\b538\b",
    Reason.LEGACY_TLS_ENABLED: r"TLS1(_1)? (LOW|MEDIUM|HIGH|CRITICAL)",
    Reason.TLS12_UNSUPPORTED: r"TLS1_2 \w+ not offered",
    Reason.TLS13_UNSUPPORTED: r"TLS1_3 \w+ not offered",
    Reason.SNI_REQUIRED: r"SNI (required|mandatory)|SNI.*(LOW|MEDIUM|HIGH)",
    # Nobody else is told which certificate should be served, so no words can count.
    Reason.SERVING_OLD_CERTIFICATE: r"(?!)",
    Reason.UNEXPECTED_CERTIFICATE: r"(?!)",
    Reason.SECOND_CERTIFICATE_STALE: r"cert#\d+> (HIGH|CRITICAL) (expired|failed)",
    Reason.STARTTLS_COMMAND_INJECTION: r"injection (MEDIUM|HIGH|CRITICAL)",
}


def fault(case: Case) -> Reason | None:
    """What is wrong with a case, None where nothing is: the reason, or the first warning."""
    return case.reason or next(iter(case.warns), None)


def can_ask(case: Case) -> bool:
    """Whether anybody but us could: no other tool sends a PROXY header or XCLIENT first."""
    return case.proxy is ProxyProtocol.NONE and not case.xclient


def mark(case: Case, said: Said | None) -> Mark:
    """Judge what a tool said of a case; None: it does not speak the protocol."""
    wrong = fault(case)
    if said is None or not can_ask(case):
        return Mark.CANNOT
    if wrong is None:
        return Mark.FALSE_ALARM if said.bad else Mark.GOOD
    if re.search(NAMES[wrong], said.text, re.MULTILINE | re.IGNORECASE):
        return Mark.NOTICED
    return Mark.SOMETHING_ELSE if said.bad else Mark.MISSED
