"""What a mail domain publishes (MX, DANE, MTA-STS, TLSRPT, SPF, DMARC, DKIM), looked up and judged: a library.

It reads the DNS and the policy of MTA-STS, writes nothing, and knows nothing of Kubernetes::

    from mailtls.maildomain import DomainReader, ResolverSettings, describe_domain, judge_domain

    reader = DomainReader(ResolverSettings(nameservers=("127.0.0.1",)))
    facts = reader.read("example.com", dkim_selectors=["mail2026"])
    for topic, words in describe_domain(facts):
        print(f"{topic}: {words}")
    for finding in judge_domain(facts):
        print(f"{finding.severity} {finding.reason}: {finding.message}")

`read` raises `InvalidName` for what is no domain, and nothing else: a question without an answer is a fact, too. What
the hosts really serve is given to `judge_domain` as `ServedTls`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mailtls.maildomain.checks.verdict import describe_domain, is_tls_demanded, judge_domain
    from mailtls.maildomain.facts import DomainFacts, ServedTls
    from mailtls.maildomain.lookup.domains import DomainReader
    from mailtls.maildomain.name import InvalidName
    from mailtls.net.resolver import ResolverSettings
else:
    # Records and checks are used without the lookups, and must not wait for the import of a DNS and an HTTP client.
    _HOMES = {
        "DomainFacts": "mailtls.maildomain.facts",
        "DomainReader": "mailtls.maildomain.lookup.domains",
        "InvalidName": "mailtls.maildomain.name",
        "ResolverSettings": "mailtls.net.resolver",
        "ServedTls": "mailtls.maildomain.facts",
        "is_tls_demanded": "mailtls.maildomain.checks.verdict",
        "judge_domain": "mailtls.maildomain.checks.verdict",
        "describe_domain": "mailtls.maildomain.checks.verdict",
    }

    def __getattr__(name: str) -> object:
        """Import a public name where it is first used (PEP 562)."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_HOMES[name]), name)


__all__ = [
    "DomainFacts",
    "DomainReader",
    "InvalidName",
    "ResolverSettings",
    "ServedTls",
    "describe_domain",
    "is_tls_demanded",
    "judge_domain",
]
