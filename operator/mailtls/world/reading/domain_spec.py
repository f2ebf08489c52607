"""Reads `spec.domains`: the mail domains whose records are looked up."""

from typing import Final

from mailtls.maildomain.facts import MailDomain
from mailtls.maildomain.name import InvalidName, address_of, domain_name, selector_name
from mailtls.world.reading.document import Node

MOST_DOMAINS: Final = 20
MOST_SELECTORS: Final = 10


def domains(node: Node) -> tuple[MailDomain, ...]:
    """Read the list, none when it is absent; raises `InvalidSpec`."""
    found: dict[str, MailDomain] = {}
    for item in node.items(MOST_DOMAINS):
        name = item.at("name").read(_domain)
        if name in found:
            raise item.refused("a domain stands here twice, so remove one of the two")
        selectors = item.at("dkimSelectors").items(MOST_SELECTORS)
        found[name] = MailDomain(name, tuple(dict.fromkeys(each.read(_selector) for each in selectors)))
    return tuple(found.values())


def _domain(text: str) -> str:
    """Read a name of any script; the sentences are those of the schema."""
    if "@" in text:
        raise ValueError("write only the part after the @, such as example.com")
    if address_of(text):
        raise ValueError("mail goes to names and not to IP addresses, so give a domain such as example.com")
    try:
        return domain_name(text).ascii
    except InvalidName:
        raise ValueError("write a mail domain such as example.com, of letters, digits and inner hyphens") from None


def _selector(text: str) -> str:
    try:
        return selector_name(text)
    except InvalidName:
        raise ValueError("write a DKIM selector such as mail2026, as it stands after s= in a DKIM-Signature") from None
