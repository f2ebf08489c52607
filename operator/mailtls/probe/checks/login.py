"""Checks on the trial login of a full or deep probe: what somebody who reads or sends mail would meet."""

from mailtls.probe.checks.input import CheckInput
from mailtls.probe.facts import Login, LoginOutcome, Phase
from mailtls.reasons.reason import Finding, Reason, Severity


def login_fails(given: CheckInput) -> Finding | None:
    """The credentials of the trial login are refused."""
    login = _login(given, LoginOutcome.REFUSED)
    if login is None:
        return None
    return Finding(
        Reason.AUTH_FAILED,
        f"Logging in as the probe's user fails ({login.said}): compare user name and password with "
        f"{given.wording.login}, and see the log of the server's authentication service.",
        evidence=login.said,
    )


def login_is_unavailable(given: CheckInput) -> Finding | None:
    """The server does not know for now whether the credentials are right (RFC 4954 section 6: 454)."""
    login = _login(given, LoginOutcome.UNAVAILABLE)
    if login is None:
        return None
    return Finding(
        Reason.AUTH_UNAVAILABLE,
        f"Nobody can log in at the moment ({login.said}): see whether the server's authentication service runs, and "
        "its log.",
        evidence=login.said,
    )


def login_is_incomplete(given: CheckInput) -> Finding | None:
    """The server takes the credentials and never says what it makes of them."""
    login = _login(given, LoginOutcome.INCOMPLETE)
    if login is None:
        return None
    return Finding(
        Reason.AUTH_INCOMPLETE,
        f"The login as the probe's user did not end ({login.said}): see the log of the server and of its "
        "authentication service.",
        evidence=login.said,
    )


def login_wants_tls(given: CheckInput) -> Finding | None:
    """The server does not know that TLS is there, mostly because a proxy in front of it ended TLS."""
    login = _login(given, LoginOutcome.TLS_WANTED)
    if login is None and not _hides_logins(given):
        return None
    said = login.said if login else f"it offers {given.hints.starts} and no login"
    return Finding(
        Reason.TLS_REQUIRED_FOR_AUTH,
        f"The server wants TLS before it lets anybody log in, although TLS is there ({said}): if a proxy in "
        "front of it ends TLS, configure the server to trust that.",
        evidence=said,
    )


def login_is_not_offered(given: CheckInput) -> Finding | None:
    """Nobody can log in here with a password, by what is offered; where nothing is, another check says so."""
    login, mechanisms = _login(given, LoginOutcome.NOT_OFFERED), given.logins
    if login is None or not mechanisms or _hides_logins(given):
        return None
    return Finding(
        Reason.AUTH_MISSING,
        f"Inside TLS no login with a password is offered (PLAIN or LOGIN), only {mechanisms}: turn one on for this "
        "port.",
        evidence=mechanisms,
    )


def login_is_not_tried(given: CheckInput) -> Finding | None:
    """The trial login did not take place, so that nothing is known about it."""
    if login := _login(given, LoginOutcome.UNPROVEN):
        why = "the server did not show a certificate that proves its name, and might have kept the password"
    elif login := _login(given, LoginOutcome.NOT_REACHED):
        why = f"the probe did not come that far ({login.said or 'the server has had enough connections'})"
    else:
        return None
    return Finding(Reason.AUTH_NOT_TRIED, f"No login was tried: {why}.", Severity.WARN, evidence=login.said)


def _hides_logins(given: CheckInput) -> bool:
    """Whether the server offers TLS in the place of logins, inside TLS (RFC 9051 section 6.2.1)."""
    is_offered_again = given.keyword(Phase.CAPABILITIES_IN_TLS, "STARTTLS") is not None
    return is_offered_again and _login(given, LoginOutcome.NOT_OFFERED) is not None


def _login(given: CheckInput, outcome: LoginOutcome) -> Login | None:
    login = given.facts.inspection.login if given.facts.inspection else None
    return login if login is not None and login.outcome is outcome else None
