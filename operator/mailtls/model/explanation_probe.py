"""What the reasons of a probe mean: from connecting to what is served."""

from collections.abc import Mapping

from mailtls.model.reason import Explanation, Reason

CONNECTING: Mapping[Reason, Explanation] = {
    Reason.DNS_LOOKUP_FAILED: Explanation(
        "The name of the mail server could not be resolved.",
        "Check the DNS record or the Service that the name belongs to.",
        symptom="Mail bounces with «host not found», or mail programs cannot find the server.",
        rfc="RFC 5321 section 5.1",
    ),
    Reason.CONNECTION_REFUSED: Explanation(
        "Nothing listens on that port of the pod.",
        "Check that the service is enabled in Postfix' master.cf (smtp, submission, submissions), that inet_interfaces "
        "is all, and that the port listed under workloads[].ports is the container's port and not the Service's.",
        symptom="Mail to you is delayed with «connection refused»; mail programs say that the server cannot be "
        "reached.",
        rfc="RFC 5321 section 4.5.4.1",
        fixes={
            "Dovecot": "Name the protocol in protocols, and the port in an inet_listener; check listen.",
            "Exim": "Check local_interfaces, daemon_smtp_ports and tls_on_connect_ports.",
        },
    ),
    Reason.CONNECT_TIMEOUT: Explanation(
        "The port did not answer at all; packets are dropped on the way.",
        "Allow the operator's pods to reach the mail pods in your NetworkPolicies and firewalls.",
        symptom="Mail to you is delayed with «connection timed out»; mail programs wait for a long time and give up.",
        rfc="RFC 5321 section 4.5.3.2",
    ),
    Reason.NETWORK_UNREACHABLE: Explanation(
        "There is no route from the operator to the pod's address, or a firewall on the way answers that it lets "
        "nobody through.",
        "Check NetworkPolicies and firewalls, the cluster's network, and whether nodes route both IPv4 and IPv6 if "
        "pods have both.",
        symptom="Mail from some senders is delayed, mostly from those who prefer the address family that fails.",
    ),
    Reason.PORT_BLOCKED: Explanation(
        "The address did not answer from outside, so that nobody knows what is served there: the filter may be before "
        "whoever asks as well as before the server. It fails nothing.",
        "Ask from another network by mailtls probe, such as from a server that sends mail. If it answers there, let "
        "the prober out to that port, or (the operator) take Public out of spec.probe.from; else open the server's "
        "firewall. Many providers block outgoing port 25; many clusters have no IPv6.",
        symptom="None, if only the prober cannot get out; else mail to you is delayed with «connection timed out».",
        rfc="RFC 5321 section 4.5.3.2",
    ),
    Reason.SERVICE_MISSING: Explanation(
        "spec.probe.from names Service, but no Service of the namespace leads to the workload.",
        "Make a Service whose selector fits the labels of the pod template, and whose targetPort is a port of "
        "workloads[].ports, by its number or by its name in the container's ports. Or take Service out of the list.",
        symptom="Other pods cannot reach the mail server by a name of the cluster.",
    ),
    Reason.SUBMISSION_PORT_MISSING: Explanation(
        "The host takes mail from users on one of the ports 465 (implicit TLS) and 587 (STARTTLS), not on the other.",
        "Enable submissions (465) and submission (587) in Postfix' master.cf, both with TLS enforced, and open both in "
        "the firewall. Name the ports with --port to ask only those that you offer.",
        symptom="Mail programs that try only the missing port do not find the server, or are slow to set up.",
        rfc="RFC 8314 section 3.3",
        fixes={
            "Exim": "Set daemon_smtp_ports = 25 : 465 : 587 and tls_on_connect_ports = 465.",
            "OpenSMTPD": "Listen with «smtps» on port 465 and with «tls-require» on port 587, both with «auth».",
        },
    ),
    Reason.SERVER_BUSY: Explanation(
        "The server answered that it has no capacity at present (421).",
        "Raise Postfix' process limit (default_process_limit, or maxproc in master.cf), or exempt the operator's "
        "address from anvil's limits (smtpd_client_event_limit_exceptions).",
        symptom="Mail to you arrives late; senders see «421 too many connections».",
        rfc="RFC 5321 section 3.8",
        fixes={
            "Dovecot": "Raise process_limit and client_limit of the login services, and mail_max_userip_connections.",
            "Exim": "Raise smtp_accept_max and smtp_accept_max_per_host, or list the operator in smtp_reserve_hosts.",
        },
    ),
    Reason.PROBE_REJECTED: Explanation(
        "The server refuses to talk to the operator (554), mostly by a block list, postscreen or an access map.",
        "Allow the operator's pod addresses in mynetworks, postscreen_access_list or the access map.",
        symptom="None, if only the operator is turned away; else mail from some senders bounces with a 5xx reply.",
        rfc="RFC 5321 section 3.1",
        fixes={
            "Exim": "List the operator's addresses in host_reject_connection's exceptions and in the connect ACL.",
        },
    ),
    Reason.NO_BANNER: Explanation(
        "The port accepts connections but says nothing, or never finishes its greeting, and does not speak TLS either.",
        "Check that a mail server listens there; if the port expects the PROXY protocol (postscreen_upstream_proxy, "
        "smtpd_upstream_proxy_protocol, Dovecot's haproxy = yes), set proxyProtocol of the port to V1 or V2.",
        symptom="Mail is delayed with «timed out while receiving the initial server greeting».",
        rfc="RFC 5321 section 4.5.3.2.1",
    ),
    Reason.PROTOCOL_ERROR: Explanation(
        "The server's answers are not what the port's protocol has a mail server say.",
        "Check that the port is the mail server's and its protocol the one that is listed; the message shows what was "
        "answered.",
        symptom="Mail programs say that the server gave an unexpected answer.",
        rfc="RFC 5321 section 4.2",
    ),
    Reason.XCLIENT_REFUSED: Explanation(
        "The port is listed with an address to claim (xclientAddress), but the server does not take it by XCLIENT.",
        "Put the operator's address into smtpd_authorized_xclient_hosts (Postfix), or remove xclientAddress; where the "
        "message shows a refusal of the claimed address itself, the server's access rules turn that client away.",
    ),
}

