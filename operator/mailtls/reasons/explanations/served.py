"""What the reasons about a served certificate and about logins mean."""

from collections.abc import Mapping
from typing import Final

from mailtls.reasons.reason import Explanation, Reason

_UNVERIFIED: Final = (
    "Mail from senders with MTA-STS never arrives; mail programs say that the server cannot be verified."
)
_UNTRUSTED: Final = "Outlook and phones say that the server cannot be verified, or that its certificate is not trusted."
SERVED: Mapping[Reason, Explanation] = {
    Reason.SERVING_OLD_CERTIFICATE: Explanation(
        "The port still serves an earlier certificate, although a newer one is stored.",
        "Reload the server; check that it reads the renewed files themselves, and no copy of them.",
        symptom="Nobody notices until the old certificate expires; then senders with MTA-STS or DANE stop delivering.",
        mailbox_symptom="Nobody notices until the old certificate expires; then mail programs and phones warn.",
        rfc="RFC 7672 section 8.1",
        tlsrpt="validation-failure",
    ),
    Reason.UNEXPECTED_CERTIFICATE: Explanation(
        "The port serves a certificate that is not the expected one and never was.",
        "Let the server's settings name the files of the mounted Secret, or the renewed ones, and look for a proxy in "
        "front of it.",
        symptom="Nobody notices, or senders with MTA-STS or DANE stop delivering.",
        mailbox_symptom="Outlook and other mail programs may say that the server's certificate is wrong.",
        rfc="RFC 7672 section 8.1",
        tlsrpt="validation-failure",
    ),
    Reason.CERTIFICATE_EXPIRED: Explanation(
        "The served certificate has expired; clients that verify it refuse to connect.",
        "Renew it; where the operator does that, the condition Issued says why no new one came. If it is renewed, "
        "reload or restart the server.",
        symptom="Mail from senders with MTA-STS never arrives.",
        mailbox_symptom="Outlook and phones say that the server's certificate has expired, and many refuse to connect.",
        rfc="RFC 5280 section 4.1.2.5",
        tlsrpt="certificate-expired",
    ),
    Reason.CERTIFICATE_NOT_YET_VALID: Explanation(
        "The served certificate is not valid yet.",
        "Check the clocks of the server, of the machine that probes and of the CA.",
        symptom="Mail from senders with MTA-STS is delayed, right after a renewal.",
        mailbox_symptom="Mail programs say that the server's certificate is wrong, right after a renewal.",
        rfc="RFC 5280 section 4.1.2.5",
        tlsrpt="certificate-not-trusted",
    ),
    Reason.SELF_SIGNED: Explanation(
        "The served certificate is signed by itself, as images and packages do at their first start; it is untrusted.",
        "Let the server use the certificate of a CA instead of the one that came with it.",
        symptom=_UNVERIFIED,
        mailbox_symptom=_UNTRUSTED,
        rfc="RFC 5280 section 6.1, RFC 8461 section 4.2",
        tlsrpt="certificate-not-trusted",
    ),
    Reason.UNTRUSTED_ROOT: Explanation(
        "The served chain ends at a root that clients do not trust: the CA is untrusted.",
        "Use a public CA; if a private one is meant, give the probe its root by spec.probe.trust, the "
        "installation's trust bundle or --ca-file. With acme.server letsencrypt-staging, or `mailtls probe --staging`, "
        "that CA's roots are trusted for the trial.",
        symptom=_UNVERIFIED,
        mailbox_symptom=_UNTRUSTED,
        rfc="RFC 5280 section 6.1, RFC 8461 section 4.2",
        tlsrpt="certificate-not-trusted",
    ),
    Reason.STAGING_CERTIFICATE: Explanation(
        "The served certificate is of Let's Encrypt's staging CA. The probe trusts it, because the resource or "
        "--staging says so, but mail clients do not: to them it is untrusted.",
        "When trials are over, set spec.acme.server to letsencrypt, or remove it where that is the installation's "
        "default; a new certificate is then ordered and rolled out by itself.",
        symptom=_UNVERIFIED,
        mailbox_symptom=_UNTRUSTED,
        rfc="RFC 8461 section 4.2",
        tlsrpt="certificate-not-trusted",
    ),
    Reason.CHAIN_OUT_OF_ORDER: Explanation(
        "The server sends the certificates of its chain in the wrong order, or one that does not belong to it; clients "
        "differ in whether they forgive that.",
        "Write the leaf first, then each issuer right behind what it signed, as tls.crt and fullchain.pem have it.",
        symptom="Mail from some senders never arrives, while others have no trouble.",
        mailbox_symptom="Some mail programs and phones say that the server cannot be verified, others do not.",
        rfc="RFC 5246 section 7.4.2",
        tlsrpt="certificate-not-trusted",
    ),
    Reason.INCOMPLETE_CHAIN: Explanation(
        "The server does not send the intermediate certificates, so to many clients its certificate is untrusted.",
        "Serve the whole chain: tls.crt of the Secret, or fullchain.pem in place of cert.pem.",
        symptom="Mail from senders with MTA-STS never arrives.",
        mailbox_symptom="Some mail programs connect, and others, phones above all, say that the server cannot be "
        "verified.",
        rfc="RFC 8446 section 4.4.2",
        tlsrpt="certificate-not-trusted",
    ),
    Reason.CHAIN_INVALID: Explanation(
        "The served chain does not verify, for another cause than a missing issuer, an unknown root or a date: mostly "
        "an intermediate that is no CA, or a signature that is wrong.",
        "Serve the chain as the CA gave it; with a private CA, look at the intermediate's basic "
        "constraints (CA:TRUE) and key usage.",
        symptom=_UNVERIFIED,
        mailbox_symptom=_UNTRUSTED,
        rfc="RFC 5280 section 6.1",
        tlsrpt="certificate-not-trusted",
    ),
    Reason.HOSTNAME_MISMATCH: Explanation(
        "The served certificate is not for the name that clients dial.",
        "Have it issued for that name too (spec.dnsNames, where clients' name stands first), or let clients and the MX "
        "record use a name that it has.",
        symptom="Mail from senders with MTA-STS never arrives.",
        mailbox_symptom="Outlook says «the target principal name is incorrect»; phones that they cannot verify the "
        "server's identity.",
        rfc="RFC 9525 section 6, RFC 8461 section 4.1",
        tlsrpt="certificate-host-mismatch",
    ),
    Reason.WRONG_CERTIFICATE_PURPOSE: Explanation(
        "The served certificate is not meant for servers (its extended key usage lacks serverAuth).",
        "Have it issued again under a profile for TLS servers.",
        symptom="Mail from senders with MTA-STS never arrives.",
        mailbox_symptom="Mail programs say that the server's certificate cannot be used for this.",
        rfc="RFC 5280 section 4.2.1.12",
        tlsrpt="certificate-not-trusted",
    ),
    Reason.CERTIFICATE_EXPIRING_SOON: Explanation(
        "Less than a third of the served certificate's lifetime is left.",
        "Find out why it is not renewed: with the operator the condition Issued says so, else the log of your ACME "
        "client.",
        symptom="Nobody notices yet.",
    ),
    Reason.WEAK_CRYPTO: Explanation(
        "The key, the signature or the negotiated cipher is weaker than is good practice today.",
        "Use ECDSA 256 or RSA 3072 keys (spec.privateKey) and TLS 1.2 or newer with forward secrecy.",
        symptom="Nobody notices, or mail programs with strict settings cannot connect; test pages complain.",
        rfc="RFC 9325 sections 4 and 5",
    ),
    Reason.AUTH_OFFERED_BEFORE_TLS: Explanation(
        "The server offers to take passwords before TLS is started, where anybody in the network between can read "
        "them.",
        "Let the server offer logins inside TLS only.",
        symptom="Nobody notices, but a mail program set to «no encryption» sends the password in clear text.",
        rfc="RFC 4954 section 4, RFC 8314 section 3",
    ),
    Reason.AUTH_MISSING: Explanation(
        "Inside TLS the port offers no login with a password, so users cannot log in safely. It fails where logins "
        "were offered before TLS or a trial login is configured; for a relay that knows its clients by address it is a "
        "warning.",
        "Turn authentication on for this port, and check the service behind it (Dovecot, Cyrus, PAM).",
        symptom="Mail programs say that the server does not support logging in; nobody can send mail.",
        rfc="RFC 4954 section 3, RFC 6409 section 4.3",
    ),
}
