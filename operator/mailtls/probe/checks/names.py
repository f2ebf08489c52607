"""What clients are served who dial another of the certificate's names than the first: one server, many names.

Each name is judged like the first, with what it was served; names that are served the same chain are reported in
one finding, whose subject they are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Final

from mailtls.hostname import dialled
from mailtls.probe.checks import inspection, served_certificate, validity
from mailtls.probe.checks.input import CheckInput
from mailtls.probe.facts import REFUSALS, Inspection, Outcome, Phase, Question, Session, Stop
from mailtls.reasons.reason import Finding, Reason, Severity

CERTIFICATE_CHECKS: Final = (
    served_certificate.older_certificate_is_served,
    served_certificate.foreign_certificate_is_served,
    validity.certificate_is_expired,
    validity.certificate_is_not_yet_valid,
    served_certificate.certificate_is_self_signed,
    served_certificate.root_is_untrusted,
    served_certificate.chain_is_incomplete,
    served_certificate.chain_is_broken,
    served_certificate.name_does_not_match,
    served_certificate.purpose_is_wrong,
)
"""What is checked of each certificate that a port serves, in the order in which faults are reported."""
_FLAWS: Final = (
    *CERTIFICATE_CHECKS,
    inspection.key_is_below_minimum,
    served_certificate.certificate_is_for_trials,
    validity.expiry_is_near,
    validity.validity_is_too_long,
    served_certificate.crypto_is_weak,
    served_certificate.chain_is_out_of_order,
)
_NOT_THE_STORED_ONE: Final = frozenset({Reason.SERVING_OLD_CERTIFICATE, Reason.UNEXPECTED_CERTIFICATE})
_WHERE: Final = (
    "The server has a certificate of its own for that: it is configured where names choose certificates (Postfix "
    "copies them into tls_server_sni_maps, so run postmap -F again)."
)


def findings(given: CheckInput) -> Iterator[Finding]:
    """What is wrong under other names, and which names were not reached."""
    for served, names in _groups(given):
        yield from (_under(names, each) for each in _flaws(served))
    yield from _below_minimum(given)
    yield from _refused(given)
    yield from _not_probed(_inspection(given).unprobed)


def to_vouch_for(given: CheckInput) -> tuple[tuple[str, str], ...]:
    """Certificates of which all that is wrong is that they are not the stored one: another resource may keep them."""
    return tuple(
        (_shown(names), served.leaf.sha256)
        for served, names in _groups(given)
        if served.leaf is not None and _failing(served) <= _NOT_THE_STORED_ONE
    )


def _failing(served: CheckInput) -> set[Reason]:
    return {each.reason for each in _flaws(served) if each.severity is Severity.FAIL}


def _flaws(served: CheckInput) -> list[Finding]:
    return [finding for check in _FLAWS if (finding := check(served))]


def _groups(given: CheckInput) -> Iterator[tuple[CheckInput, list[str]]]:
    """What is served under other names and needs a check: by chain, and by whether it is for the name."""
    groups: dict[tuple[tuple[bytes, ...], bool], tuple[CheckInput, list[str]]] = {}
    seen = _inspection(given)
    for name, answer in chain(seen.names.items(), seen.second_names.items()):
        served = _as_dialled(given, name, answer)
        if served is None or served.facts.session is None or _is_reported_already(given, served):
            continue
        is_for_it = served.leaf is not None and served.leaf.names(served.target.server_name)
        if is_for_it or not name.startswith("*."):  # a wildcard that has no certificate: the default says nothing
            _, names = groups.setdefault((served.facts.session.chain, is_for_it), (served, []))
            names.append(name)
    yield from groups.values()


def _as_dialled(given: CheckInput, name: str, answer: Outcome) -> CheckInput | None:
    if not isinstance(answer, Session):
        return None
    target = replace(given.target, server_name=dialled(name))
    return CheckInput.of(target, given.expected, replace(given.facts, session=answer, inspection=None), given.now)


def _is_reported_already(given: CheckInput, served: CheckInput) -> bool:
    """Whether the first name is served the very same: then all is well, or what is wrong was said of that one."""
    by_key_type = (_inspection(given).session(question) for question in (Question.ECDSA, Question.RSA))
    chains = {each.chain for each in (given.facts.session, *by_key_type) if each is not None}
    if served.facts.session is None or served.facts.session.chain not in chains:
        return False
    stored, leaf = (given.expected.leaf_sha256 or "").lower(), served.leaf
    is_right = leaf is not None and stored in {"", leaf.sha256}
    return not is_right or (leaf is not None and leaf.names(served.target.server_name))


def _below_minimum(given: CheckInput) -> Iterator[Finding]:
    """Names under which an older version of TLS is agreed on than is allowed, and than the first name has."""
    first, below = given.facts.session, dict[str, list[str]]()
    for name, answer in _inspection(given).names.items():
        served = _as_dialled(given, name, answer)
        is_other = isinstance(answer, Session) and first is not None and answer.tls_version != first.tls_version
        if served is not None and is_other and inspection.tls_is_below_minimum(served) is not None:
            below.setdefault(served.facts.session.tls_version if served.facts.session else "", []).append(name)
    for version, names in below.items():
        message = (
            f"Asked for {_shown(names)}: the server agrees on {version}, while TLS {given.thresholds.minimum_tls} is "
            "the oldest version allowed: set it as the oldest there too."
        )
        yield Finding(Reason.TLS_BELOW_MINIMUM, message, evidence=version, subject=_shown(names))


def _under(names: Sequence[str], finding: Finding) -> Finding:
    message = f"Asked for {_shown(names)}: {finding.message} {_WHERE}"
    return replace(finding, message=message, subject=_shown(names))


def _refused(given: CheckInput) -> Iterator[Finding]:
    """Names for which the server does not even shake hands, while it does for the first."""
    stops = {
        name: answer
        for name, answer in _inspection(given).names.items()
        if isinstance(answer, Stop) and answer.phase is Phase.HANDSHAKE and answer.fault in REFUSALS
    }
    names = [name for name in stops if not name.startswith("*.")]
    if names:
        first = stops[names[0]]
        yield Finding(
            Reason.TLS_HANDSHAKE_FAILED,
            f"Asked for {_shown(names)}: the handshake is refused, while it works for {given.target.server_name}. Let "
            "the server know the name where names choose certificates, or fall back to its default.",
            evidence=first.detail or str(first.fault),
            subject=_shown(names),
        )


def _not_probed(names: Sequence[str]) -> Iterator[Finding]:
    if names:
        yield Finding(
            Reason.NAMES_NOT_ASKED,
            f"It is not known what is served for {_shown(names)}: the server accepted no more connections, or the time "
            "for them was over. Raise the server's limits for the prober's address.",
            Severity.WARN,
            evidence=f"{len(names)} names were not checked",
            subject=_shown(names),
        )


def _inspection(given: CheckInput) -> Inspection:
    return given.facts.inspection or Inspection()


def _shown(names: Sequence[str]) -> str:
    more = (
        f" and {len(names) - served_certificate.NAMES_SHOWN} more"
        if len(names) > served_certificate.NAMES_SHOWN
        else ""
    )
    return ", ".join(names[: served_certificate.NAMES_SHOWN]) + more
