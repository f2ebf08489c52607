"""Judges what a probe saw: an ordered tuple of checks, each naming one fault; the first that fails is the reason."""

from collections.abc import Callable
from datetime import datetime
from itertools import chain
from typing import Final, TypeAlias

from mailtls.lifecycle.probe import by_name, connecting, inside_tls, inspected, logins, minimum, served, starting_tls
from mailtls.lifecycle.probe.on_the_way import port_is_blocked, with_directions
from mailtls.lifecycle.probe.seen import Seen
from mailtls.lifecycle.probe.sighting import with_evidence
from mailtls.model.probe.endpoint import Endpoint, Expected, Target
from mailtls.model.probe.facts import Facts
from mailtls.model.reason import Finding

Check: TypeAlias = Callable[[Seen], Finding | None]

CHECKS: Final[tuple[Check, ...]] = (
    connecting.connection_is_refused,
    port_is_blocked,
    connecting.connection_times_out,
    connecting.network_is_unreachable,
    connecting.port_wants_tls_first,
    connecting.greeting_is_missing,
    connecting.session_is_preauthenticated,
    connecting.claimed_address_is_refused,
    connecting.port_speaks_smtp_for_lmtp,
    starting_tls.starttls_is_not_advertised,
    starting_tls.starttls_is_unavailable,
    starting_tls.starttls_breaks_down,
    starting_tls.starttls_is_rejected,
    starting_tls.implicit_port_speaks_plaintext,
    starting_tls.plaintext_follows_starttls,
    starting_tls.handshake_finds_no_version,
    starting_tls.handshake_fails,
    inspected.second_certificate_is_stale,
    *by_name.CERTIFICATE_CHECKS,
    inside_tls.ehlo_in_tls_fails,
    inside_tls.auth_is_lost_in_tls,
    inspected.sni_is_required,
    inspected.tls12_is_refused,
    minimum.tls_is_below_minimum,
    minimum.key_is_below_minimum,
    inspected.command_is_injected,
    logins.login_wants_tls,
    logins.login_fails,
    logins.login_is_unavailable,
    logins.login_is_incomplete,
    logins.login_is_not_offered,
    connecting.server_is_busy,
    connecting.probe_is_denied,
    connecting.server_speaks_another_protocol,
    served.certificate_is_for_trials,
    served.expiry_is_near,
    served.crypto_is_weak,
    inspected.weak_ciphers_are_accepted,
    inspected.legacy_tls_is_accepted,
    inspected.tls13_is_refused,
    inspected.resumption_breaks,
    served.chain_is_out_of_order,
    inside_tls.starttls_is_offered_in_tls,
    inside_tls.auth_is_offered_before_tls,
    inside_tls.auth_is_never_offered,
    logins.login_is_not_tried,
)


def judge(target: Target, expected: Expected, facts: Facts, now: datetime) -> tuple[Finding, ...]:
    """Return all findings in the order of `CHECKS`; none means: what is served is what should be."""
    return _findings(Seen.of(target, expected, facts, now))


def verdict(target: Target, expected: Expected, facts: Facts, now: datetime) -> Endpoint:
    """Judge one probe and put it into the endpoint that status, events and metrics report."""
    seen = Seen.of(target, expected, facts, now)
    session = facts.session
    return Endpoint(
        target=target,
        checked_at=now,
        findings=_findings(seen),
        served_sha256=seen.leaf.sha256 if seen.leaf else None,
        served_not_after=seen.leaf.not_after if seen.leaf else None,
        tls_version=session.tls_version if session else None,
        cipher=session.cipher if session else None,
        capabilities=seen.capabilities,
        second_sha256=inspected.second_to_vouch_for(seen),
        named_sha256=by_name.to_vouch_for(seen),
    )


def _findings(seen: Seen) -> tuple[Finding, ...]:
    found = chain((finding for check in CHECKS if (finding := check(seen))), by_name.findings(seen))
    return tuple(with_directions(seen.target, with_evidence(seen, finding)) for finding in found)
