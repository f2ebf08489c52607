"""Every reason that conditions, events, metric labels and docs share, each with its cause and a fix to try.

The enum and the explanations are one table: `docs/reference/reasons.md` is generated from it and
`make check` compares them.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Severity(StrEnum):
    """What a finding does to the verdict: `FAIL` makes a condition False, `WARN` is only said."""

    FAIL = "Fail"
    WARN = "Warn"


class Reason(StrEnum):
    """CamelCase reasons as Kubernetes wants them in conditions; the value is what users see and search for."""

    # good states
    READY = "Ready"
    ISSUED = "Issued"
    STORED = "Stored"
    ROLLED_OUT = "RolledOut"
    VERIFIED = "Verified"
    NO_WORKLOADS = "NoWorkloads"
    DOMAINS_HEALTHY = "DomainsHealthy"
    SUSPENDED = "Suspended"
    # on the way
    PENDING = "Pending"
    ISSUING = "Issuing"
    ROLLING_OUT = "RollingOut"
    WAITING_FOR_WINDOW = "WaitingForWindow"
    ROLLOUT_QUEUED = "RolloutQueued"
    WAITING_FOR_APPROVAL = "WaitingForApproval"
    ROLLOUT_PAUSED = "RolloutPaused"
    PROBING = "Probing"
    # the resource
    INVALID_SPEC = "InvalidSpec"
    SECRET_CLAIMED = "SecretClaimed"  # noqa: S105 - a reason, no password
    # why a certificate is due (events and history)
    SECRET_MISSING = "SecretMissing"  # noqa: S105
    SELF_SIGNED_PLACEHOLDER = "SelfSignedPlaceholder"
    SECRET_UNREADABLE = "SecretUnreadable"  # noqa: S105
    KEY_MISMATCH = "KeyMismatch"
    KEY_POLICY_CHANGED = "KeyPolicyChanged"
    NAMES_CHANGED = "NamesChanged"
    ISSUER_CHANGED = "IssuerChanged"
    RENEWAL_DUE = "RenewalDue"
    RENEWAL_REQUESTED = "RenewalRequested"
    # the certificate authority
    ACME_UNREACHABLE = "AcmeUnreachable"
    ACME_TLS_UNTRUSTED = "AcmeTlsUntrusted"
    ACME_INSECURE = "AcmeInsecure"
    ACCOUNT_REJECTED = "AccountRejected"
    EXTERNAL_ACCOUNT_REQUIRED = "ExternalAccountRequired"
    TERMS_CHANGED = "TermsChanged"
    ORDER_REJECTED = "OrderRejected"
    ORDER_FAILED = "OrderFailed"
    AUTHORIZATION_NOT_ORDERED = "AuthorizationNotOrdered"
    RATE_LIMITED = "RateLimited"
    ACCOUNT_PAUSED = "AccountPaused"
    PROFILE_UNKNOWN = "ProfileUnknown"
    CAA_FORBIDS = "CaaForbids"
    CAA_LOOKUP_FAILED = "CaaLookupFailed"
    CHALLENGE_FAILED = "ChallengeFailed"
    NO_SOLVER = "NoSolver"
    NAME_NOT_ALLOWED = "NameNotAllowed"
    CREDENTIALS_MISSING = "CredentialsMissing"
    CHAIN_UNAVAILABLE = "ChainUnavailable"
    # challenges
    DNS_UPDATE_REFUSED = "DnsUpdateRefused"
    DNS_UNREACHABLE = "DnsUnreachable"
    DNS_NOT_PROPAGATED = "DnsNotPropagated"
    NAME_SERVERS_UNREACHABLE = "NameServersUnreachable"
    ZONE_NOT_FOUND = "ZoneNotFound"
    HTTP_SELF_CHECK_FAILED = "HttpSelfCheckFailed"
    # guarding the Secret
    CERTIFICATE_KEY_MISMATCH = "CertificateKeyMismatch"
    CERTIFICATE_NAMES_MISMATCH = "CertificateNamesMismatch"
    CERTIFICATE_NAMES_ADDED = "CertificateNamesAdded"
    CERTIFICATE_CHAIN_BROKEN = "CertificateChainBroken"
    CERTIFICATE_DATES_WRONG = "CertificateDatesWrong"
    CERTIFICATE_DUE_AT_ONCE = "CertificateDueAtOnce"
    CERTIFICATE_WORSE = "CertificateWorse"
    ROLLED_BACK = "RolledBack"
    SECRET_REPLACED = "SecretReplaced"  # noqa: S105
    CANDIDATE_REFUSED = "CandidateRefused"
    RENEWAL_MISSING = "RenewalMissing"
    SECRET_ADOPTED = "SecretAdopted"  # noqa: S105
    ROLLBACK_REFUSED = "RollbackRefused"
    SECRET_NOT_OWNED = "SecretNotOwned"  # noqa: S105
    # rolling out
    WORKLOAD_NOT_FOUND = "WorkloadNotFound"
    SECRET_NOT_MOUNTED = "SecretNotMounted"  # noqa: S105
    SUB_PATH_MOUNT = "SubPathMount"
    SECRET_COPIED_AT_START = "SecretCopiedAtStart"  # noqa: S105
    SECRET_IN_ENVIRONMENT = "SecretInEnvironment"  # noqa: S105
    SECRET_IMMUTABLE = "SecretImmutable"  # noqa: S105
    KEY_UNREADABLE = "KeyUnreadable"
    TEMPLATE_REVERTED = "TemplateReverted"
    NO_PODS = "NoPods"
    TOO_MANY_ENDPOINTS = "TooManyEndpoints"
    POD_NOT_READY = "PodNotReady"
    FILE_NOT_UPDATED = "FileNotUpdated"
    RELOAD_FAILED = "ReloadFailed"
    EXEC_UNAVAILABLE = "ExecUnavailable"
    EVICTION_BLOCKED = "EvictionBlocked"
    CONTAINER_NOT_FOUND = "ContainerNotFound"
    ROLLOUT_TIMEOUT = "RolloutTimeout"
    CANARY_FAILED = "CanaryFailed"
    WORKLOAD_SHARED = "WorkloadShared"
    FORBIDDEN = "Forbidden"
    FEATURE_DISABLED = "FeatureDisabled"
    QUOTA_EXCEEDED = "QuotaExceeded"
    ADMISSION_DENIED = "AdmissionDenied"
    ADMISSION_WEBHOOK_FAILED = "AdmissionWebhookFailed"
    NAMESPACE_TERMINATING = "NamespaceTerminating"
    # what the probe sees
    DNS_LOOKUP_FAILED = "DnsLookupFailed"
    CONNECTION_REFUSED = "ConnectionRefused"
    CONNECT_TIMEOUT = "ConnectTimeout"
    NETWORK_UNREACHABLE = "NetworkUnreachable"
    PORT_BLOCKED = "PortBlocked"
    SERVICE_MISSING = "ServiceMissing"
    ADDRESS_REFUSED = "AddressRefused"
    SERVER_BUSY = "ServerBusy"
    PROBE_DENIED = "ProbeDenied"
    NO_BANNER = "NoBanner"
    PROTOCOL_ERROR = "ProtocolError"
    XCLIENT_REFUSED = "XclientRefused"
    PROXY_HEADER_MISSING = "ProxyHeaderMissing"
    GREETING_HELD_BACK = "GreetingHeldBack"
    MESH_INTERFERES = "MeshInterferes"
    CLIENT_NAME_REFUSED = "ClientNameRefused"
    IMAP_PREAUTH_BLOCKS_STARTTLS = "ImapPreauthBlocksStarttls"
    IMPLICIT_TLS_ON_STARTTLS_PORT = "ImplicitTlsOnStarttlsPort"
    PLAINTEXT_ON_IMPLICIT_TLS_PORT = "PlaintextOnImplicitTlsPort"
    STARTTLS_NOT_ADVERTISED = "StarttlsNotAdvertised"
    STARTTLS_MASKED = "StarttlsMasked"
    STARTTLS_UNAVAILABLE = "StarttlsUnavailable"
    STARTTLS_REJECTED = "StarttlsRejected"
    PLAINTEXT_AFTER_STARTTLS = "PlaintextAfterStarttls"
    TLS_HANDSHAKE_FAILED = "TlsHandshakeFailed"
    NO_SHARED_TLS_VERSION = "NoSharedTlsVersion"
    CLIENT_HELLO_REFUSED = "ClientHelloRefused"
    CLIENT_CERTIFICATE_REQUIRED = "ClientCertificateRequired"
    SERVING_OLD_CERTIFICATE = "ServingOldCertificate"
    UNEXPECTED_CERTIFICATE = "UnexpectedCertificate"
    CERTIFICATE_EXPIRED = "CertificateExpired"
    CERTIFICATE_NOT_YET_VALID = "CertificateNotYetValid"
    SELF_SIGNED = "SelfSigned"
    UNTRUSTED_ROOT = "UntrustedRoot"
    STAGING_CERTIFICATE = "StagingCertificate"
    INCOMPLETE_CHAIN = "IncompleteChain"
    CHAIN_OUT_OF_ORDER = "ChainOutOfOrder"
    HOSTNAME_MISMATCH = "HostnameMismatch"
    CHAIN_INVALID = "ChainInvalid"
    WRONG_CERTIFICATE_PURPOSE = "WrongCertificatePurpose"
    CERTIFICATE_EXPIRING_SOON = "CertificateExpiringSoon"
    CERTIFICATE_VALIDITY_TOO_LONG = "CertificateValidityTooLong"
    WEAK_CRYPTO = "WeakCrypto"
    EHLO_AFTER_TLS_FAILED = "EhloAfterTlsFailed"
    STARTTLS_READVERTISED = "StarttlsReadvertised"
    AUTH_OFFERED_BEFORE_TLS = "AuthOfferedBeforeTls"
    AUTH_MISSING = "AuthMissing"
    SUBMISSION_PORT_MISSING = "SubmissionPortMissing"
    SNI_REQUIRED = "SniRequired"
    NAMES_NOT_ASKED = "NamesNotAsked"
    SECOND_CERTIFICATE_STALE = "SecondCertificateStale"
    TLS12_UNSUPPORTED = "Tls12Unsupported"
    TLS13_UNSUPPORTED = "Tls13Unsupported"
    LEGACY_TLS_ENABLED = "LegacyTlsEnabled"
    TLS_BELOW_MINIMUM = "TlsBelowMinimum"
    KEY_BELOW_MINIMUM = "KeyBelowMinimum"
    RESUMPTION_FAILED = "ResumptionFailed"
    STARTTLS_COMMAND_INJECTION = "StarttlsCommandInjection"
    AUTH_FAILED = "AuthFailed"
    TLS_REQUIRED_FOR_AUTH = "TlsRequiredForAuth"
    AUTH_UNAVAILABLE = "AuthUnavailable"
    AUTH_INCOMPLETE = "AuthIncomplete"
    AUTH_NOT_TRIED = "AuthNotTried"
    PODS_INCONSISTENT = "PodsInconsistent"
    # the operator itself
    INTERNAL_ERROR = "InternalError"
    # what a mail domain publishes: where its mail goes
    NO_MAIL_HOST = "NoMailHost"
    NULL_MX_NOT_ALONE = "NullMxNotAlone"
    MX_IS_ADDRESS = "MxIsAddress"
    MX_IS_ALIAS = "MxIsAlias"
    MX_WITHOUT_ADDRESS = "MxWithoutAddress"
    MX_DUPLICATE = "MxDuplicate"
    MX_IMPLICIT = "MxImplicit"
    # DANE
    TLSA_MISMATCH = "TlsaMismatch"
    TLSA_ORPHAN_PARAMETER_SET = "TlsaOrphanParameterSet"
    TLSA_BOGUS = "TlsaBogus"
    NAMESERVERS_DISAGREE = "NameserversDisagree"
    TLSA_INSECURE = "TlsaInsecure"
    TLSA_UNUSABLE = "TlsaUnusable"
    TLSA_PINS_ISSUER = "TlsaPinsIssuer"
    TLSA_NO_NEXT = "TlsaNoNext"
    TLSA_TTL_TOO_LONG = "TlsaTtlTooLong"
    DNSSEC_UNKNOWN = "DnssecUnknown"
    # MTA-STS and TLSRPT
    STS_RECORD_MISSING = "StsRecordMissing"
    STS_RECORD_MULTIPLE = "StsRecordMultiple"
    STS_RECORD_INVALID = "StsRecordInvalid"
    STS_FETCH_FAILED = "StsFetchFailed"
    STS_REDIRECT = "StsRedirect"
    STS_CONTENT_TYPE = "StsContentType"
    STS_WEB_PKI_INVALID = "StsWebPkiInvalid"
    STS_POLICY_INVALID = "StsPolicyInvalid"
    STS_MX_NOT_LISTED = "StsMxNotListed"
    STS_WOULD_FAIL = "StsWouldFail"
    STS_MAX_AGE_SHORT = "StsMaxAgeShort"
    TLS_REPORT_MISSING = "TlsReportMissing"
    TLS_REPORT_MULTIPLE = "TlsReportMultiple"
    TLS_REPORT_INVALID = "TlsReportInvalid"
    # who may send in the domain's name
    SPF_MISSING = "SpfMissing"
    SPF_MULTIPLE = "SpfMultiple"
    SPF_INVALID = "SpfInvalid"
    SPF_ALLOWS_ALL = "SpfAllowsAll"
    SPF_TOO_MANY_LOOKUPS = "SpfTooManyLookups"
    SPF_VOID_LOOKUPS = "SpfVoidLookups"
    DMARC_MISSING = "DmarcMissing"
    DMARC_MULTIPLE = "DmarcMultiple"
    DMARC_INVALID = "DmarcInvalid"
    DKIM_MISSING = "DkimMissing"
    DKIM_INVALID = "DkimInvalid"
    DKIM_REVOKED = "DkimRevoked"
    DKIM_TESTING = "DkimTesting"
    DKIM_KEY_WEAK = "DkimKeyWeak"
    REVERSE_DNS_MISSING = "ReverseDnsMissing"


FOUND_BY_DEEP_PROBES: Final = frozenset({Reason.STARTTLS_COMMAND_INJECTION})


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a reason means to a postmaster, and what to try; all texts are whole sentences, empty where none fits.

    `symptom` is what users and other postmasters see of it; `mailbox_symptom` the same at a port for users' programs
    (IMAP, POP3, submission), where that differs. `rfc` names the sections that rule it; `tlsrpt` the result type under
    which senders report it (RFC 8460 section 4.3). `fix` is for every server: `mailtls.reasons.advice` says how in
    some of them.
    """

    meaning: str
    fix: str
    symptom: str = ""
    mailbox_symptom: str = ""
    rfc: str = ""
    tlsrpt: str = ""

    @property
    def symptoms(self) -> str:
        """All that anybody sees."""
        return f"{self.symptom} {self.mailbox_symptom}".strip()


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault that a check named.

    `message` is one sentence for a person, with the fix where one is known; it never holds key material. `evidence` is
    what was seen, quoted safely; `subject` what it is about where that is no endpoint, such as a domain. `tlsrpt` is
    the result type of RFC 8460, where the reason alone does not say it.
    """

    reason: Reason
    message: str
    severity: Severity = Severity.FAIL
    evidence: str = ""
    subject: str = ""
    tlsrpt: str = ""
