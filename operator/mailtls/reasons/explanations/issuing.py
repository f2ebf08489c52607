"""What the reasons about ordering mean: why a certificate is due, the CA, and the validation of names."""

from collections.abc import Mapping

from mailtls.reasons.reason import Explanation, Reason

DUE: Mapping[Reason, Explanation] = {
    Reason.SECRET_MISSING: Explanation(
        "The Secret does not exist yet, or somebody deleted it, so a certificate is ordered. With spec.external it is "
        "waited for.",
        "With spec.external have it written by whoever keeps it. Else no action is needed; if a tool that prunes what "
        "it does not know deleted it, exclude the Secret there.",
    ),
    Reason.SELF_SIGNED_PLACEHOLDER: Explanation(
        "With spec.bootstrap: SelfSigned the Secret was made with a self-signed certificate, so that servers can "
        "start before the first real one. No client trusts it, and it is neither rolled out nor probed.",
        "No action is needed; the first certificate replaces it and is rolled out. If that takes long, read the "
        "message of the condition Issued.",
    ),
    Reason.SECRET_UNREADABLE: Explanation(
        "The Secret holds no certificate or private key that can be read, so a new one is ordered. With spec.external "
        "it is waited for.",
        "Find out who else writes to this Secret, with "
        "`kubectl get secret NAME -o jsonpath='{.metadata.managedFields[*].manager}'`.",
    ),
    Reason.KEY_MISMATCH: Explanation(
        "The private key in the Secret is not the certificate's, and no server could start with the two, so a new "
        "certificate is ordered.",
        "Find out who else writes to this Secret, with "
        "`kubectl get secret NAME -o jsonpath='{.metadata.managedFields[*].manager}'`.",
    ),
    Reason.KEY_POLICY_CHANGED: Explanation(
        "The stored key is of another algorithm or size than spec.privateKey says, so a new certificate is ordered.",
        "No action is needed.",
    ),
    Reason.NAMES_CHANGED: Explanation(
        "The stored certificate is for other names than spec.dnsNames lists, so a new one is ordered.",
        "No action is needed.",
    ),
    Reason.ISSUER_CHANGED: Explanation(
        "The stored certificate came from another CA or another profile than spec.acme names now, so a new one is "
        "ordered.",
        "No action is needed.",
    ),
    Reason.RENEWAL_DUE: Explanation(
        "The time to renew has come: the one that the CA suggests (ARI), or the one of spec.renewal.",
        "No action is needed; the old certificate stays in service until the new one is stored.",
    ),
    Reason.RENEWAL_REQUESTED: Explanation(
        "Somebody set the annotation mailtls.dev/renew to a new value, so a new certificate is ordered now.",
        "No action is needed; each value of the annotation is handled once.",
    ),
}