STARTING_TLS: Mapping[Reason, Explanation] = {
    Reason.IMAP_PREAUTH_BLOCKS_STARTTLS: Explanation(
        "The IMAP server greets as if the client had logged in (PREAUTH), and after a login no client may start TLS.",
        "Let the server ask for a login on this port; a pre-authenticated service belongs on a local socket. If the "
        "server does not greet so by itself, look for somebody on the way who does.",
        symptom="Mail programs that insist on TLS cannot connect; others send everything in plain text.",
        rfc="RFC 9051 sections 6.2.1 and 11.2",
    ),
    Reason.IMPLICIT_TLS_ON_STARTTLS_PORT: Explanation(
        "The port expects TLS from the first byte, but is listed with STARTTLS.",
        "Set tls: Implicit for this port if that is meant (465); otherwise remove smtpd_tls_wrappermode=yes from its "
        "line in master.cf (25 and 587 use STARTTLS).",
        symptom="Mail programs set to STARTTLS hang and time out; senders see no greeting.",
        rfc="RFC 8314 section 3, RFC 3207 section 2",
        tlsrpt="starttls-not-supported",
        fixes={
            "Dovecot": "Set ssl = no in the port's inet_listener (143 and 110 use STARTTLS).",
            "Exim": "Take the port out of tls_on_connect_ports.",
        },
    ),
    Reason.PLAINTEXT_ON_IMPLICIT_TLS_PORT: Explanation(
        "The port greets in clear text, but is listed with implicit TLS.",
        "Set tls: StartTLS for this port if that is meant; otherwise add -o smtpd_tls_wrappermode=yes to its line in "
        "master.cf (465, submissions).",
        symptom="Mail programs set to SSL/TLS say «wrong version number» or that the server does not support "
        "encryption.",
        rfc="RFC 8314 section 3",
        tlsrpt="validation-failure",
        fixes={
            "Dovecot": "Set ssl = yes in the port's inet_listener (993 and 995 begin with TLS).",
            "Exim": "Put the port into tls_on_connect_ports.",
        },
    ),
    Reason.STARTTLS_NOT_ADVERTISED: Explanation(
        "TLS is not supported on this port: the server's EHLO answer does not offer STARTTLS.",
        "Set smtpd_tls_security_level = may (25) or encrypt (587) and smtpd_tls_chain_files to the mounted key and "
        "certificate; check that no smtpd_discard_ehlo_keywords and no firewall strips it.",
        symptom="Gmail shows a red padlock beside mail that you receive; senders who insist on TLS bounce with «TLS "
        "not supported».",
        rfc="RFC 3207 section 2, RFC 7672 section 9.2",
        tlsrpt="starttls-not-supported",
        fixes={
            "Dovecot": "Set ssl = yes (or required), ssl_server_cert_file and ssl_server_key_file (ssl_cert and "
            "ssl_key before 2.4).",
            "Exim": "Set tls_advertise_hosts = *, tls_certificate and tls_privatekey.",
        },
    ),
    Reason.STARTTLS_UNAVAILABLE: Explanation(
        "STARTTLS is offered but fails for now (454): Postfix could not load its certificate or key, or limits TLS "
        "sessions of one client.",
        "Look for `cannot get RSA private key` or `TLS engine` in the mail log, check path and permissions of the "
        "files, and smtpd_client_new_tls_session_rate_limit.",
        symptom="Gmail shows a red padlock; mail from senders who insist on TLS is delayed with «454 TLS not "
        "available».",
        rfc="RFC 3207 section 4",
        tlsrpt="starttls-not-supported",
        fixes={
            "Dovecot": "Check that the files of ssl_server_cert_file and ssl_server_key_file can be read and match; "
            "the log names them.",
            "Exim": "Check tls_certificate and tls_privatekey: the user exim must be able to read them; mainlog has "
            "«TLS error on connection».",
        },
    ),
    Reason.STARTTLS_REJECTED: Explanation(
        "STARTTLS is offered but the server refuses the command for good (5xx).",
        "Check that TLS is not switched off for this port by -o smtpd_tls_security_level=none in master.cf, and look "
        "into the mail log.",
        symptom="Gmail shows a red padlock; senders who insist on TLS bounce.",
        rfc="RFC 3207 section 4",
        tlsrpt="starttls-not-supported",
    ),
    Reason.PLAINTEXT_AFTER_STARTTLS: Explanation(
        "The server sent clear text after it had agreed to start TLS; somebody may be tampering with the connection, "
        "or the server has a bug.",
        "Look for a proxy or middlebox between operator and pod, and update the mail server.",
        symptom="Mail programs break off with a TLS error.",
        rfc="RFC 3207 section 6",
        tlsrpt="validation-failure",
    ),
    Reason.TLS_HANDSHAKE_FAILED: Explanation(
        "The TLS handshake broke off; the message holds OpenSSL's words.",
        "Look into the mail log at the same second; mostly the certificate files cannot be read or cipher lists "
        "(smtpd_tls_mandatory_ciphers, tls_high_cipherlist) leave nothing in common.",
        symptom="Senders fall back to clear text or delay with «TLS handshake failed»; mail programs cannot connect.",
        rfc="RFC 8446 section 6.2",
        tlsrpt="validation-failure",
        fixes={
            "Dovecot": "Check ssl_server_cert_file, ssl_server_key_file and ssl_cipher_list; the log has the line "
            "«SSL_accept() failed».",
            "Exim": "Check tls_certificate, tls_privatekey and tls_require_ciphers; mainlog has «TLS error on "
            "connection».",
        },
    ),
    Reason.NO_SHARED_TLS_VERSION: Explanation(
        "The server and today's clients share no TLS version.",
        "Allow TLS 1.2 and 1.3: smtpd_tls_protocols = >=TLSv1.2 and smtpd_tls_mandatory_protocols = >=TLSv1.2.",
        symptom="Up-to-date mail programs and senders cannot start TLS, old ones can.",
        rfc="RFC 8996 section 4, RFC 9325 section 3.1.1",
        tlsrpt="validation-failure",
        fixes={
            "Dovecot": "Set ssl_min_protocol = TLSv1.2.",
            "Exim": "Set openssl_options = +no_sslv2 +no_sslv3 +no_tlsv1 +no_tlsv1_1.",
        },
    ),
    Reason.EHLO_AFTER_TLS_FAILED: Explanation(
        "The server did not answer EHLO inside TLS, although RFC 3207 section 4.2 wants it.",
        "Look into the mail log at the same second; a milter or policy service may fail.",
        symptom="Mail programs connect, then hang or break off before the login; senders delay.",
        rfc="RFC 3207 section 4.2",
    ),
    Reason.STARTTLS_READVERTISED: Explanation(
        "The server offers STARTTLS again inside TLS, which RFC 3207 section 4.2 forbids.",
        "Update the mail server, or look for a proxy that ends TLS in front of it.",
        symptom="Nobody notices, but some mail programs try to start TLS twice and fail.",
        rfc="RFC 3207 section 4.2",
    ),
}

