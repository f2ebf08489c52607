"""What the reasons about who may send for a mail domain mean: SPF, DMARC and DKIM."""

from collections.abc import Mapping

from mailtls.reasons.reason import Explanation, Reason

_SPAM = "Gmail and Outlook put your mail into spam or refuse it."

SENDERS: Mapping[Reason, Explanation] = {
    Reason.SPF_MISSING: Explanation(
        "The domain has no SPF record, so receivers cannot distinguish its servers from others.",
        "Publish the TXT record «v=spf1 mx -all», with an include: for each service that sends in your name.",
        symptom=_SPAM,
        rfc="RFC 7208 section 3",
    ),
    Reason.SPF_MULTIPLE: Explanation(
        "There is more than one SPF record, which receivers treat as an error.",
        "Merge them into one.",
        symptom=_SPAM,
        rfc="RFC 7208 section 4.5",
    ),
    Reason.SPF_INVALID: Explanation(
        "The SPF record, or one that it includes, cannot be evaluated: receivers treat that as an error.",
        "Correct the term that the message names; an include must lead to a domain with exactly one SPF record.",
        symptom=_SPAM,
        rfc="RFC 7208 sections 4.6 and 12",
    ),
    Reason.SPF_ALLOWS_ALL: Explanation(
        "The SPF record ends with +all and thereby allows every server of the world to send in the domain's name.",
        "End it with ~all, and with -all once reports show nothing missing.",
        symptom="Spam goes out in your name, and your own mail lands in spam.",
        rfc="RFC 7208 section 5.1",
    ),
    Reason.SPF_TOO_MANY_LOOKUPS: Explanation(
        "Evaluating the SPF record takes more than ten DNS lookups, counted through all includes; receivers give up.",
        "Remove includes of services that you no longer use, and write addresses (ip4:, ip6:) where they are fixed.",
        symptom=_SPAM,
        rfc="RFC 7208 section 4.6.4",
    ),
    Reason.SPF_VOID_LOOKUPS: Explanation(
        "More than two names in the SPF record have no records of their own; receivers may give up.",
        "Delete the terms with names that do not exist any more.",
        symptom=_SPAM,
        rfc="RFC 7208 section 4.6.4",
    ),
    Reason.DMARC_MISSING: Explanation(
        "Neither the domain nor its parent has a DMARC record; Gmail, Yahoo and Outlook require one from bulk senders.",
        "Publish «v=DMARC1; p=none; rua=mailto:...» at _dmarc, read the reports, and go on to quarantine and reject.",
        symptom=_SPAM,
        rfc="RFC 9989 section 4.10",
    ),
    Reason.DMARC_MULTIPLE: Explanation(
        "There is more than one DMARC record, which receivers treat as none.",
        "Delete all of them but one.",
        symptom=_SPAM,
        rfc="RFC 9989 section 4.10",
    ),
    Reason.DMARC_INVALID: Explanation(
        "The DMARC record is malformed, and receivers ignore it.",
        "Write «v=DMARC1; p=none; rua=mailto:dmarc@example.com», the version first.",
        symptom=_SPAM,
        rfc="RFC 9989 section 4.7",
    ),
    Reason.DKIM_MISSING: Explanation(
        "There is no key at the selector, so no signature that names it can be verified.",
        "Publish the TXT record that your signer printed at selector._domainkey.example.com, and compare the selector "
        "with s= in a DKIM-Signature header of mail that you sent.",
        symptom=_SPAM,
        rfc="RFC 6376 section 3.6.2",
    ),
    Reason.DKIM_INVALID: Explanation(
        "The key record cannot be read; mostly it was cut where it is longer than 255 characters.",
        "Publish it again in several quoted strings of one record, without spaces lost or added in p=.",
        symptom=_SPAM,
        rfc="RFC 6376 section 3.6.1",
    ),
    Reason.DKIM_REVOKED: Explanation(
        "The key record is there, but its p= is empty: the key is revoked.",
        "Sign with a selector whose key is published.",
        symptom=_SPAM,
        rfc="RFC 6376 section 3.6.1",
    ),
    Reason.DKIM_TESTING: Explanation(
        "The key record carries the flag t=y: the domain is still testing DKIM, and receivers treat its mail "
        "like unsigned mail.",
        "Remove t=y from the record as soon as receivers report that your signatures verify.",
        symptom=_SPAM,
        rfc="RFC 6376 section 3.6.1",
    ),
    Reason.DKIM_KEY_WEAK: Explanation(
        "The RSA key has fewer than 2048 bits; receivers reject one below 1024 bits.",
        "Make a key of 2048 bits under a new selector, and remove the old one a week after the last use.",
        symptom=_SPAM,
        rfc="RFC 8301 section 3.2",
    ),
    Reason.REVERSE_DNS_MISSING: Explanation(
        "An address of a mail host has no name in the reverse DNS (PTR), or one that does not lead back to the "
        "address. Receivers distrust mail that comes from such an address.",
        "Have the provider of the address set its PTR record to the name of the mail host, and let that name have the "
        "address. No action is needed where the host only receives mail.",
        symptom=_SPAM,
        rfc="RFC 1912 section 2.1, RFC 8601 section 3",
    ),
}
