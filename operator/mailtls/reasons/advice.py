"""What to do about a reason in one mail server, each sentence once; and in the servers that fewer people run."""

from collections.abc import Mapping
from typing import Final

from mailtls.reasons.reason import Reason
from mailtls.reasons.settings import SETTINGS
from mailtls.reasons.software import Software

NGINX, SENDMAIL, CYRUS = Software.NGINX, Software.SENDMAIL, Software.CYRUS
COURIER, CHASQUID, MADDY, MOX = Software.COURIER, Software.CHASQUID, Software.MADDY, Software.MOX
_RELOADS: Final[Mapping[Software, str]] = {
    NGINX: "Run nginx -t and nginx -s reload: the first says what is wrong with the files.",
    SENDMAIL: "Send HUP to the daemon, which must have been started by its full path.",
    CYRUS: "Send HUP to its master process: processes that wait for clients keep what they have read.",
    COURIER: "Check TLS_CERTFILE and TLS_PRIVATE_KEYFILE: it reads them for each connection.",
    CHASQUID: "Restart it: HUP makes it read its domains again, not its certificates.",
    MADDY: "Send USR2 to it (HUP ends it), and check the files of tls file.",
    MOX: "Restart it: it reads the files of KeyCerts at its start alone.",
}
FURTHER_SETTINGS: Final[Mapping[Reason, Mapping[Software, str]]] = {
    Reason.SERVING_OLD_CERTIFICATE: _RELOADS,
    Reason.CERTIFICATE_EXPIRED: _RELOADS,
    Reason.STARTTLS_NOT_ADVERTISED: {
        NGINX: "Set starttls on (or only) in the server block.",
        SENDMAIL: "Set confSERVER_CERT, confSERVER_KEY, confCACERT and confCACERT_PATH: where one of them is missing, "
        "or others can read the key, there is no STARTTLS.",
        CYRUS: "Set tls_server_cert and tls_server_key, and imap_allowstarttls: on (since 3.10 it is off).",
        COURIER: "Set TLS_CERTFILE and TLS_PRIVATE_KEYFILE in esmtpd and imapd-ssl, and IMAPDSTARTTLS=YES.",
        CHASQUID: "Put fullchain.pem and privkey.pem into certs/NAME: a folder for each name, which its user can read.",
    },
    Reason.IMPLICIT_TLS_ON_STARTTLS_PORT: {
        NGINX: "Remove ssl from the listen line, and set starttls on (or only).",
        SENDMAIL: "Remove M=s from DAEMON_OPTIONS of the port.",
        CYRUS: "Remove -s from the service's cmd in cyrus.conf.",
    },
    Reason.PLAINTEXT_ON_IMPLICIT_TLS_PORT: {
        NGINX: "Add ssl to the listen line.",
        SENDMAIL: "Add M=s to DAEMON_OPTIONS of the port.",
        CYRUS: "Add -s to the service's cmd in cyrus.conf.",
        CHASQUID: "Put the port into submission_over_tls_address.",
    },
    Reason.UNEXPECTED_CERTIFICATE: {
        NGINX: "Check ssl_certificate, also in the server block.",
        SENDMAIL: "Check confSERVER_CERT.",
        CYRUS: "Check tls_server_cert, also with the service's name before it (imap_tls_server_cert).",
        COURIER: "Check TLS_CERTFILE, and files beside it that end in the name or address of the server.",
        CHASQUID: "Look into certs/NAME of the name that clients connect to.",
    },
}
_ALL: Final[Mapping[Reason, Mapping[Software, str]]] = {
    reason: {**SETTINGS.get(reason, {}), **FURTHER_SETTINGS.get(reason, {})} for reason in Reason
}


def settings_for(reason: Reason) -> Mapping[Software, str]:
    """Return what to do about a reason, by server; empty where it has to do with no setting of theirs."""
    return _ALL[reason]


def setting(reason: Reason, software: Software) -> str:
    """Return what to do about a reason in one server, as whole sentences; empty where there is nothing to say."""
    return settings_for(reason).get(software, "")