SERVED: Mapping[Reason, Explanation] = {
    Reason.SERVING_OLD_CERTIFICATE: Explanation(
        "The port still serves an earlier certificate, although a newer one is stored.",
        "Reload or restart the pod; check that smtpd_tls_chain_files names the mounted files and no copy of them.",
        symptom="Nobody notices until the old certificate expires; then mail programs warn, and senders with MTA-STS "
        "or DANE stop delivering.",
        rfc="RFC 7672 section 8.1",
        tlsrpt="validation-failure",
        fixes={
            "Dovecot": "Run doveadm reload, and check the files of ssl_server_cert_file (ssl_cert before 2.4).",
            "Exim": "Exim reads the files anew for each connection: check that tls_certificate names the mounted ones.",
        },
    ),
    Reason.UNEXPECTED_CERTIFICATE: Explanation(
        "The port serves a certificate that never was in the Secret.",
        "Let smtpd_tls_chain_files name the files of the mounted Secret, look for -o overrides of it in master.cf and "
        "for tls_server_sni_maps, and for a proxy in front of the server.",
        symptom="Outlook and other mail programs may say that the server's certificate is wrong.",
        rfc="RFC 7672 section 8.1",
        tlsrpt="validation-failure",
        fixes={
            "Dovecot": "Let ssl_server_cert_file name the files of the mounted Secret, and look for local_name blocks.",
            "Exim": "Look at what tls_certificate expands to for this name.",
        },
    ),
    Reason.CERTIFICATE_EXPIRED: Explanation(
        "The served certificate has expired; clients that verify it refuse to connect.",
        "Read the condition Issued for why no new one came; if a newer one is stored, reload or restart the pod.",
        symptom="Outlook says that the server's certificate has expired; mail from senders with MTA-STS never arrives.",
        rfc="RFC 5280 section 4.1.2.5",
        tlsrpt="certificate-expired",
    ),
    Reason.CERTIFICATE_NOT_YET_VALID: Explanation(
        "The served certificate is not valid yet.",
        "Check the clocks of the cluster's nodes.",
        symptom="Mail programs say that the server's certificate is wrong, right after a renewal.",
        rfc="RFC 5280 section 4.1.2.5",
        tlsrpt="certificate-not-trusted",
    ),
    Reason.SELF_SIGNED: Explanation(
        "The served certificate is signed by itself, as images do at their first start; clients do not trust it.",
        "Let smtpd_tls_chain_files name the files of the mounted Secret instead of the image's own.",
        symptom="Outlook and phones say that the server cannot be verified; mail from senders with MTA-STS never "
        "arrives.",
        rfc="RFC 8461 section 4.2",
        tlsrpt="certificate-not-trusted",
        fixes={
            "Dovecot": "Let ssl_server_cert_file name the mounted file instead of /etc/dovecot/private/dovecot.pem "
            "or its like.",
            "Exim": "Set tls_certificate and tls_privatekey: without them Exim signs a certificate for itself.",
        },
    ),
    Reason.UNTRUSTED_ROOT: Explanation(
        "The served chain ends at a root that clients do not trust.",
        "Use a public authority; if a private one is meant, put its root into spec.probe.trust or the installation's "
        "trust bundle, or name it by --ca-file. With acme.server letsencrypt-staging, or `mailtls probe --staging`, "
        "that authority's roots are trusted for the trial.",
        symptom="Outlook and phones say that the server cannot be verified; mail from senders with MTA-STS never "
        "arrives.",
        rfc="RFC 8461 section 4.2",
        tlsrpt="certificate-not-trusted",
    ),
    Reason.STAGING_CERTIFICATE: Explanation(
        "The served certificate is of Let's Encrypt's staging authority. The probe trusts it, as it was told to, but "
        "mail clients do not.",
        "When trials are over, set spec.acme.server to letsencrypt, or remove it where the installation has that for a "
        "default; a new certificate is then ordered and rolled out by itself.",
        symptom="Mail programs say that the server cannot be verified; mail from senders with MTA-STS never arrives.",
        rfc="RFC 8461 section 4.2",
        tlsrpt="certificate-not-trusted",
    ),
    Reason.CHAIN_OUT_OF_ORDER: Explanation(
        "The server sends the certificates of its chain in the wrong order, or one that does not belong to it; clients "
        "differ in whether they forgive that.",
        "Write the leaf first, then each issuer right behind what it signed, or serve tls.crt as it is.",
        symptom="Mail from some senders never arrives, while others have no trouble.",
        rfc="RFC 5246 section 7.4.2",
    ),
    Reason.INCOMPLETE_CHAIN: Explanation(
        "The server does not send the intermediate certificates, so that many clients cannot verify it.",
        "Serve the whole of tls.crt, which holds the chain: smtpd_tls_chain_files = .../tls.key, .../tls.crt.",
        symptom="Some mail programs connect, and others, phones above all, say that the server cannot be verified.",
        rfc="RFC 8446 section 4.4.2",
        tlsrpt="certificate-not-trusted",
        fixes={
            "Dovecot": "Let ssl_server_cert_file name the mounted tls.crt, which holds the chain too.",
            "Exim": "Let tls_certificate name the mounted tls.crt, which holds the chain too.",
        },
    ),
    Reason.HOSTNAME_MISMATCH: Explanation(
        "The served certificate is not for the name that clients dial.",
        "Put that name into spec.dnsNames, the one that clients dial first, or correct the MX record.",
        symptom="Outlook says «the target principal name is incorrect»; mail from senders with MTA-STS never arrives.",
        rfc="RFC 9525 section 6, RFC 8461 section 4.1",
        tlsrpt="certificate-host-mismatch",
    ),
    Reason.WRONG_CERTIFICATE_PURPOSE: Explanation(
        "The served certificate is not meant for servers (its extended key usage lacks serverAuth).",
        "Have it issued again under a profile for TLS servers.",
        symptom="Mail programs say that the server's certificate cannot be used for this.",
        rfc="RFC 5280 section 4.2.1.12",
        tlsrpt="certificate-not-trusted",
    ),
    Reason.CERTIFICATE_EXPIRING_SOON: Explanation(
        "Less than a third of the served certificate's lifetime is left.",
        "Read the condition Issued: a renewal should have happened or be under way.",
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
        },
    ),
    Reason.AUTH_OFFERED_BEFORE_TLS: Explanation(
        "The server offers to take passwords before TLS is started, where anybody on the way can read them.",
        "Set smtpd_tls_auth_only = yes.",
        symptom="Nobody notices, but a mail program set to «no encryption» sends the password in clear text.",
        rfc="RFC 4954 section 4, RFC 8314 section 3",
        fixes={
            "Dovecot": "Set auth_allow_cleartext = no (disable_plaintext_auth = yes before 2.4).",
            "Exim": "Set server_advertise_condition = ${if def:tls_in_cipher} in each authenticator.",
        },
    ),
    Reason.AUTH_MISSING: Explanation(
        "Inside TLS the port offers no way to log in, so that users cannot log in safely. It fails where logins were "
        "offered before TLS or a trial login is asked for; a relay that takes mail by address alone is only warned of.",
        "Set smtpd_sasl_auth_enable = yes for this port in master.cf, and check the SASL service (Dovecot, Cyrus).",
        symptom="Mail programs say that the server does not support logging in; nobody can send mail.",
        rfc="RFC 4954 section 3, RFC 6409 section 4.3",
        fixes={
            "Dovecot": "Check auth_mechanisms: it needs plain, and login for old Outlook.",
            "Exim": "Check server_advertise_condition of each authenticator, and auth_advertise_hosts.",
        },
    ),
}
