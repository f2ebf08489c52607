"""What to do about a reason in Postfix, Dovecot, Exim, OpenSMTPD and HAProxy."""

from collections.abc import Mapping
from typing import Final

from mailtls.reasons.reason import Reason
from mailtls.reasons.software import Software

POSTFIX, DOVECOT, EXIM = Software.POSTFIX, Software.DOVECOT, Software.EXIM
OPENSMTPD, HAPROXY = Software.OPENSMTPD, Software.HAPROXY
RELOADS: Final[Mapping[Software, str]] = {
    POSTFIX: "Run postfix reload.",
    DOVECOT: "Run doveadm reload.",
    EXIM: "Send HUP to the daemon: since 4.95 it keeps what it has read.",
    OPENSMTPD: "Restart smtpd: it reads its certificate at its start alone.",
    HAPROXY: "Send USR2 to its master process (systemctl reload haproxy).",
}
SETTINGS: Final[Mapping[Reason, Mapping[Software, str]]] = {
    Reason.CONNECTION_REFUSED: {
        POSTFIX: "Enable the service in master.cf (smtp, submission, submissions); set inet_interfaces = all.",
        DOVECOT: "Name the protocol in protocols, and the port in an inet_listener; check listen.",
        EXIM: "Check local_interfaces, daemon_smtp_ports and tls_on_connect_ports.",
        OPENSMTPD: "Add a line listen on 0.0.0.0 port ... to smtpd.conf: by default it listens on loopback only.",
    },
    Reason.SUBMISSION_PORT_MISSING: {
        POSTFIX: "Enable submissions (465) and submission (587) in master.cf.",
        EXIM: "Set daemon_smtp_ports = 25 : 465 : 587 and tls_on_connect_ports = 465.",
        OPENSMTPD: "Listen with «smtps» on port 465 and with «tls-require» on port 587, both with «auth».",
    },
    Reason.SERVER_BUSY: {
        POSTFIX: "Raise default_process_limit, or maxproc in master.cf, or list the prober in "
        "smtpd_client_event_limit_exceptions.",
        DOVECOT: "Raise process_limit and client_limit of the login services, and mail_max_userip_connections.",
        EXIM: "Raise smtp_accept_max and smtp_accept_max_per_host, or set smtp_accept_reserve and list the prober in "
        "smtp_reserve_hosts.",
    },
    Reason.PROBE_DENIED: {
        POSTFIX: "List them in mynetworks, postscreen_access_list or the access map that refuses them.",
        DOVECOT: "Look at login_access_sockets (before 2.4).",
        EXIM: "Except them from host_reject_connection and in the ACL of acl_smtp_connect.",
    },
    Reason.NO_BANNER: {
        POSTFIX: "Look at smtpd_upstream_proxy_protocol of the service and postscreen_upstream_proxy_protocol; "
        "postscreen_greet_wait makes clients wait some seconds, which is fine.",
        DOVECOT: "Look at haproxy = yes in the port's inet_listener; haproxy_trusted_networks must hold whoever "
        "connects.",
        EXIM: "Look at hosts_proxy (in builds that have it), which lists whose connections begin with a PROXY header, "
        "and at a delay in acl_smtp_connect.",
        OPENSMTPD: "Look at proxy-v2 in the listen line.",
        HAPROXY: "Look at accept-proxy in the bind line, at the servers behind (send-proxy-v2 only where they want "
        "it), and whether one of them is up.",
    },
    Reason.PROXY_HEADER_MISSING: {
        POSTFIX: "See smtpd_upstream_proxy_protocol of the service, or postscreen_upstream_proxy_protocol.",
        DOVECOT: "See haproxy = yes in the port's inet_listener, and haproxy_trusted_networks.",
        EXIM: "See hosts_proxy, which lists whose connections begin with a PROXY header.",
        OPENSMTPD: "See proxy-v2 in the listen line.",
        HAPROXY: "See accept-proxy in the bind line.",
    },
    Reason.CLIENT_NAME_REFUSED: {
        POSTFIX: "See smtpd_helo_restrictions, and list the prober in mynetworks.",
        EXIM: "See the ACL of acl_smtp_helo, helo_verify_hosts and helo_allow_chars.",
    },
    Reason.CLIENT_CERTIFICATE_REQUIRED: {
        POSTFIX: "Set smtpd_tls_req_ccert = no.",
        DOVECOT: "Set ssl_server_request_client_cert = no (ssl_verify_client_cert before 2.4).",
        EXIM: "Leave tls_verify_hosts empty.",
        OPENSMTPD: "Remove verify from tls-require in the listen line.",
        HAPROXY: "Remove verify required from the bind line.",
    },
    Reason.XCLIENT_REFUSED: {
        POSTFIX: "List the prober's address in smtpd_authorized_xclient_hosts.",
        EXIM: "Claim no address: Exim takes XCLIENT only where it was built with it (hosts_xclient).",
    },
    Reason.IMAP_PREAUTH_BLOCKS_STARTTLS: {
        DOVECOT: "Let imap-login listen on the port: the program imap itself, run by xinetd or socat, greets so.",
    },
    Reason.IMPLICIT_TLS_ON_STARTTLS_PORT: {
        POSTFIX: "Remove smtpd_tls_wrappermode=yes from the service in master.cf.",
        DOVECOT: "Set ssl = no in the port's inet_listener.",
        EXIM: "Take the port out of tls_on_connect_ports.",
        OPENSMTPD: "Write tls in place of smtps in the listen line.",
        HAPROXY: "Remove ssl from the bind line: haproxy cannot do STARTTLS, the server behind it has to.",
    },
    Reason.PLAINTEXT_ON_IMPLICIT_TLS_PORT: {
        POSTFIX: "Add -o smtpd_tls_wrappermode=yes to the service in master.cf (submissions).",
        DOVECOT: "Set ssl = yes in the port's inet_listener.",
        EXIM: "Put the port into tls_on_connect_ports.",
        OPENSMTPD: "Write smtps in place of tls in the listen line.",
        HAPROXY: "Add ssl crt FILE to the bind line.",
    },
    Reason.STARTTLS_NOT_ADVERTISED: {
        POSTFIX: "Set smtpd_tls_security_level = may (25) or encrypt (587) and smtpd_tls_chain_files to the key and "
        "certificate; check that no smtpd_discard_ehlo_keywords hides it.",
        DOVECOT: "Set ssl = yes (or required), ssl_server_cert_file and ssl_server_key_file (ssl_cert and ssl_key "
        "before 2.4).",
        EXIM: "Set tls_advertise_hosts = *, tls_certificate and tls_privatekey.",
        OPENSMTPD: "Add tls (25) or tls-require (587) and pki NAME to the listen line.",
    },
    Reason.STARTTLS_UNAVAILABLE: {
        POSTFIX: "In smtpd_tls_chain_files the key comes before its certificate. Look for «cannot get RSA private key» "
        "or «TLS engine» in the mail log, and at smtpd_client_new_tls_session_rate_limit.",
        DOVECOT: "Check the files of ssl_server_cert_file and ssl_server_key_file (ssl_cert and ssl_key before 2.4).",
        EXIM: "Check tls_certificate and tls_privatekey: the user exim must be able to read them; mainlog has «TLS "
        "error on connection».",
    },
    Reason.STARTTLS_REJECTED: {
        POSTFIX: "Look for -o smtpd_tls_security_level=none in master.cf: 502 means that TLS is off.",
        DOVECOT: "Set ssl = yes (or required); with ssl = no ManageSieve answers that TLS is not supported.",
        EXIM: "Look at the ACL of acl_smtp_starttls, and at tls_advertise_hosts, which may depend on the client.",
    },
    Reason.TLS_HANDSHAKE_FAILED: {
        POSTFIX: "Check smtpd_tls_chain_files, smtpd_tls_mandatory_ciphers and tls_high_cipherlist.",
        DOVECOT: "Check ssl_server_cert_file, ssl_server_key_file (ssl_cert and ssl_key before 2.4) and "
        "ssl_cipher_list; the log has the line «SSL_accept() failed».",
        EXIM: "Check tls_certificate, tls_privatekey and tls_require_ciphers; mainlog has «TLS error on connection».",
        HAPROXY: "Check ciphers, strict-sni and accept-proxy of the bind line.",
    },
    Reason.NO_SHARED_TLS_VERSION: {
        POSTFIX: "Set smtpd_tls_protocols = >=TLSv1.2 and smtpd_tls_mandatory_protocols = >=TLSv1.2 (3.6 and newer).",
        DOVECOT: "Set ssl_min_protocol = TLSv1.2.",
        EXIM: "Remove your own openssl_options, or with GnuTLS (as in Debian) your own tls_require_ciphers.",
        OPENSMTPD: "Remove protocols from the listen line.",
        HAPROXY: "Set ssl-min-ver TLSv1.2, and no ssl-max-ver, in the bind line.",
    },
    Reason.EHLO_AFTER_TLS_FAILED: {
        POSTFIX: "Look for a milter or policy service that fails.",
        DOVECOT: "Look for a login process that died or is at its process_limit.",
        EXIM: "Look at acl_smtp_helo and helo_verify_hosts.",
        HAPROXY: "Check the server behind it.",
    },
    Reason.STARTTLS_READVERTISED: {
        POSTFIX: "Add -o smtpd_tls_security_level=none to the service behind the proxy in master.cf, and -o "
        "smtpd_tls_auth_only=no so that logins stay possible.",
        DOVECOT: "Let the proxy pass on that it has TLS: send-proxy-v2-ssl in haproxy, haproxy = yes in the "
        "inet_listener, and the proxy in haproxy_trusted_networks.",
        EXIM: "Let tls_advertise_hosts be empty for the port behind the proxy: ${if eq{$received_port}{10025}{}{*}}.",
    },
    Reason.SNI_REQUIRED: {
        POSTFIX: "Set smtpd_tls_chain_files beside tls_server_sni_maps: it is what clients without SNI get.",
        DOVECOT: "Set ssl_server_cert_file and ssl_server_key_file (ssl_cert and ssl_key before 2.4) outside of any "
        "local_name block.",
        EXIM: "Let the expansion of tls_certificate end in a default file when $tls_in_sni is empty or unknown.",
        HAPROXY: "Remove strict-sni from the bind line, and name the default certificate first.",
    },
    Reason.NAMES_NOT_ASKED: {
        POSTFIX: "Add the operator's network to smtpd_client_event_limit_exceptions and, with postscreen, to "
        "postscreen_access_list.",
        DOVECOT: "Raise process_limit of the login services, and mail_max_userip_connections.",
    },
    Reason.SECOND_CERTIFICATE_STALE: {
        POSTFIX: "Look at every key and certificate in smtpd_tls_chain_files, and empty smtpd_tls_cert_file, "
        "smtpd_tls_eccert_file and the files of their keys.",
        DOVECOT: "Look at ssl_server_alt_cert_file (ssl_alt_cert before 2.4), or remove it.",
        EXIM: "Look at every file in the list of tls_certificate.",
    },
    Reason.TLS12_UNSUPPORTED: {
        POSTFIX: "Set smtpd_tls_protocols = >=TLSv1.2 and smtpd_tls_mandatory_protocols = >=TLSv1.2.",
        DOVECOT: "Set ssl_min_protocol = TLSv1.2.",
        EXIM: "Take +no_tlsv1_2 out of openssl_options; with GnuTLS (as in Debian) remove your own "
        "tls_require_ciphers.",
        OPENSMTPD: "Remove protocols from the listen line.",
        HAPROXY: "Set ssl-min-ver TLSv1.2 in the bind line.",
    },
    Reason.TLS13_UNSUPPORTED: {
        POSTFIX: "Remove !TLSv1.3 and <=TLSv1.2 from smtpd_tls_protocols and smtpd_tls_mandatory_protocols.",
        DOVECOT: "Update Dovecot and OpenSSL; where openssl.cnf sets MaxProtocol, remove it.",
        EXIM: "Take +no_tlsv1_3 out of openssl_options; with GnuTLS (as in Debian) remove your own "
        "tls_require_ciphers.",
        OPENSMTPD: "Remove protocols from the listen line.",
        HAPROXY: "Remove ssl-max-ver from the bind line.",
    },
    Reason.TLS_BELOW_MINIMUM: {
        POSTFIX: "Set smtpd_tls_protocols and smtpd_tls_mandatory_protocols to >=TLSv1.2 or >=TLSv1.3.",
        DOVECOT: "Set ssl_min_protocol to TLSv1.2 or TLSv1.3.",
        EXIM: "Add +no_tlsv1 +no_tlsv1_1, and for TLS 1.3 alone +no_tlsv1_2, to openssl_options; with GnuTLS (as in "
        "Debian) set tls_require_ciphers = NORMAL:-VERS-ALL:+VERS-TLS1.3, and :+VERS-TLS1.2.",
        OPENSMTPD: "Set protocols in the listen line.",
        HAPROXY: "Set ssl-min-ver in the bind line.",
    },
    Reason.LEGACY_TLS_ENABLED: {
        POSTFIX: "Set smtpd_tls_protocols = >=TLSv1.2 and smtpd_tls_mandatory_protocols = >=TLSv1.2.",
        DOVECOT: "Set ssl_min_protocol = TLSv1.2.",
        EXIM: "Set openssl_options = +no_sslv2 +no_sslv3 +no_tlsv1 +no_tlsv1_1; with GnuTLS (as in Debian) set "
        "tls_require_ciphers = NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2.",
        OPENSMTPD: "Remove protocols from the listen line: its default is TLS 1.2 and newer.",
        HAPROXY: "Remove ssl-min-ver from the bind line, or set it to TLSv1.2.",
    },
    Reason.RESUMPTION_FAILED: {
        POSTFIX: "Check that the tlsmgr service runs; set smtpd_tls_session_cache_database to nothing, and as a last "
        "resort tls_ssl_options = NO_TICKET.",
        DOVECOT: "Set ssl_options = no_ticket.",
        EXIM: "Leave tls_resumption_hosts unset.",
    },
    Reason.STARTTLS_COMMAND_INJECTION: {
        POSTFIX: "Update: every release since 2.8 throws such commands away.",
        DOVECOT: "Update to 2.3.14.1 or newer (CVE-2021-33515).",
        EXIM: "Update to 4.95 or newer (CVE-2021-38371).",
    },
    Reason.AUTH_FAILED: {
        POSTFIX: "Check smtpd_sasl_type and smtpd_sasl_path, and the log of Dovecot or saslauthd behind them.",
        DOVECOT: "Set auth_debug = yes for a moment (log_debug = category=auth in 2.4) and read the log.",
        EXIM: "Test the authenticator with exim -bh, and read the log for its server_condition.",
    },
    Reason.TLS_REQUIRED_FOR_AUTH: {
        POSTFIX: "Set smtpd_tls_wrappermode for the service behind the proxy, or smtpd_tls_auth_only = no where "
        "nothing but the proxy can reach it.",
        DOVECOT: "Put the proxy into haproxy_trusted_networks, set haproxy = yes in the inet_listener, and let the "
        "proxy send its TLS along (send-proxy-v2-ssl).",
        EXIM: "Let server_advertise_condition not depend on $tls_in_cipher for the port behind the proxy.",
        HAPROXY: "Write send-proxy-v2-ssl in the server line: send-proxy-v2 alone says nothing of TLS.",
    },
    Reason.AUTH_UNAVAILABLE: {
        POSTFIX: "Check that the service at smtpd_sasl_path runs and that Postfix may connect to its socket.",
        DOVECOT: "Check that the auth service runs, and what its log says of the passdb.",
        EXIM: "Read the main log for the lookup of the authenticator that was deferred.",
    },
    Reason.AUTH_INCOMPLETE: {
        POSTFIX: "Read the log for «fatal» and «warning: SASL», and check the service at smtpd_sasl_path.",
        DOVECOT: "Check the limits of the auth and login services (client_limit, process_limit), and their log.",
        EXIM: "Test the authenticator with exim -bh; a helper that it calls may hang.",
    },
    Reason.SERVING_OLD_CERTIFICATE: {
        **RELOADS,
        POSTFIX: "Run postfix reload, and check the files of smtpd_tls_chain_files.",
        DOVECOT: "Run doveadm reload, and check the files of ssl_server_cert_file (ssl_cert before 2.4).",
        EXIM: "Send HUP to the daemon: since 4.95 it keeps what it has read. Check that tls_certificate names the "
        "renewed file.",
    },
    Reason.UNEXPECTED_CERTIFICATE: {
        POSTFIX: "Check smtpd_tls_chain_files, -o overrides of it in master.cf, and tls_server_sni_maps.",
        DOVECOT: "Check ssl_server_cert_file (ssl_cert before 2.4), also in local and local_name blocks.",
        EXIM: "Look at what tls_certificate expands to for this name.",
        OPENSMTPD: "Check which pki NAME the listen line has, and the cert of it.",
        HAPROXY: "Check crt and crt-list of the bind line: the first file serves clients with unknown names.",
    },
    Reason.CERTIFICATE_EXPIRED: RELOADS,
    Reason.SELF_SIGNED: {
        POSTFIX: "Let smtpd_tls_chain_files name the right files, and empty smtpd_tls_cert_file (Debian sets it to "
        "ssl-cert-snakeoil.pem).",
        DOVECOT: "Let ssl_server_cert_file (ssl_cert before 2.4) name the right file instead of "
        "/etc/dovecot/private/dovecot.pem or its like.",
        EXIM: "Set tls_certificate and tls_privatekey: without them Exim signs a certificate for itself.",
    },
    Reason.CHAIN_OUT_OF_ORDER: {
        POSTFIX: "List the key first in smtpd_tls_chain_files, then the one file with the whole chain.",
        DOVECOT: "Let ssl_server_cert_file (ssl_cert before 2.4) name the one file with the whole chain.",
        EXIM: "Let tls_certificate name the one file with the whole chain.",
        OPENSMTPD: "Let cert of the pki name the one file with the whole chain.",
        HAPROXY: "Let crt name a file that holds leaf, issuers and key, in this order.",
    },
    Reason.INCOMPLETE_CHAIN: {
        POSTFIX: "Let smtpd_tls_chain_files name the key and then that file: .../tls.key, .../tls.crt.",
        DOVECOT: "Let ssl_server_cert_file (ssl_cert before 2.4) name that file.",
        EXIM: "Let tls_certificate name that file.",
        OPENSMTPD: "Let cert of the pki name that file.",
        HAPROXY: "Let crt name that file.",
    },
    Reason.HOSTNAME_MISMATCH: {
        POSTFIX: "If another certificate has the name: add it to tls_server_sni_maps (postmap -F), and keep in mind "
        "that many senders send no SNI.",
        DOVECOT: "If another certificate has the name: add a local_name block for it.",
        EXIM: "If another certificate has the name: let tls_certificate depend on $tls_in_sni.",
        OPENSMTPD: "If another certificate has the name: name its pki too in the listen line.",
        HAPROXY: "If another certificate has the name: add its file by a further crt.",
    },
    Reason.WEAK_CRYPTO: {
        POSTFIX: "Remove smtpd_tls_ciphers = export, low or null, and leave smtpd_tls_mandatory_ciphers at medium or "
        "high.",
        DOVECOT: "Remove your own ssl_cipher_list.",
        EXIM: "Remove your own tls_require_ciphers.",
        OPENSMTPD: "Remove your own ciphers.",
        HAPROXY: "Remove your own ciphers, also from ssl-default-bind-ciphers.",
    },
    Reason.AUTH_OFFERED_BEFORE_TLS: {
        POSTFIX: "Set smtpd_tls_auth_only = yes.",
        DOVECOT: "Set auth_allow_cleartext = no (disable_plaintext_auth = yes before 2.4).",
        EXIM: "Set auth_advertise_hosts = ${if def:tls_in_cipher{*}}.",
        OPENSMTPD: "Write tls-require in place of tls in the listen line.",
    },
    Reason.AUTH_MISSING: {
        POSTFIX: "Set smtpd_sasl_auth_enable = yes for this port in master.cf, and check smtpd_sasl_path.",
        DOVECOT: "Check auth_mechanisms: it needs plain, and login for old Outlook.",
        EXIM: "Check server_advertise_condition of each authenticator, and auth_advertise_hosts.",
        OPENSMTPD: "Add auth to the listen line.",
    },
    Reason.TLSA_MISMATCH: {
        POSTFIX: "See the served key by `posttls-finger -t30 -l dane -P /etc/ssl/certs example.com`.",
    },
}
