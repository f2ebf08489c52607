"""What the reasons about a served certificate, about logins, and of full and deep probes mean."""

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
    Reason.CERTIFICATE_VALIDITY_TOO_LONG: Explanation(
        "The served certificate is valid for longer than a public CA may issue for (since 2026-03-15 200 days, from "
        "2027-03-15 on 100, from 2029-03-15 on 47), or, of a private CA at a port for users, for more than the 825 "
        "days that Apple's devices accept.",
        "Have it issued for a shorter time: by ACME, or by the settings of your private CA.",
        symptom="Nobody notices, as mail servers do not look at it.",
        mailbox_symptom="Mail on iPhones, iPads and Macs says that it cannot verify the server's identity, while other "
        "mail programs connect.",
        rfc="RFC 5280 section 4.1.2.5, Baseline Requirements section 6.3.2",
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
DEPTH: Mapping[Reason, Explanation] = {
    Reason.SNI_REQUIRED: Explanation(
        "The server accepts only clients that send the right name (SNI), but many mail servers send none, or the name "
        "of their MX record.",
        "Give the server a default certificate for clients that send no name or an unknown one.",
        symptom="Mail from some senders never arrives, or arrives without TLS, while web mail and your own tests work.",
        mailbox_symptom="Old mail programs, scanners and printers, which send no name, cannot connect; others can.",
        rfc="RFC 7672 section 8.1, RFC 8461 section 7.1",
        tlsrpt="validation-failure",
    ),
    Reason.NAMES_NOT_ASKED: Explanation(
        "The certificate is for more names than the probe could check: the server accepted no more connections, or "
        "was so slow that the time ended. What it serves for the other names is not known.",
        "Allow more connections from the prober's address, or find out why the server is slow to greet.",
        symptom="Nothing, unless one of these names is served another certificate.",
    ),
    Reason.SECOND_CERTIFICATE_STALE: Explanation(
        "The server has a certificate for each of two key types (ECDSA and RSA), and one of them is not the stored "
        "one, has expired, or is not trusted. A certificate that another MailServerTLS of the namespace keeps is fine.",
        "Renew both together, or serve only the one that is renewed.",
        symptom="Some users and senders see an expired or wrong certificate, and others at the same moment do not.",
        mailbox_symptom="Some users see an expired or wrong certificate, and others at the same moment do not.",
        rfc="RFC 8446 section 4.4.2.2",
    ),
    Reason.TLS12_UNSUPPORTED: Explanation(
        "The server speaks TLS 1.3 only; senders with an older library cannot start TLS with it.",
        "Allow TLS 1.2 beside TLS 1.3.",
        symptom="Mail from older senders arrives without TLS or not at all.",
        mailbox_symptom="Old phones and mail programs cannot connect.",
        rfc="RFC 9325 section 3.1.1",
        tlsrpt="validation-failure",
    ),
    Reason.TLS13_UNSUPPORTED: Explanation(
        "The server does not speak TLS 1.3, which is faster and leaves less to configure wrongly.",
        "Remove the upper bound of the TLS versions, or update the TLS library of the server's image.",
        symptom="Nobody notices; test pages such as Internet.nl take points off.",
        rfc="RFC 9325 section 3.1.1",
    ),
    Reason.TLS_BELOW_MINIMUM: Explanation(
        "The server accepts a version of TLS that is older than spec.probe.thresholds.minimumTLSVersion (--min-tls) "
        "allows. Without that threshold, TLS 1.0 and 1.1 are only warned of (LegacyTlsEnabled).",
        "Set the same version as the oldest in the server, or lower the threshold.",
        symptom="Nobody notices, until an audit does.",
        rfc="RFC 9325 section 3.1.1",
    ),
    Reason.KEY_BELOW_MINIMUM: Explanation(
        "The served certificate has an RSA key of fewer bits than spec.probe.thresholds.minimumRSABits "
        "(--min-rsa-bits) allows. Without that threshold, only keys below 2048 bits are warned of (WeakCrypto).",
        "Set spec.privateKey.size as large, or algorithm to ECDSA; the next certificate has the new key. A certificate "
        "that the operator does not keep has to be reissued with such a key.",
        symptom="Nobody notices, until an audit does.",
        rfc="RFC 9325 section 4.4",
    ),
    Reason.LEGACY_TLS_ENABLED: Explanation(
        "The server still accepts TLS 1.0 or 1.1, which are deprecated since 2021.",
        "Set the oldest TLS version to 1.2.",
        symptom="Nobody notices; security scans and test pages complain.",
        rfc="RFC 8996 section 4, RFC 9325 section 3.1.1",
    ),
    Reason.RESUMPTION_FAILED: Explanation(
        "A client that resumes its session, as most do, is cut off, while a new session works.",
        "Share session cache and ticket keys between the processes and replicas behind one address, or turn session "
        "tickets off.",
        symptom="Now and then connecting fails and works at the second try.",
        rfc="RFC 8446 section 2.2, RFC 5077 section 3.1",
    ),
    Reason.STARTTLS_COMMAND_INJECTION: Explanation(
        "The server keeps what it received in clear text behind STARTTLS and carries it out inside TLS, as if the "
        "client had sent it there (CVE-2011-0411 and similar).",
        "Update the mail server, or the proxy that starts TLS for it.",
        symptom="Nobody notices, but somebody in the network between can redirect mail or steal the password of a "
        "login.",
        rfc="RFC 3207 section 4.2 and section 6",
    ),
    Reason.AUTH_FAILED: Explanation(
        "The server refused the user name and password of the trial login (535 in SMTP).",
        "Check user name and password (the Secret of probe.authSecretRef, or --auth-user and its variable), and the "
        "log of the authentication service.",
        symptom="Mail programs ask users for their password again and again, and cannot send or read mail.",
        rfc="RFC 4954 section 6",
    ),
    Reason.TLS_REQUIRED_FOR_AUTH: Explanation(
        "Inside TLS the server says that TLS is needed first: it does not know that a proxy in front of it ended TLS.",
        "Let the server know that the proxy speaks TLS in its place (version 2 of the PROXY protocol can carry that), "
        "or let the server itself do TLS.",
        symptom="Users cannot log in: their program says that the server wants encryption.",
        rfc="RFC 4954 section 6, RFC 3207 section 4",
    ),
    Reason.AUTH_UNAVAILABLE: Explanation(
        "The server says that it cannot check logins at the moment, so nothing is known about the password.",
        "Start the authentication service behind the mail server, or what it depends on (LDAP, a database).",
        symptom="Mail programs say that the login failed for now; users wait, or type their password again and again.",
        rfc="RFC 4954 section 4 and section 6, RFC 5530 section 3, RFC 3206 section 4",
    ),
    Reason.AUTH_INCOMPLETE: Explanation(
        "The server neither accepted nor refused the trial login: it closed the connection, stopped answering, or "
        "wanted more than a login has.",
        "Read the server's log at that moment: a process of it, or its authentication service, may have died.",
        symptom="Mail programs hang at the login, or say that the connection was lost.",
        rfc="RFC 4954 section 4",
    ),
    Reason.AUTH_NOT_TRIED: Explanation(
        "The trial login was not tried: the server did not show a certificate that proves its name, it refused further "
        "connections, or nobody logs in at this port; or the same login was refused a short while ago, and another try "
        "might lock the account.",
        "Repair what else is found at the port first; name a port where users log in (465, 587, 993, 995, 143, 110 or "
        "4190).",
        rfc="RFC 4954 section 9",
    ),
    Reason.PODS_INCONSISTENT: Explanation(
        "Pods or addresses that should be equal differ: in the certificate that they serve, in the TLS version, or in "
        "what they offer.",
        "Finish the rollout; check that all pods run the same image and mount the same configuration.",
        symptom="Connecting works or fails by chance, depending on the pod that answers.",
        rfc="RFC 7672 section 8.1",
        tlsrpt="validation-failure",
    ),
}
