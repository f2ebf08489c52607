"""What it takes to get out of each reason: nothing, time, or a person. Reconciling and Stalled follow it.

A reason needs a person where only an edit of something that is there can help: of the resource, its workload, a record,
a permission. What may pass, or comes with an object that may be on its way, recovers by itself.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from mailtls.reasons.reason import Reason


class Recovery(StrEnum):
    """How a resource gets out of a reason; the values are what docs/reference/reasons.md says of it."""

    NOT_NEEDED = "not needed."
    AUTOMATIC = "mailtls goes on, or tries again, by itself."
    MANUAL = "a person has to act."


_NOT_NEEDED: Final = frozenset(
    {
        *(Reason.READY, Reason.ISSUED, Reason.STORED, Reason.ROLLED_OUT, Reason.VERIFIED),
        *(Reason.NO_WORKLOADS, Reason.DOMAINS_HEALTHY, Reason.SECRET_ADOPTED),
        *(Reason.CERTIFICATE_NAMES_ADDED, Reason.CERTIFICATE_WORSE, Reason.WORKLOAD_SHARED),
    }
)
_AUTOMATIC: Final = frozenset(
    {
        # on the way
        *(Reason.PENDING, Reason.ISSUING, Reason.ROLLING_OUT, Reason.PROBING),
        *(Reason.WAITING_FOR_WINDOW, Reason.ROLLOUT_QUEUED),
        # a certificate is ordered, or the Secret put right
        *(Reason.SECRET_MISSING, Reason.SELF_SIGNED_PLACEHOLDER, Reason.SECRET_UNREADABLE, Reason.KEY_MISMATCH),
        *(Reason.KEY_POLICY_CHANGED, Reason.NAMES_CHANGED, Reason.ISSUER_CHANGED),
        *(Reason.RENEWAL_DUE, Reason.RENEWAL_REQUESTED, Reason.SECRET_REPLACED),
        # the CA and the validation of names: tried again, with growing delays
        *(Reason.ACME_UNREACHABLE, Reason.ORDER_FAILED, Reason.RATE_LIMITED, Reason.CAA_LOOKUP_FAILED),
        *(Reason.CHALLENGE_FAILED, Reason.CERTIFICATE_KEY_MISMATCH, Reason.CERTIFICATE_DUE_AT_ONCE),
        *(Reason.DNS_UNREACHABLE, Reason.DNS_NOT_PROPAGATED, Reason.NAME_SERVERS_UNREACHABLE),
        Reason.HTTP_SELF_CHECK_FAILED,
        # objects that may be on their way
        *(Reason.CREDENTIALS_MISSING, Reason.WORKLOAD_NOT_FOUND, Reason.SERVICE_MISSING, Reason.NO_PODS),
        *(Reason.POD_NOT_READY, Reason.FILE_NOT_UPDATED, Reason.EXEC_UNAVAILABLE, Reason.EVICTION_BLOCKED),
        *(Reason.NAMESPACE_TERMINATING, Reason.ADMISSION_WEBHOOK_FAILED),
        # servers that may come back
        *(Reason.DNS_LOOKUP_FAILED, Reason.CONNECTION_REFUSED, Reason.CONNECT_TIMEOUT, Reason.NETWORK_UNREACHABLE),
        *(Reason.SERVER_BUSY, Reason.NO_BANNER, Reason.SERVING_OLD_CERTIFICATE, Reason.SECOND_CERTIFICATE_STALE),
        *(Reason.NAMESERVERS_DISAGREE, Reason.DNSSEC_UNKNOWN, Reason.STS_FETCH_FAILED),
        *(Reason.NAMES_NOT_ASKED, Reason.AUTH_NOT_TRIED, Reason.INTERNAL_ERROR),
    }
)
_MANUAL: Final = frozenset(
    {
        # decisions of people
        *(Reason.SUSPENDED, Reason.WAITING_FOR_APPROVAL, Reason.ROLLOUT_PAUSED),
        # the resource and its Secret
        *(Reason.INVALID_SPEC, Reason.SECRET_CLAIMED, Reason.SECRET_NOT_OWNED, Reason.SECRET_IMMUTABLE),
        *(Reason.CANDIDATE_REFUSED, Reason.ROLLED_BACK, Reason.ROLLBACK_REFUSED),
        *(Reason.RENEWAL_MISSING, Reason.FEATURE_DISABLED, Reason.CHAIN_UNAVAILABLE),
        # the CA
        *(Reason.ACME_TLS_UNTRUSTED, Reason.ACME_INSECURE, Reason.ACCOUNT_REJECTED, Reason.EXTERNAL_ACCOUNT_REQUIRED),
        *(Reason.TERMS_CHANGED, Reason.ORDER_REJECTED, Reason.AUTHORIZATION_NOT_ORDERED, Reason.ACCOUNT_PAUSED),
        *(Reason.PROFILE_UNKNOWN, Reason.CAA_FORBIDS, Reason.NO_SOLVER, Reason.NAME_NOT_ALLOWED),
        *(Reason.DNS_UPDATE_REFUSED, Reason.ZONE_NOT_FOUND),
        *(Reason.CERTIFICATE_NAMES_MISMATCH, Reason.CERTIFICATE_CHAIN_BROKEN, Reason.CERTIFICATE_DATES_WRONG),
        # the workloads, and what the cluster lets the operator do
        *(Reason.SECRET_NOT_MOUNTED, Reason.SUB_PATH_MOUNT, Reason.SECRET_COPIED_AT_START),
        *(Reason.SECRET_IN_ENVIRONMENT, Reason.KEY_UNREADABLE, Reason.TEMPLATE_REVERTED, Reason.RELOAD_FAILED),
        *(Reason.CONTAINER_NOT_FOUND, Reason.ROLLOUT_TIMEOUT, Reason.CANARY_FAILED, Reason.TOO_MANY_ENDPOINTS),
        *(Reason.FORBIDDEN, Reason.QUOTA_EXCEEDED, Reason.ADMISSION_DENIED),
        # how a mail server is set up
        *(Reason.PORT_BLOCKED, Reason.ADDRESS_REFUSED, Reason.PROBE_DENIED, Reason.PROTOCOL_ERROR),
        *(Reason.XCLIENT_REFUSED, Reason.PROXY_HEADER_MISSING, Reason.GREETING_HELD_BACK, Reason.MESH_INTERFERES),
        *(Reason.CLIENT_NAME_REFUSED, Reason.IMAP_PREAUTH_BLOCKS_STARTTLS, Reason.IMPLICIT_TLS_ON_STARTTLS_PORT),
        *(Reason.PLAINTEXT_ON_IMPLICIT_TLS_PORT, Reason.STARTTLS_NOT_ADVERTISED, Reason.STARTTLS_MASKED),
        *(Reason.STARTTLS_UNAVAILABLE, Reason.STARTTLS_REJECTED, Reason.PLAINTEXT_AFTER_STARTTLS),
        *(Reason.TLS_HANDSHAKE_FAILED, Reason.NO_SHARED_TLS_VERSION, Reason.CLIENT_HELLO_REFUSED),
        *(Reason.CLIENT_CERTIFICATE_REQUIRED, Reason.UNEXPECTED_CERTIFICATE, Reason.CERTIFICATE_EXPIRED),
        *(Reason.CERTIFICATE_NOT_YET_VALID, Reason.SELF_SIGNED, Reason.UNTRUSTED_ROOT, Reason.STAGING_CERTIFICATE),
        *(Reason.INCOMPLETE_CHAIN, Reason.CHAIN_OUT_OF_ORDER, Reason.HOSTNAME_MISMATCH, Reason.CHAIN_INVALID),
        *(Reason.WRONG_CERTIFICATE_PURPOSE, Reason.CERTIFICATE_EXPIRING_SOON, Reason.CERTIFICATE_VALIDITY_TOO_LONG),
        Reason.WEAK_CRYPTO,
        *(Reason.EHLO_AFTER_TLS_FAILED, Reason.STARTTLS_READVERTISED, Reason.AUTH_OFFERED_BEFORE_TLS),
        *(Reason.AUTH_MISSING, Reason.SUBMISSION_PORT_MISSING, Reason.SNI_REQUIRED, Reason.TLS12_UNSUPPORTED),
        *(Reason.TLS13_UNSUPPORTED, Reason.LEGACY_TLS_ENABLED, Reason.TLS_BELOW_MINIMUM, Reason.KEY_BELOW_MINIMUM),
        *(Reason.RESUMPTION_FAILED, Reason.STARTTLS_COMMAND_INJECTION, Reason.AUTH_FAILED),
        *(Reason.TLS_REQUIRED_FOR_AUTH, Reason.AUTH_UNAVAILABLE, Reason.AUTH_INCOMPLETE, Reason.PODS_INCONSISTENT),
        # what a mail domain publishes
        *(Reason.NO_MAIL_HOST, Reason.NULL_MX_NOT_ALONE, Reason.MX_IS_ADDRESS, Reason.MX_IS_ALIAS),
        *(Reason.MX_WITHOUT_ADDRESS, Reason.MX_DUPLICATE, Reason.MX_IMPLICIT, Reason.TLSA_MISMATCH),
        *(Reason.TLSA_ORPHAN_PARAMETER_SET, Reason.TLSA_BOGUS, Reason.TLSA_INSECURE, Reason.TLSA_UNUSABLE),
        *(Reason.TLSA_PINS_ISSUER, Reason.TLSA_NO_NEXT, Reason.TLSA_TTL_TOO_LONG, Reason.STS_RECORD_MISSING),
        *(Reason.STS_RECORD_MULTIPLE, Reason.STS_RECORD_INVALID, Reason.STS_REDIRECT, Reason.STS_CONTENT_TYPE),
        *(Reason.STS_WEB_PKI_INVALID, Reason.STS_POLICY_INVALID, Reason.STS_MX_NOT_LISTED, Reason.STS_WOULD_FAIL),
        *(Reason.STS_MAX_AGE_SHORT, Reason.TLS_REPORT_MISSING, Reason.TLS_REPORT_MULTIPLE),
        *(Reason.TLS_REPORT_INVALID, Reason.SPF_MISSING, Reason.SPF_MULTIPLE, Reason.SPF_INVALID),
        *(Reason.SPF_ALLOWS_ALL, Reason.SPF_TOO_MANY_LOOKUPS, Reason.SPF_VOID_LOOKUPS, Reason.DMARC_MISSING),
        *(Reason.DMARC_MULTIPLE, Reason.DMARC_INVALID, Reason.DKIM_MISSING, Reason.DKIM_INVALID),
        *(Reason.DKIM_REVOKED, Reason.DKIM_TESTING, Reason.DKIM_KEY_WEAK, Reason.REVERSE_DNS_MISSING),
    }
)
_BY_RECOVERY: Final = {
    Recovery.NOT_NEEDED: _NOT_NEEDED,
    Recovery.AUTOMATIC: _AUTOMATIC,
    Recovery.MANUAL: _MANUAL,
}
RECOVERIES: Final[Mapping[Reason, Recovery]] = MappingProxyType(
    {reason: recovery for recovery, reasons in _BY_RECOVERY.items() for reason in sorted(reasons)}
)
"""Each reason has one."""
