"""What the reasons about a mail domain mean: where its mail goes, DANE, MTA-STS and TLSRPT."""

from collections.abc import Mapping

from mailtls.reasons.explanations.senders import SENDERS
from mailtls.reasons.reason import Explanation, Reason

_DEFERRED = "Some senders' mail arrives late or comes back after days, while most of it arrives."

_UNSAFE = "Nobody notices, but whoever strips TLS in the network between can read or redirect the domain's mail."

_UNTOLD = "Nobody notices, and nobody tells you when senders cannot deliver to you over TLS."

ROUTE: Mapping[Reason, Explanation] = {
    Reason.NO_MAIL_HOST: Explanation(
        "The domain has neither an MX record nor an address, so nobody can deliver mail to it.",
        "Publish an MX record with the name of your mail server, or the null MX «0 .» if the domain takes no mail.",
        symptom="Mail to the domain comes back at once: host or domain not found.",
        rfc="RFC 5321 section 5.1",
    ),
    Reason.NULL_MX_NOT_ALONE: Explanation(
        "The domain has a null MX, which says that it takes no mail, beside MX records that name hosts for its mail.",
        "Delete the null MX (0 .) if the domain takes mail, and the others if it does not.",
        symptom="Mail to the domain arrives from some senders and comes back to others.",
        rfc="RFC 7505 section 3",
    ),
    Reason.MX_IS_ADDRESS: Explanation(
        "An MX record holds an IP address, where only a host name is allowed; senders treat it as a name that does "
        "not exist.",
        "Give the host a name with an A or AAAA record, and put that name into the MX record.",
        symptom="Mail to the domain comes back: host not found.",
        rfc="RFC 1035 section 3.3.9",
    ),
    Reason.MX_IS_ALIAS: Explanation(
        "An MX record names an alias (CNAME), which is forbidden; some senders refuse it, and certificates and TLSA "
        "records are looked for under two names.",
        "Put the name that the alias leads to into the MX record.",
        symptom="A few senders cannot deliver, most can.",
        rfc="RFC 2181 section 10.3",
    ),
    Reason.MX_WITHOUT_ADDRESS: Explanation(
        "An MX record names a host that has neither an IPv4 nor an IPv6 address.",
        "Publish the host's A or AAAA record, or delete the MX record.",
        symptom="Mail arrives late, or comes back where the host is the only one.",
        rfc="RFC 5321 section 5.1",
    ),
    Reason.MX_DUPLICATE: Explanation(
        "Several MX records name the same host; senders use only the best preference.",
        "Delete all but one of them.",
        rfc="RFC 5321 section 5.1",
    ),
    Reason.MX_IMPLICIT: Explanation(
        "The domain has no MX record, and senders use its own address, which is often a web server's.",
        "Publish an MX record with the name of the mail server.",
        symptom="Mail to the domain comes back: connection refused.",
        rfc="RFC 5321 section 5.1",
    ),
}

