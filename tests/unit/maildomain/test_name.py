"""Names of domains as people type them."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtls.maildomain.name import DomainName, InvalidName, address_of, domain_name, selector_name


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("example.com", DomainName("example.com", "example.com")),
        (" EXAMPLE.com. ", DomainName("example.com", "example.com")),
        ("bücher.example", DomainName("xn--bcher-kva.example", "bücher.example")),
        ("Bücher。Example", DomainName("xn--bcher-kva.example", "bücher.example")),
        ("XN--BCHER-KVA.example", DomainName("xn--bcher-kva.example", "bücher.example")),
        ("straße.example", DomainName("xn--strae-oqa.example", "straße.example")),
        ("xn--a.example", DomainName("xn--a.example", "xn--a.example")),
        ("localhost", DomainName("localhost", "localhost")),
    ],
)
def test_name_is_read(typed: str, name: DomainName) -> None:
    """Any script, any case, with or without the last dot."""
    assert domain_name(typed) == name


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("", "is empty"),
        (".", "is empty"),
        ("192.0.2.1", "is an IP address"),
        ("[2001:db8::1]", "is an IP address"),
        ("[IPv6:2001:db8::1]", "is an IP address"),
        ("https://example.com/", "is a URL"),
        ("info@example.com", "write the part after the @"),
        ("example..com", "empty label"),
        ("a" * 64 + ".com", "more than 63"),
        (".".join(["a" * 60] * 5), "longer than the 253"),
        ("ü" * 2000, "longer than the 253"),
        ("exa mple.com", "letters, digits and inner hyphens"),
        ("-example.com", "letters, digits and inner hyphens"),
        ("_dmarc.example.com", "letters, digits and inner hyphens"),
        ("example.com:25", "letters, digits and inner hyphens"),
        ("\u202eexample.com", "is no domain name"),
        ("exa\x1b[31m.com", "is no domain name"),
    ],
)
def test_what_is_no_name_is_refused_in_one_sentence(typed: str, words: str) -> None:
    """The sentence is safe to print, and says what to write instead where that is known."""
    with pytest.raises(InvalidName, match=words) as refusal:
        domain_name(typed)
    sentence = str(refusal.value)
    assert sentence.endswith(".")
    assert sentence.isprintable()
    assert len(sentence) < 400


@given(st.text(max_size=80))
def test_any_text_is_a_name_or_is_refused(typed: str) -> None:
    """Nothing else is ever raised, and a name that was read is read the same again."""
    with suppress(InvalidName):
        name = domain_name(typed)
        assert name.ascii.isascii()
        assert domain_name(name.ascii) == name
    with suppress(InvalidName):
        selector_name(typed)
    address_of(typed)


def test_selector_is_taken_with_and_without_its_place() -> None:
    """As it stands in a signature, or in the DNS."""
    assert selector_name("S1") == selector_name("s1._domainkey") == "s1"
    with pytest.raises(InvalidName, match="no DKIM selector"):
        selector_name("a b")
