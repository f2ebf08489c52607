"""TSIG keys out of Secrets: every spelling that BIND's users have, and what is said about the others."""

import base64
from dataclasses import replace

import dns.flags
import dns.message
import dns.name
import dns.rrset
import pytest

from mailtls.api.spec import DataRef
from mailtls.issuance.solvers.base import ChallengeProblem
from mailtls.issuance.solvers.dns_update import Rfc2136, Search, tsig_key
from mailtls.issuance.solvers.propagation import Names
from mailtls.net.dns_server import Address, split_server
from mailtls.net.shared_work import Expiring
from mailtls.reasons.reason import Reason

SECRET = bytes(range(32))
TEXT = base64.b64encode(SECRET).decode()
SETTINGS = Rfc2136("ns1.example.com", "mailtls.example", DataRef("Secret", "mail", "dns-key", "secret"))
FILE = 'key "mailtls.example" {\n\talgorithm hmac-sha256;\n\tsecret "%s";\n};\n'


@pytest.mark.parametrize(
    "content",
    [
        TEXT,
        f"  {TEXT}\r\n",
        f"{TEXT[:20]}\n{TEXT[20:]}\n",
        FILE % TEXT,
        f"key MAILTLS.example. {{ secret {TEXT}; }};",
    ],
    ids=["bare", "spaces", "lines", "file", "unquoted"],
)
def test_secret_in_any_usual_spelling_is_the_key(content: str) -> None:
    """What `tsig-keygen` prints can be stored whole, or its secret alone."""
    assert tsig_key(SETTINGS, content.encode()).secret == SECRET


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (SECRET, "no base64"),
        (b"not base64!", "no base64"),
        (TEXT[:-1].encode(), "no base64"),
        (b"\xff\xfe", "no base64"),
        (b"zone example.com { type primary; };", "no key file"),
        (b"key a {b}" + b" " * 4000 + b"x", "no key file"),
        (b"key a {b}" + b" " * 1_000_000 + b"x", "larger than 4096 octets"),  # took hours of the whole process once
        (FILE.replace("mailtls.example", "other").encode() % TEXT.encode(), "tsigKeyName is mailtls.example"),
        (FILE.replace("sha256", "sha512").encode() % TEXT.encode(), "tsigAlgorithm is hmac-sha256"),
    ],
)
@pytest.mark.timeout(120)
def test_unusable_secret_is_told_without_a_character_of_it(content: bytes, said: str) -> None:
    """The sentence names the Secret's entry and how to write it."""
    with pytest.raises(ChallengeProblem) as caught:
        tsig_key(SETTINGS, content)
    finding = caught.value.finding
    assert finding.reason is Reason.CREDENTIALS_MISSING
    assert "entry secret of the Secret mail/dns-key" in finding.message
    assert said in finding.message
    assert TEXT[:8] not in finding.message
    assert caught.value.transient  # tried again until a person has corrected it


def test_key_is_absolute_and_has_the_algorithm_of_the_settings() -> None:
    """A name with and without the last dot is the same key."""
    key = tsig_key(replace(SETTINGS, tsig_algorithm="hmac-sha512"), TEXT.encode())
    assert key == tsig_key(
        replace(SETTINGS, tsig_key_name="MAILTLS.example.", tsig_algorithm="hmac-sha512."), TEXT.encode()
    )
    assert TEXT not in repr(key)


@pytest.mark.parametrize(
    ("server", "host", "port"),
    [
        ("10.0.0.53", "10.0.0.53", 53),
        ("ns1.example.com:5353", "ns1.example.com", 5353),
        ("bind.dns.svc", "bind.dns.svc", 53),
        ("[2001:db8::53]", "2001:db8::53", 53),
        ("[2001:db8::53]:5353", "2001:db8::53", 5353),
        ("2001:db8::53", "2001:db8::53", 53),
    ],
)
def test_server_in_any_spelling_is_split(server: str, host: str, port: int) -> None:
    """Ports are optional, and IPv6 addresses stand in brackets where one follows."""
    assert split_server(server) == (host, port)


def test_address_is_written_as_in_a_spec() -> None:
    """What a finding says can be pasted into a spec."""
    assert [str(Address("10.0.0.53")), str(Address("::1", 54))] == ["10.0.0.53:53", "[::1]:54"]


def test_memory_forgets_in_time_on_demand_and_when_full() -> None:
    """Old entries go by age, and the oldest goes when there are too many."""
    brief, long = Expiring[str, int](0.0), Expiring[str, int](60, most=2)
    assert brief.put("a", 1) == 1
    assert brief.get("a") is None
    for key in "abac":
        long.put(key, ord(key))
    assert [long.get(key) for key in "abc"] == [97, None, 99]
    long.forget("a")
    long.forget("a")
    assert long.get("a") is None


@pytest.mark.parametrize(
    "target", ["sel1._domainkey.victim.example", "_DMARC.victim.example", "_smtp._tls.victim.example"]
)
def test_alias_does_not_lead_the_key_to_records_of_mail(target: str) -> None:
    """A tenant's CNAME would add a second record to a DKIM selector of another, whose mail then fails."""
    alias = dns.name.from_text(target)

    class Elsewhere(Names):
        """The rest of the DNS."""

        def alias(self, name: dns.name.Name) -> dns.name.Name | None:
            """Say where the challenge's name leads, as a tenant has it."""
            return alias if name.labels[0] == b"_acme-challenge" else None

    def ask(query: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(query)
        if query.question[0].name.is_subdomain(dns.name.from_text("victim.example")):
            response.flags |= dns.flags.AA
            response.authority.append(dns.rrset.from_text("victim.example.", 60, "IN", "SOA", "ns. h. 1 2 3 4 5"))
        return response

    search = Search("ns1.example.com", ask, Elsewhere(), None)
    with pytest.raises(ChallengeProblem, match="is for records of mail") as refused:
        search.locate(dns.name.from_text("_acme-challenge.evil.example"))
    assert refused.value.finding.reason is Reason.ZONE_NOT_FOUND