DANE: Mapping[Reason, Explanation] = {
    Reason.TLSA_MISMATCH: Explanation(
        "No TLSA record matches the certificate that the port serves, as happens when a renewal makes a new key and "
        "the DNS still names the old one.",
        "Publish 3 1 1 with the hash of the key in use beside the old records, or bring the old key back; from then on "
        "publish the next key's hash before the key is used.",
        symptom="Mail from senders with DANE (Postfix, Exchange Online, GMX, Comcast) is deferred, then comes back.",
        rfc="RFC 7672 sections 2.2 and 3.1",
        tlsrpt="validation-failure",
    ),
    Reason.TLSA_ORPHAN_PARAMETER_SET: Explanation(
        "One combination of usage, selector and matching type has no record that matches what is served; senders that "
        "support or prefer just that one fail.",
        "Delete the records of that combination, or bring them up to date.",
        symptom=_DEFERRED,
        rfc="RFC 7671 sections 8 and 9",
        tlsrpt="validation-failure",
    ),
    Reason.TLSA_BOGUS: Explanation(
        "The signatures over the TLSA records, or over the proof that there are none, do not verify: validating "
        "resolvers answer SERVFAIL, and senders with DANE keep the mail in their queues.",
        "Sign the zone again, compare the DS record at the parent with the zone's keys, and check the servers' "
        "clocks; `delv` shows where the chain breaks.",
        symptom=_DEFERRED,
        rfc="RFC 7672 section 2.1.1",
        tlsrpt="dnssec-invalid",
    ),
    Reason.NAMESERVERS_DISAGREE: Explanation(
        "The zone's authoritative nameservers answer different TLSA records; which one a sender sees is luck.",
        "Compare the serial numbers of the zone at each server, and repair transfers and notifications; within a "
        "minute of a change this is normal.",
        symptom=_DEFERRED,
        rfc="RFC 1034 section 4.3.5",
    ),
    Reason.TLSA_INSECURE: Explanation(
        "The TLSA or MX records are not signed by DNSSEC, so senders do not use DANE at all.",
        "Sign the zone, and have your registrar put the DS record into the parent zone; or delete the TLSA records.",
        symptom="Nobody notices, except where a sender demands DANE: its mail stays in the queue.",
        rfc="RFC 7672 section 2.2.1",
        tlsrpt="dane-required",
    ),
    Reason.TLSA_UNUSABLE: Explanation(
        "A TLSA record has parameters or data that mail senders cannot use; usages 0 and 1 are for browsers. Where no "
        "other record is left, senders encrypt but verify nothing.",
        "Publish 3 1 1: the SHA-256 hash of the server's public key.",
        rfc="RFC 7672 section 3.1.3",
        tlsrpt="tlsa-invalid",
    ),
    Reason.TLSA_PINS_ISSUER: Explanation(
        "A TLSA record (usage 2) names the certificate of an issuer. Public CAs change their intermediates "
        "without notice, and the next renewal then breaks mail.",
        "Publish 3 1 1 for the server's own key; keep usage 2 for a CA of your own.",
        symptom="After a renewal, mail from senders with DANE is deferred although nothing was changed.",
        rfc="RFC 7671 section 5.2",
    ),
    Reason.TLSA_NO_NEXT: Explanation(
        "Every TLSA record is for a key in use now. A renewal with a new key would break mail until the DNS follows, "
        "and caches have forgotten the old records.",
        "Publish 3 1 1 for the next key ahead of time and wait twice the TTL before it is used; or keep the key "
        "(rotationPolicy: Never).",
        rfc="RFC 7672 section 4",
    ),
    Reason.TLSA_TTL_TOO_LONG: Explanation(
        "Resolvers may keep the TLSA records for more than an hour; a wrong record hurts as long after its correction.",
        "Set their TTL to 3600 seconds or less.",
        rfc="RFC 7671 section 8.1",
    ),
    Reason.DNSSEC_UNKNOWN: Explanation(
        "There are TLSA records, but it is unknown whether they are signed: the resolver does not validate, or is not "
        "trusted.",
        "Run a validating resolver (unbound, BIND) on the machine that probes, or name one that you trust.",
        rfc="RFC 7672 section 2.1",
    ),
}

