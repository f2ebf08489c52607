"""Judges what a probe saw: an ordered tuple of checks, each naming one fault; the first that fails is the reason."""

from collections.abc import Callable
from datetime import datetime
from itertools import chain
from typing import Final, TypeAlias

from mailtls.probe.checks import causes, connecting, inspection, login, names, served_certificate, starttls, validity
from mailtls.probe.checks.connecting import port_is_blocked, with_directions
from mailtls.probe.checks.input import CheckInput, with_evidence, with_setting
from mailtls.probe.facts import Facts
from mailtls.probe.target import Endpoint, Expected, Target
from mailtls.reasons.reason import Finding

Check: TypeAlias = Callable[[CheckInput], Finding | None]
CAUSES: Final[tuple[Check, ...]] = (
    causes.proxy_header_is_missing,
    causes.web_server_answers,
    causes.greeting_is_held_back,
    causes.mesh_ends_tls,
    causes.client_hello_is_refused,
    causes.starttls_is_masked,
)
CAUSES_IN_TLS: Final[tuple[Check, ...]] = (
    causes.client_certificate_is_required,
    causes.client_name_is_refused,
)
"""These keep nobody from seeing the certificate, whose faults are reported first."""
SYMPTOMS: Final[frozenset[Check]] = frozenset(
    {
        connecting.port_wants_tls_first,
        connecting.greeting_is_missing,
        connecting.server_is_busy,
        connecting.probe_is_denied,
        connecting.server_speaks_another_protocol,
        starttls.starttls_is_not_advertised,
        starttls.implicit_port_speaks_plaintext,
        starttls.handshake_fails,
        starttls.ehlo_in_tls_fails,
    }
)
"""What is said only where no cause is known."""
CHECKS: Final[tuple[Check, ...]] = (
    *CAUSES,
    connecting.connection_is_refused,
    port_is_blocked,
    connecting.connection_times_out,
    connecting.network_is_unreachable,
    connecting.port_wants_tls_first,
    connecting.greeting_is_missing,
    connecting.session_is_preauthenticated,
    connecting.claimed_address_is_refused,
    connecting.port_speaks_smtp_for_lmtp,
    starttls.starttls_is_not_advertised,
    starttls.starttls_is_unavailable,
    starttls.starttls_breaks_down,
    starttls.starttls_is_rejected,
    starttls.implicit_port_speaks_plaintext,
    starttls.plaintext_follows_starttls,
    starttls.handshake_finds_no_version,
    starttls.handshake_fails,
    inspection.second_certificate_is_stale,
    *names.CERTIFICATE_CHECKS,
    *CAUSES_IN_TLS,
    starttls.ehlo_in_tls_fails,
    starttls.auth_is_lost_in_tls,
    inspection.starttls_comes_and_goes,
    inspection.sni_is_required,
    inspection.tls12_is_refused,
    inspection.tls_is_below_minimum,
    inspection.key_is_below_minimum,
    inspection.command_is_injected,
    login.login_wants_tls,
    login.login_fails,
    login.login_is_unavailable,
    login.login_is_incomplete,
    login.login_is_not_offered,
    connecting.server_is_busy,
    connecting.probe_is_denied,
    connecting.server_speaks_another_protocol,
    served_certificate.certificate_is_for_trials,
    validity.expiry_is_near,
    validity.validity_is_too_long,
    served_certificate.crypto_is_weak,
    inspection.weak_ciphers_are_accepted,
    inspection.legacy_tls_is_accepted,
    inspection.tls13_is_refused,
    inspection.resumption_breaks,
    inspection.inspection_is_cut_short,
    served_certificate.chain_is_out_of_order,
    starttls.starttls_is_offered_in_tls,
    starttls.auth_is_offered_before_tls,
    starttls.auth_is_never_offered,
    login.login_is_not_tried,
)


def judge(target: Target, expected: Expected, facts: Facts, now: datetime) -> Endpoint:
    """Judge one probe and put it into the endpoint that status, events and metrics report."""
    given = CheckInput.of(target, expected, facts, now)
    session = facts.session
    return Endpoint(
        target=target,
        checked_at=now,
        findings=_findings(given),
        served_sha256=given.leaf.sha256 if given.leaf else None,
        served_not_after=given.leaf.not_after if given.leaf else None,
        tls_version=session.tls_version if session else None,
        cipher=session.cipher if session else None,
        capabilities=given.capabilities,
        second_sha256=inspection.second_to_vouch_for(given),
        named_sha256=names.to_vouch_for(given),
    )


def _findings(given: CheckInput) -> tuple[Finding, ...]:
    is_explained = any(check(given) for check in (*CAUSES, *CAUSES_IN_TLS))
    checks = (check for check in CHECKS if not is_explained or check not in SYMPTOMS)
    found = chain((finding for check in checks if (finding := check(given))), names.findings(given))
    return tuple(with_directions(given.target, with_setting(given, with_evidence(given, finding))) for finding in found)
