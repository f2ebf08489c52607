"""Logins at a real Dovecot by each protocol that people log in with, as they should and with a wrong password."""

from mailservers.case import Case, Table
from mailservers.dovecot import ENFORCED, FULL, IMAP, IMPLICIT, POP3, SIEVE, STRANGER, USER, serve
from mailtls.reasons.reason import Reason
from testbed import trees

CASES = {
    "imap": Case(protocol=IMAP, depth=FULL, policy=ENFORCED, login=USER),
    "imap-in-clear-first": Case(
        options=("auth_allow_cleartext=yes",),
        protocol=IMAP,
        depth=FULL,
        policy=ENFORCED,
        login=USER,
        warns=(Reason.AUTH_OFFERED_BEFORE_TLS,),
    ),
    "imaps-fails": Case(
        protocol=IMAP,
        tls=IMPLICIT,
        depth=FULL,
        policy=ENFORCED,
        login=STRANGER,
        reason=Reason.AUTH_FAILED,
        says="AUTHENTICATIONFAILED",
    ),
    "pop3": Case(protocol=POP3, depth=FULL, policy=ENFORCED, login=USER),
    "pop3-fails": Case(
        protocol=POP3, depth=FULL, policy=ENFORCED, login=STRANGER, reason=Reason.AUTH_FAILED, says="[AUTH]"
    ),
    "sieve": Case(protocol=SIEVE, depth=FULL, policy=ENFORCED, login=USER),
    "sieve-fails": Case(
        protocol=SIEVE, depth=FULL, policy=ENFORCED, login=STRANGER, reason=Reason.AUTH_FAILED, says="NO"
    ),
}

LOGINS = Table("Dovecot's logins", CASES, serve, lambda: trees.obstacle() or "")
