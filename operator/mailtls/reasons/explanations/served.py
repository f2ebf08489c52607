"""What the reasons about a served certificate and about logins mean."""

from collections.abc import Mapping
from typing import Final

from mailtls.reasons.reason import Explanation, Reason

_UNVERIFIED: Final = (
    "Mail from senders with MTA-STS never arrives; mail programs say that the server cannot be verified."
)
_UNTRUSTED: Final = "Outlook and phones say that the server cannot be verified, or that its certificate is not trusted."
_RELOADS: Final = {
    "Postfix": "Run postfix reload.",
    "Dovecot": "Run doveadm reload.",
    "Exim": "Send HUP to the daemon: since 4.95 it keeps what it has read.",
    "OpenSMTPD": "Restart smtpd: it reads its certificate at its start alone.",
    "HAProxy": "Send USR2 to its master process (systemctl reload haproxy).",
}
SERVED: Mapping[Reason, Explanation] = {
    Reason.SERVING_OLD_CERTIFICATE: Explanation(
        "The port still serves an earlier certificate, although a newer one is stored.",
        "Reload the server; check that it reads the renewed files themselves, and no copy of them.",
        symptom="Nobody notices until the old certificate expires; then senders with MTA-STS or DANE stop delivering.",
        mailbox_symptom="Nobody notices until the old certificate expires; then mail programs and phones warn.",
        rfc="RFC 7672 section 8.1",
        tlsrpt="validation-failure",
        fixes={
            **_RELOADS,
            "Postfix": "Run postfix reload, and check the files of smtpd_tls_chain_files.",
            "Dovecot": "Run doveadm reload, and check the files of ssl_server_cert_file (ssl_cert before 2.4).",
            "Exim": "Send HUP to the daemon: since 4.95 it keeps what it has read. Check that tls_certificate names "
            "the renewed file.",
        },
    ),
    Reason.UNEXPECTED_CERTIFICATE: Explanation(
        "The port serves a certificate that is not the expected one and never was.",
        "Let the server's settings name the files of the mounted Secret, or the renewed ones, and look for a proxy in "
        "front of it.",
        symptom="Nobody notices, or senders with MTA-STS or DANE stop delivering.",
        mailbox_symptom="Outlook and other mail programs may say that the server's certificate is wrong.",
        rfc="RFC 7672 section 8.1",
        tlsrpt="validation-failure",
        fixes={
            "Postfix": "Check smtpd_tls_chain_files, -o overrides of it in master.cf, and tls_server_sni_maps.",
            "Dovecot": "Check ssl_server_cert_file (ssl_cert before 2.4), also in local and local_name blocks.",
            "Exim": "Look at what tls_certificate expands to for this name.",
            "OpenSMTPD": "Check which pki NAME the listen line has, and the cert of it.",
            "HAProxy": "Check crt and crt-list of the bind line: the first file serves clients with unknown names.",
        },
    ),
    Reason.CERTIFICATE_EXPIRED: Explanation(
        "The served certificate has expired; clients that verify it refuse to connect.",
        "Renew it; where the operator does that, the condition Issued says why no new one came. If it is renewed, "
        "reload or restart the server.",
        symptom="Mail from senders with MTA-STS never arrives.",
        mailbox_symptom="Outlook and phones say that the server's certificate has expired, and many refuse to connect.",
        rfc="RFC 5280 section 4.1.2.5",
        tlsrpt="certificate-expired",
        fixes=_RELOADS,
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
        fixes={
            "Postfix": "Let smtpd_tls_chain_files name the right files, and empty smtpd_tls_cert_file (Debian sets it "
            "to ssl-cert-snakeoil.pem).",
            "Dovecot": "Let ssl_server_cert_file (ssl_cert before 2.4) name the right file instead of "
            "/etc/dovecot/private/dovecot.pem or its like.",
            "Exim": "Set tls_certificate and tls_privatekey: without them Exim signs a certificate for itself.",
        },
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
        "The served certificate is of Let's Encrypt's staging CA. The probe trusts it, as it was told to, but "
        "mail clients do not: to them it is untrusted.",
        "When trials are over, set spec.acme.server to letsencrypt, or remove it where the installation has that for a "
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
        fixes={
            "Postfix": "List the key first in smtpd_tls_chain_files, then the one file with the whole chain.",
            "Dovecot": "Let ssl_server_cert_file (ssl_cert before 2.4) name the one file with the whole chain.",
            "Exim": "Let tls_certificate name the one file with the whole chain.",
            "OpenSMTPD": "Let cert of the pki name the one file with the whole chain.",
            "HAProxy": "Let crt name a file that holds leaf, issuers and key, in this order.",
        },
    ),
    Reason.INCOMPLETE_CHAIN: Explanation(
        "The server does not send the intermediate certificates, so that to many clients its certificate is untrusted.",
        "Serve the whole chain: tls.crt of the Secret, or fullchain.pem in place of cert.pem.",
        symptom="Mail from senders with MTA-STS never arrives.",
        mailbox_symptom="Some mail programs connect, and others, phones above all, say that the server cannot be "
        "verified.",
        rfc="RFC 8446 section 4.4.2",
        tlsrpt="certificate-not-trusted",
        fixes={
            "Postfix": "Let smtpd_tls_chain_files name the key and then that file: .../tls.key, .../tls.crt.",
            "Dovecot": "Let ssl_server_cert_file (ssl_cert before 2.4) name that file.",
            "Exim": "Let tls_certificate name that file.",
            "OpenSMTPD": "Let cert of the pki name that file.",
            "HAProxy": "Let crt name that file.",
        },
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
        fixes={
            "Postfix": "If another certificate has the name: add it to tls_server_sni_maps (postmap -F), and keep in "
            "mind that many senders send no SNI.",
            "Dovecot": "If another certificate has the name: add a local_name block for it.",
            "Exim": "If another certificate has the name: let tls_certificate depend on $tls_in_sni.",
            "OpenSMTPD": "If another certificate has the name: name its pki too in the listen line.",
            "HAProxy": "If another certificate has the name: add its file by a further crt.",
        },
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
        "Look why it is not renewed: with the operator the condition Issued says so, else the log of your ACME client.",
        symptom="Nobody notices yet.",
    ),
    Reason.WEAK_CRYPTO: Explanation(
        "The key, the signature or the negotiated cipher is weaker than is good practice today.",
        "Use ECDSA 256 or RSA 3072 keys (spec.privateKey) and TLS 1.2 or newer with forward secrecy.",
        symptom="Nobody notices, or mail programs with strict settings cannot connect; test pages complain.",
        rfc="RFC 9325 sections 4 and 5",
        fixes={
            "Postfix": "Remove smtpd_tls_ciphers = export, low or null, and leave smtpd_tls_mandatory_ciphers at "
            "medium or high.",
            "Dovecot": "Remove your own ssl_cipher_list.",
            "Exim": "Remove your own tls_require_ciphers.",
            "OpenSMTPD": "Remove your own ciphers.",
            "HAProxy": "Remove your own ciphers, also from ssl-default-bind-ciphers.",
        },
    ),
    Reason.AUTH_OFFERED_BEFORE_TLS: Explanation(
        "The server offers to take passwords before TLS is started, where anybody on the way can read them.",
        "Let the server offer logins inside TLS only.",
        symptom="Nobody notices, but a mail program set to «no encryption» sends the password in clear text.",
        rfc="RFC 4954 section 4, RFC 8314 section 3",
        fixes={
            "Postfix": "Set smtpd_tls_auth_only = yes.",
            "Dovecot": "Set auth_allow_cleartext = no (disable_plaintext_auth = yes before 2.4).",
            "Exim": "Set auth_advertise_hosts = ${if def:tls_in_cipher{*}}.",
            "OpenSMTPD": "Write tls-require in place of tls in the listen line.",
        },
    ),
    Reason.AUTH_MISSING: Explanation(
        "Inside TLS the port offers no way to log in with a password, so that users cannot log in safely. It fails "
        "where logins were offered before TLS or a trial login is asked for; a relay that takes mail by address alone "
        "is only warned of.",
        "Turn authentication on for this port, and check the service behind it (Dovecot, Cyrus, PAM).",
        symptom="Mail programs say that the server does not support logging in; nobody can send mail.",
        rfc="RFC 4954 section 3, RFC 6409 section 4.3",
        fixes={
            "Postfix": "Set smtpd_sasl_auth_enable = yes for this port in master.cf, and check smtpd_sasl_path.",
            "Dovecot": "Check auth_mechanisms: it needs plain, and login for old Outlook.",
            "Exim": "Check server_advertise_condition of each authenticator, and auth_advertise_hosts.",
            "OpenSMTPD": "Add auth to the listen line.",
        },
    ),
}
