"""The certificates that servers are given here: the stored one, and all that should not be served in its place."""

from cryptography.x509.oid import ExtendedKeyUsageOID

from mailservers.certificates import DAY, Authority, Served, Wanted

AUTHORITY = Authority()
STORED = AUTHORITY.issue()
RSA = AUTHORITY.issue(Wanted(rsa_bits=2048))
OLDER = AUTHORITY.issue(Wanted(valid_from=-60 * DAY, valid_until=30 * DAY))
OLDER_RSA = AUTHORITY.issue(Wanted(valid_from=-60 * DAY, valid_until=30 * DAY, rsa_bits=2048))
EXPIRED = AUTHORITY.issue(Wanted(valid_from=-91 * DAY, valid_until=-1 * DAY))
EXPIRED_RSA = AUTHORITY.issue(Wanted(valid_from=-91 * DAY, valid_until=-1 * DAY, rsa_bits=2048))
FUTURE = AUTHORITY.issue(Wanted(valid_from=DAY))
ENDING = AUTHORITY.issue(Wanted(valid_from=-80 * DAY, valid_until=10 * DAY))
FOR_YEARS = AUTHORITY.issue(Wanted(valid_until=900 * DAY))
SELF_SIGNED = AUTHORITY.issue(Wanted(self_signed=True))
OF_ANOTHER = AUTHORITY.issue(Wanted(names=("mail.example.net",), common_name="mail.example.net"))
FOREIGN = AUTHORITY.issue(Wanted(names=("other.example.net",), self_signed=True))
COMMON_NAME_ONLY = AUTHORITY.issue(Wanted(names=()))
ADDRESS_ONLY = AUTHORITY.issue(Wanted(names=(), addresses=("127.0.0.1",)))
FOR_CLIENTS = AUTHORITY.issue(Wanted(usage=ExtendedKeyUsageOID.CLIENT_AUTH))
UNKNOWN_ROOT = Authority("Private Root").issue()
LEAF_ALONE = STORED.without_intermediate()
DISORDERED = Served((STORED.chain[0], AUTHORITY.root, AUTHORITY.intermediate), STORED.key)
LEAF_LAST = Served((AUTHORITY.intermediate, STORED.chain[0]), STORED.key)
HUGE_CHAIN = Served((*STORED.chain, *[AUTHORITY.root] * 2000), STORED.key)  # some 700,000 octets
WRONG_KEY = Served(STORED.chain, OLDER.key)
WILDCARD = AUTHORITY.issue(Wanted(names=("*.example.com",), common_name="*.example.com"))
WILDCARD_BELOW = AUTHORITY.issue(Wanted(names=("*.mx1.example.com",), common_name="*.mx1.example.com"))
PARTIAL_WILDCARD = AUTHORITY.issue(Wanted(names=("mx*.example.com",), common_name="mx*.example.com"))
UPPER_CASE = AUTHORITY.issue(Wanted(names=("MX1.Example.COM",), common_name="MX1.Example.COM"))
NO_COMMON_NAME = AUTHORITY.issue(Wanted(common_name=""))
SHORT_LIVED = AUTHORITY.issue(Wanted(valid_from=-DAY, valid_until=5 * DAY))
WITH_ROOT = Served((*STORED.chain, AUTHORITY.root), STORED.key)
EXPIRED_CROSS_ROOT = Served((*STORED.chain, AUTHORITY.cross_signed_by_the_past()), STORED.key)
WEAK_KEY = AUTHORITY.issue(Wanted(rsa_bits=1024))
SHA1 = AUTHORITY.issue_with_sha1()
