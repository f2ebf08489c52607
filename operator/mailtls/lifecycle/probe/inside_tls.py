"""Checks on the talk inside TLS, and on what of it was offered before.

Faults are told apart by the phase in which the talk ended, never by the kind of error.
"""

from mailtls.lifecycle.probe.hearing import fix, is_refused, speaks_smtp_for_lmtp, told
from mailtls.lifecycle.probe.seen import Seen
from mailtls.model.probe.talk import Fault, Phase, Stop
from mailtls.model.reason import Finding, Reason, Severity


def ehlo_in_tls_fails(seen: Seen) -> Finding | None:
    """TLS stands, but the server does not speak inside it (RFC 3207 section 4.2)."""
    stop = seen.facts.stopped(Phase.CAPABILITIES_IN_TLS, Phase.GREETING)
    if stop is None or not seen.facts.session or _has_other_check(seen, stop) or speaks_smtp_for_lmtp(seen):
        return None
    return Finding(
        Reason.EHLO_AFTER_TLS_FAILED,
        f"TLS works but {seen.idiom.phase(stop.phase)} failed ({told(stop)}): see the server's log; "
        f"{fix(seen, Reason.EHLO_AFTER_TLS_FAILED)}, or the backend behind a TLS proxy is down.",
    )


def starttls_is_offered_in_tls(seen: Seen) -> Finding | None:
    """STARTTLS is listed again inside TLS (RFC 3207 section 4.2 forbids it)."""
    if seen.keyword(Phase.CAPABILITIES_IN_TLS, "STARTTLS") is None:
        return None
    return Finding(
        Reason.STARTTLS_READVERTISED,
        f"{seen.idiom.starts} is listed again inside TLS: a TLS proxy may stand before a server that does not know it.",
        Severity.WARN,
        evidence=_listed(seen, Phase.CAPABILITIES_IN_TLS),
    )


def auth_is_offered_before_tls(seen: Seen) -> Finding | None:
    """Passwords may travel in clear text where TLS is enforced (RFC 4954 section 4, RFC 8314 section 3)."""
    heard = seen.facts.reply(Phase.CAPABILITIES)
    methods = heard.logins if heard else None
    if methods is None or not seen.enforced:
        return None
    return Finding(
        Reason.AUTH_OFFERED_BEFORE_TLS,
        f"Login by {methods or 'AUTH'} is offered before TLS: {fix(seen, Reason.AUTH_OFFERED_BEFORE_TLS)}, so that no "
        "password travels in clear text.",
        Severity.WARN,
        evidence=_listed(seen, Phase.CAPABILITIES),
    )


def auth_is_lost_in_tls(seen: Seen) -> Finding | None:
    """Logins were offered before TLS, or one is to be tried, and there are none inside it: nobody can log in safely."""
    if not _lacks_logins(seen) or not (_offers_logins_in_clear(seen) or seen.expected.login):
        return None
    said = "Logins are offered in clear text but not inside TLS"
    return Finding(
        Reason.AUTH_MISSING,
        f"{said if _offers_logins_in_clear(seen) else 'No login is offered inside TLS'}: "
        f"{fix(seen, Reason.AUTH_MISSING)}.",
        evidence=_listed(seen, Phase.CAPABILITIES_IN_TLS),
    )


def auth_is_never_offered(seen: Seen) -> Finding | None:
    """No login is offered where users log in; a relay that takes mail by its clients' addresses may mean it so."""
    if not _lacks_logins(seen) or not seen.target.port.has_to_offer_logins:
        return None
    if _offers_logins_in_clear(seen) or seen.expected.login:
        return None
    return Finding(
        Reason.AUTH_MISSING,
        f"No login is offered inside TLS, where users would log in: {fix(seen, Reason.AUTH_MISSING)}, unless clients "
        "are known by their addresses here.",
        Severity.WARN,
        evidence=_listed(seen, Phase.CAPABILITIES_IN_TLS),
    )


def _has_other_check(seen: Seen, stop: Stop) -> bool:
    """Whether a fault of the greeting inside TLS is named by a check of its own: silence or a refusal."""
    refused = stop.fault is Fault.UNEXPECTED_REPLY and is_refused(seen, stop)
    return stop.phase is Phase.GREETING and (refused or stop.fault in {Fault.TIMED_OUT, Fault.CLOSED})


def _lacks_logins(seen: Seen) -> bool:
    """Whether users cannot log in: the list inside TLS was heard, and holds no way to (RFC 4954 section 3)."""
    heard = seen.facts.reply(Phase.CAPABILITIES_IN_TLS)
    if heard is None or heard.is_refusal or heard.logins is not None or not seen.target.port.is_for_users:
        return False
    is_blind_to_tls = heard.keyword("STARTTLS") is not None  # and may hide its logins for that: said elsewhere
    return _offers_logins_in_clear(seen) or not is_blind_to_tls


def _offers_logins_in_clear(seen: Seen) -> bool:
    before = seen.facts.reply(Phase.CAPABILITIES)
    return before is not None and before.logins is not None


def _listed(seen: Seen, phase: Phase) -> str:
    reply = seen.facts.reply(phase)
    return reply.text if reply else ""