CA: Mapping[Reason, Explanation] = {
    Reason.ACME_UNREACHABLE: Explanation(
        "The ACME server did not answer, or answered that it is out of service.",
        "Check that the operator's pod may reach the server's https address (NetworkPolicy, firewall, proxy, DNS); the "
        "operator tries again by itself.",
    ),
    Reason.ACME_TLS_UNTRUSTED: Explanation(
        "The ACME server's own https certificate is not signed by a root that the operator trusts.",
        "For a private CA put its root certificate into acme.caBundle; for a public one look for a proxy that "
        "intercepts TLS.",
    ),
    Reason.ACME_INSECURE: Explanation(
        "The ACME server names a URL without https, in its directory, in an order or in a redirect; nothing is sent "
        "there.",
        "Have the server's operator correct its URLs: often the public address that is set for it behind a proxy.",
        rfc="RFC 8555 section 6.1",
    ),
    Reason.ACCOUNT_REJECTED: Explanation(
        "The CA refused the account: its key is unknown or deactivated, or the mail address is not accepted.",
        "Check acme.email; if the account was deactivated, delete its account Secret or name another "
        "acme.accountKeySecretRef so that a new account is made.",
    ),
    Reason.EXTERNAL_ACCOUNT_REQUIRED: Explanation(
        "The CA only serves accounts that are bound to one of its customers, or it refused the binding given.",
        "Get a key ID and an HMAC key from the CA and set acme.externalAccountBinding.",
    ),
    Reason.TERMS_CHANGED: Explanation(
        "The CA wants its terms of service agreed to again by a person before it issues.",
        "Open the address in the message, agree to the terms, then set the annotation mailtls.dev/renew.",
    ),
    Reason.ORDER_REJECTED: Explanation(
        "The CA does not issue for one of these names, or not for this key or request.",
        "Read the CA's own words in the message; correct or remove the name that it refuses. Some private "
        "CAs refuse requests without a common name: set acme.commonName to true for these.",
    ),
    Reason.ORDER_FAILED: Explanation(
        "The CA accepted the order but did not issue in the end.",
        "Read the CA's own words in the message; the operator places a new order after a growing delay.",
    ),
    Reason.AUTHORIZATION_NOT_ORDERED: Explanation(
        "The ACME server wants a name validated that was not ordered, so the operator gave the order up before it "
        "published anything: an answer could validate somebody else's name for another CA.",
        "Order from a CA that you trust; ask the operator of this one why it adds names.",
    ),
    Reason.RATE_LIMITED: Explanation(
        "The CA has counted too many orders, failures or certificates for these names or this account; or the operator "
        "itself lets an order wait, so the CA does not have to refuse it.",
        "Wait until the time in the message; use the CA's staging server for trials, and do not delete the "
        "Secret or the resource, because that does not reset the limit.",
    ),
    Reason.ACCOUNT_PAUSED: Explanation(
        "The CA has paused this account for these names after many failures.",
        "Open the address in the message to unpause, correct what made the challenges fail, then set the annotation "
        "mailtls.dev/renew.",
    ),
    Reason.PROFILE_UNKNOWN: Explanation(
        "The CA has no certificate profile of the name in acme.profile.",
        "Use one of the profiles that the message lists, or remove acme.profile.",
    ),
    Reason.CAA_FORBIDS: Explanation(
        "A CAA record in DNS names other CAs than this one.",
        'Add a CAA record for the CA (`0 issue "letsencrypt.org"` for Let\'s Encrypt) to the domain, or use a '
        "CA that the record names.",
    ),
    Reason.CAA_LOOKUP_FAILED: Explanation(
        "The CA could not look up the CAA records of a name and therefore must not issue: the name servers fail "
        "for CAA queries (SERVFAIL, no answer, DNSSEC that does not validate), though no record forbids anything.",
        "Repair the name servers of the zone, and of each zone above it: they must answer CAA queries, with no record "
        "where there is none. `dig CAA name` against each of them shows which one fails.",
        rfc="RFC 8659 section 3",
    ),
    Reason.CHALLENGE_FAILED: Explanation(
        "The CA looked for the challenge response of a name and did not find the right one.",
        "For DNS-01 check that the zone's public nameservers are the ones that take the updates; for HTTP-01 check "
        "that port 80 of the name leads to the operator's Service from the internet, over IPv4 and IPv6 alike.",
    ),
    Reason.NO_SOLVER: Explanation(
        "No solver matches one of the names, so it cannot be validated.",
        "Add a solver without a selector, or one whose dnsZones hold the name; a wildcard needs a dns01 solver.",
    ),
    Reason.NAME_NOT_ALLOWED: Explanation(
        "The installation's settings (acme.allowedNames) do not let this namespace order one of the names from the "
        "installation's account, or have it validated by HTTP-01, which the operator answers for all accounts.",
        "Ask whoever installed the operator to add the namespace and the name to acme.allowedNames in the Helm values, "
        "remove the name, or name an ACME server with an account and a dns01 solver of your own.",
    ),
    Reason.CREDENTIALS_MISSING: Explanation(
        "A Secret or ConfigMap that the resource refers to does not exist, or lacks the entry named.",
        "Create the object and entry that the message names, in the namespace that it names.",
    ),
    Reason.CHAIN_UNAVAILABLE: Explanation(
        "The CA offers no chain that ends at the root named in acme.preferredChain; its default was stored.",
        "Use one of the roots that the message lists, or remove acme.preferredChain.",
    ),
}

VALIDATION: Mapping[Reason, Explanation] = {
    Reason.DNS_UPDATE_REFUSED: Explanation(
        "The DNS server refused the dynamic update: the TSIG key, its algorithm or its rights on the zone do not fit.",
        "Compare key name, algorithm and secret with the server's, and allow the key to write TXT records at "
        "_acme-challenge names (BIND: update-policy; Knot DNS: acl; PowerDNS: TSIG-ALLOW-DNSUPDATE, or its script, "
        "which drops changes without an error); the server's log names the cause.",
    ),
    Reason.DNS_UNREACHABLE: Explanation(
        "The DNS server that takes the updates, or a nameserver of the zone, did not answer.",
        "Check the address in the solver, and that the operator's pod may reach port 53 by TCP and UDP.",
    ),
    Reason.DNS_NOT_PROPAGATED: Explanation(
        "The record was written, but not every authoritative nameserver of the zone answers it yet.",
        "Check that the secondaries are notified and transfer the zone; where some of them cannot be reached from the "
        "cluster, turn the solver's selfCheck off.",
    ),
    Reason.NAME_SERVERS_UNREACHABLE: Explanation(
        "None of the zone's authoritative servers can be reached from the cluster: packets to their port 53 are lost, "
        "over UDP and over TCP, as behind a firewall. So the operator waits for some time after it published the "
        "record, and then lets the CA validate it.",
        "Allow the operator port 53 to the internet, name resolvers in the Helm value domains.resolvers, which then "
        "are queried for the record, or set dns01.delay to as long as your name servers need to pass a record on.",
    ),
    Reason.ZONE_NOT_FOUND: Explanation(
        "The zone that the challenge record belongs into could not be found, or the server does not serve it.",
        "Set the solver's zone to the zone that the server serves, and check the SOA record of the name.",
    ),
    Reason.HTTP_SELF_CHECK_FAILED: Explanation(
        "The operator requested its own challenge response at the name's port 80, and got something else or nothing.",
        "Check that the name's address leads to the operator's HTTP-01 Service; where the cluster cannot reach its own "
        "public address, turn the solver's selfCheck off.",
    ),
}
