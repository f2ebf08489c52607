"""What the reasons of full and deep probes mean: what other clients than the probe's own would meet."""

from collections.abc import Mapping

from mailtls.reasons.reason import Explanation, Reason

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