POLICY: Mapping[Reason, Explanation] = {
    Reason.STS_RECORD_MISSING: Explanation(
        "An MTA-STS policy is served, but no TXT record at _mta-sts announces it, so no sender looks for it.",
        "Publish the TXT record «v=STSv1; id=...;» at _mta-sts; every change of the policy needs a new id.",
        symptom=_UNSAFE,
        rfc="RFC 8461 section 3.1",
    ),
    Reason.STS_RECORD_MULTIPLE: Explanation(
        "There is more than one TXT record of MTA-STS, which senders treat as none.",
        "Delete all of them but one.",
        symptom=_UNSAFE,
        rfc="RFC 8461 section 3.1",
    ),
    Reason.STS_RECORD_INVALID: Explanation(
        "The TXT record of MTA-STS is malformed, and senders ignore it.",
        "Write «v=STSv1; id=20260801T120000;», the id of 1 to 32 letters and digits.",
        symptom=_UNSAFE,
        rfc="RFC 8461 section 3.1",
    ),
    Reason.STS_FETCH_FAILED: Explanation(
        "The policy is announced, but https://mta-sts.example.com/.well-known/mta-sts.txt does not give it: no "
        "address, no connection, another status than 200, too slow or too large.",
        "Publish the address of mta-sts.example.com, and let its web server answer that path with status 200.",
        symptom=_UNSAFE,
        rfc="RFC 8461 section 3.3",
        tlsrpt="sts-policy-fetch-error",
    ),
    Reason.STS_REDIRECT: Explanation(
        "The web server redirects the request for the policy; senders follow no redirect.",
        "Serve the file right at mta-sts.example.com, and except the path from redirects to another host or to www.",
        symptom=_UNSAFE,
        rfc="RFC 8461 section 3.3",
        tlsrpt="sts-policy-fetch-error",
    ),
    Reason.STS_CONTENT_TYPE: Explanation(
        "The policy is not served as text/plain. The RFC demands it, because users may upload pages of other types.",
        "Let the web server send Content-Type: text/plain for the file.",
        symptom=_UNSAFE,
        rfc="RFC 8461 section 3.2",
        tlsrpt="sts-policy-fetch-error",
    ),
    Reason.STS_WEB_PKI_INVALID: Explanation(
        "The certificate of mta-sts.example.com is expired, not trusted or for another name, so senders do not "
        "use the policy.",
        "Get a certificate of a public CA for mta-sts.example.com, and serve it with its chain.",
        symptom=_UNSAFE,
        rfc="RFC 8461 section 3.3",
        tlsrpt="sts-webpki-invalid",
    ),
    Reason.STS_POLICY_INVALID: Explanation(
        "The policy lacks a line, or has one that senders do not understand.",
        "Write the lines version: STSv1, mode: enforce (or testing, none), one mx: line for each host, and max_age: "
        "604800.",
        symptom=_UNSAFE,
        rfc="RFC 8461 section 3.2",
        tlsrpt="sts-policy-invalid",
    ),
    Reason.STS_MX_NOT_LISTED: Explanation(
        "The policy does not list one of the domain's MX hosts; senders that follow it do not deliver to that host.",
        "Add an mx: line for the host to the policy, give the TXT record a new id, and wait until the old max_age has "
        "passed before you rely on the host.",
        symptom="Mail from Gmail and Outlook is deferred: MX host does not match the MTA-STS policy.",
        rfc="RFC 8461 section 4.1",
        tlsrpt="validation-failure",
    ),
    Reason.STS_WOULD_FAIL: Explanation(
        "The policy promises verified TLS, but an MX host does not provide it: no STARTTLS, a certificate that is "
        "expired or not trusted, or one for another name.",
        "Repair the host's TLS (its own findings say how); until then set the policy to testing with a new id.",
        symptom="Mail from Gmail and Outlook is deferred, then comes back.",
        rfc="RFC 8461 section 4.2",
        tlsrpt="validation-failure",
    ),
    Reason.STS_MAX_AGE_SHORT: Explanation(
        "Senders may forget the policy after less than a week (enforce) or a day (testing), and whoever strips "
        "TLS can then do so.",
        "Set max_age to 604800 or more once the policy is in mode enforce.",
        symptom=_UNSAFE,
        rfc="RFC 8461 section 3.2",
    ),
    Reason.TLS_REPORT_MISSING: Explanation(
        "The domain promises TLS by DANE or MTA-STS, but has no record that says where to report failures.",
        "Publish the TXT record «v=TLSRPTv1; rua=mailto:tls-reports@example.com» at _smtp._tls.",
        symptom=_UNTOLD,
        rfc="RFC 8460 section 3",
    ),
    Reason.TLS_REPORT_MULTIPLE: Explanation(
        "There is more than one TLSRPT record, which senders treat as none.",
        "Delete all of them but one.",
        symptom=_UNTOLD,
        rfc="RFC 8460 section 3",
    ),
    Reason.TLS_REPORT_INVALID: Explanation(
        "The TLSRPT record is malformed, and senders report nothing.",
        "Write «v=TLSRPTv1; rua=mailto:tls-reports@example.com», or an https: URL.",
        symptom=_UNTOLD,
        rfc="RFC 8460 section 3",
    ),
}

DOMAIN: Mapping[Reason, Explanation] = {**ROUTE, **DANE, **POLICY, **SENDERS}

DOMAIN_SECTIONS: Mapping[str, tuple[Reason, ...]] = {
    "A mail domain: where its mail goes": tuple(ROUTE),
    "A mail domain: DANE": tuple(DANE),
    "A mail domain: MTA-STS and TLSRPT": tuple(POLICY),
    "A mail domain: SPF, DMARC and DKIM": tuple(SENDERS),
}
