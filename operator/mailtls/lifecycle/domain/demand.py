"""What senders may demand of a domain's mail host: TLS on port 25 is a choice, unless the DNS says more."""

from dataclasses import replace

from mailtls.lifecycle.domain.mta_sts import policy_of
from mailtls.model.domain.facts import Dnssec, DomainFacts, MxHost
from mailtls.model.domain.mta_sts import StsMode
from mailtls.model.spec import Port, TlsPolicy


def demanded(facts: DomainFacts, host: str, port: Port) -> Port:
    """Return the port as senders that heed DANE (RFC 7672 section 2.2) or MTA-STS (RFC 8461 section 5) see it."""
    is_demanded = any(each.name == host and _has_secure_tlsa(each, port.port) for each in facts.mx) or (
        _is_enforced(facts, host)
    )
    return replace(port, tls_policy=TlsPolicy.ENFORCED) if is_demanded else port


def _has_secure_tlsa(host: MxHost, port: int) -> bool:
    found = host.tlsa.get(port)
    return found is not None and bool(found.values) and found.dnssec is Dnssec.SECURE


def _is_enforced(facts: DomainFacts, host: str) -> bool:
    policy = policy_of(facts)
    return policy is not None and policy.mode is StsMode.ENFORCE and policy.lists(host)
