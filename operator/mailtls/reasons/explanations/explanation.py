"""What every reason means to a postmaster and what to try: the words behind conditions, events and docs/reasons.md."""

from collections.abc import Mapping

from mailtls.reasons.explanations.depth import DEPTH
from mailtls.reasons.explanations.domain import DOMAIN, DOMAIN_SECTIONS
from mailtls.reasons.explanations.issuing import CA, VALIDATION
from mailtls.reasons.explanations.probe import CONNECTING, STARTING_TLS
from mailtls.reasons.explanations.served import SERVED
from mailtls.reasons.reason import Explanation, Reason

_GOOD: Mapping[Reason, Explanation] = {
    Reason.READY: Explanation(
        "A valid certificate is stored, and every probed port of every pod serves exactly that certificate.",
        "No action is needed.",
    ),
    Reason.ISSUED: Explanation(
        "The CA has issued a certificate for the wanted names, and its renewal is not due.",
        "No action is needed.",
    ),
    Reason.STORED: Explanation(
        "The Secret holds the issued certificate, its chain and the matching private key.",
        "No action is needed.",
    ),
    Reason.ROLLED_OUT: Explanation(
        "Every pod of every listed workload has been given the stored certificate.",
        "No action is needed.",
    ),
    Reason.VERIFIED: Explanation(
        "The port was probed as a mail client would use it, and it serves the stored certificate with a chain, name, "
        "dates and TLS version that clients accept.",
        "No action is needed.",
    ),
    Reason.NO_WORKLOADS: Explanation(
        "The resource lists no workloads, so that nothing is rolled out and nothing is probed.",
        "List the StatefulSet, Deployment or DaemonSet of your mail server under spec.workloads to have it reloaded "
        "and probed.",
    ),
    Reason.DOMAINS_HEALTHY: Explanation(
        "Nothing that the mail domains of spec.domains publish keeps mail from arriving safely; warnings stand in "
        "status.domains.",
        "No action is needed, but the warnings are worth reading.",
    ),
    Reason.NO_DOMAINS: Explanation(
        "The resource names no mail domains, so that nothing is looked up of what they publish.",
        "List the domains whose mail the server takes under spec.domains to have their MX, TLSA, MTA-STS, TLSRPT, SPF, "
        "DMARC and DKIM records watched.",
    ),
    Reason.SUSPENDED: Explanation(
        "spec.suspend is true: the operator neither issues nor rolls out nor probes for this resource.",
        "Set spec.suspend to false to go on; a certificate that expires meanwhile is not renewed.",
    ),
}
_ON_THE_WAY: Mapping[Reason, Explanation] = {
    Reason.PENDING: Explanation(
        "An earlier chapter is not finished yet, so that there is nothing to say about this one.",
        "Wait, and read the condition before this one if it takes longer than a minute or two.",
    ),
    Reason.ISSUING: Explanation(
        "A certificate is being ordered; status.order and the condition Issued show how far it is.",
        "Wait; with DNS-01 the CA and the operator have to see the new record first.",
    ),
    Reason.ROLLING_OUT: Explanation(
        "The new certificate is being brought into the pods, one pod after the other.",
        "Wait; each pod must read the new file and serve it before the next one is touched.",
    ),
    Reason.PROBING: Explanation(
        "The pods' ports are being probed for the first time since the certificate or the pods changed.",
        "Wait a few seconds.",
    ),
}
_RESOURCE: Mapping[Reason, Explanation] = {
    Reason.INVALID_SPEC: Explanation(
        "The resource asks for something that cannot be done; the message names the field.",
        "Correct the field that the message names and apply the resource again.",
    ),
    Reason.SECRET_CLAIMED: Explanation(
        "An older MailServerTLS in this namespace already keeps the Secret that this one names; two of them would "
        "replace each other's certificate for ever. The names <secretName>-next and <secretName>-previous belong to "
        "it, too.",
        "Give this resource another secretName, or delete one of the two resources.",
    ),
}
_DUE: Mapping[Reason, Explanation] = {
    Reason.SECRET_MISSING: Explanation(
        "The Secret does not exist yet, or somebody deleted it, so that a certificate is ordered.",
        "No action is needed; if a tool that prunes what it does not know deleted it, exclude the Secret there.",
    ),
    Reason.SECRET_UNREADABLE: Explanation(
        "The Secret holds no certificate or private key that can be read, so that a new one is ordered.",
        "Find out who else writes to this Secret, with `kubectl get secret NAME -o yaml --show-managed-fields`.",
    ),
    Reason.KEY_MISMATCH: Explanation(
        "The private key in the Secret is not the certificate's, and no server could start with the pair, so that a "
        "new certificate is ordered.",
        "Find out who else writes to this Secret, with `kubectl get secret NAME -o yaml --show-managed-fields`.",
    ),
    Reason.KEY_POLICY_CHANGED: Explanation(
        "The stored key is of another algorithm or size than spec.privateKey asks for, so that a new certificate is "
        "ordered.",
        "No action is needed.",
    ),
    Reason.NAMES_CHANGED: Explanation(
        "The stored certificate is for other names than spec.dnsNames lists, so that a new one is ordered.",
        "No action is needed.",
    ),
    Reason.ISSUER_CHANGED: Explanation(
        "The stored certificate came from another CA or another profile than is wanted now, so that a new one "
        "is ordered.",
        "No action is needed.",
    ),
    Reason.RENEWAL_DUE: Explanation(
        "The time to renew has come: the one that the CA suggests (ARI), or the one of spec.renewal.",
        "No action is needed; the old certificate stays in service until the new one is stored.",
    ),
    Reason.RENEWAL_REQUESTED: Explanation(
        "Somebody set the annotation mailtls.dev/renew to a new value, so that a new certificate is ordered now.",
        "No action is needed; each value of the annotation is handled once.",
    ),
}
_SECRET: Mapping[Reason, Explanation] = {
    Reason.CERTIFICATE_KEY_MISMATCH: Explanation(
        "The CA returned a certificate for another key than the one asked for; it was not stored.",
        "No action is needed at first: a new order follows; if it happens again, report it to the CA.",
    ),
    Reason.CERTIFICATE_NAMES_MISMATCH: Explanation(
        "The CA returned a certificate that lacks a wanted name; it was not stored.",
        "Check whether the CA or the profile limits the names; a new order follows.",
    ),
    Reason.CERTIFICATE_NAMES_ADDED: Explanation(
        "The CA put more names into the certificate than were requested. It was stored: it is for this key, and "
        "for every wanted name.",
        "No action is needed. Some CAs add the bare domain or www; ask them for a profile or template that does not.",
    ),
    Reason.CERTIFICATE_CHAIN_BROKEN: Explanation(
        "The CA returned a chain that is incomplete or out of order; it was not stored, because clients would "
        "refuse it.",
        "Report it to the CA; with a private one, correct the chain that it is set up to send.",
    ),
    Reason.CERTIFICATE_DATES_WRONG: Explanation(
        "The CA returned a certificate that is not valid now; it was not stored.",
        "Check the clocks of the cluster's nodes and of the CA.",
    ),
    Reason.CERTIFICATE_DUE_AT_ONCE: Explanation(
        "A certificate was due for renewal as soon as it was issued: the CA suggests a time in the past, or a "
        "clock is far ahead. Nothing younger than an hour or than a tenth of its lifetime is renewed (half of what is "
        "left, if that is less), and each further time the wait is longer.",
        "Check the clocks of the cluster's nodes, and what the CA says about the certificate; to renew it "
        "anyway, set the annotation mailtls.dev/renew to a new value.",
    ),
    Reason.CERTIFICATE_WORSE: Explanation(
        "The stored certificate serves the same names for longer than the new one; it was kept.",
        "No action is needed; to have the new one all the same, delete the Secret and set the annotation "
        "mailtls.dev/renew.",
    ),
    Reason.ROLLED_BACK: Explanation(
        "Somebody set the annotation mailtls.dev/rollback to a new value, so that the certificate before serves again. "
        "It is not renewed for 24 hours, or for half of what it has left to live if that is less.",
        "No action is needed; a new value of the annotation takes the rollback back, and mailtls.dev/renew orders a "
        "new certificate at once.",
    ),
    Reason.ROLLBACK_REFUSED: Explanation(
        "Somebody set the annotation mailtls.dev/rollback, but the pair in the Secret <secretName>-previous cannot "
        "serve: the message says why. What serves was left as it is.",
        "Set mailtls.dev/renew to have a new certificate instead; this value of the annotation is not handled again.",
    ),
    Reason.SECRET_NOT_OWNED: Explanation(
        "A Secret of that name exists that mailtls did not make, so it is not written, labelled or deleted. The "
        "message says who keeps it: Helm, Argo CD, cert-manager, External Secrets, another tool or a person. The names "
        "<secretName>-next and <secretName>-previous are needed, too.",
        "Choose another secretName; or let mailtls take the Secret over, after the other tool has stopped writing it: "
        "kubectl annotate secret NAME mailtls.dev/adopt=true. A Secret that is immutable, or of another type than "
        "kubernetes.io/tls, must be deleted first.",
    ),
    Reason.SECRET_REPLACED: Explanation(
        "Somebody wrote another certificate or key into the Secret than mailtls had stored. The message names the "
        "field manager that did. What was stored is put back before any pod is reloaded; where no copy of it is left, "
        "a new certificate is ordered.",
        "To go back to the previous certificate, set the annotation mailtls.dev/rollback on the resource. To put one "
        "of your own in, set the annotation mailtls.dev/adopt of the Secret to the SHA-256 fingerprint of its leaf, "
        "with the same edit. If a tool writes the Secret again and again, stop it.",
    ),
    Reason.SECRET_ADOPTED: Explanation(
        "A Secret that was somebody else's was taken over, because its annotation mailtls.dev/adopt requests it. Its "
        "certificate stays in service, whoever issued it, and is renewed when it is due.",
        "No action is needed; remove what used to write the Secret, so that two tools do not write it in turn.",
    ),
}
_ROLLING_OUT: Mapping[Reason, Explanation] = {
    Reason.WORKLOAD_NOT_FOUND: Explanation(
        "A listed workload does not exist in this namespace.",
        "Correct kind and name under spec.workloads, or create the workload; the resource must be in its namespace.",
    ),
    Reason.SECRET_NOT_MOUNTED: Explanation(
        "The workload's pods do not mount the Secret, so that a new certificate cannot reach them.",
        "Add a volume of the Secret to the pod template and mount it as a folder, and let Postfix' "
        "smtpd_tls_chain_files name the files in it.",
    ),
    Reason.SUB_PATH_MOUNT: Explanation(
        "The Secret is mounted with subPath, and Kubernetes never updates such a file in a running pod.",
        "Mount the Secret as a folder without subPath, or set updateStrategy: Restart for this workload so that its "
        "pods are restarted.",
    ),
    Reason.NO_PODS: Explanation(
        "The workload has no pods at present, so that nothing can be reloaded or probed.",
        "Scale the workload up, or find out with `kubectl describe` why its pods are not created.",
    ),
    Reason.POD_NOT_READY: Explanation(
        "A pod of the workload is not ready, so that the rollout waits rather than takes a second one away.",
        "Look at the pod with `kubectl describe pod` and `kubectl logs`; for Postfix `postfix check` in it often names "
        "the cause.",
    ),
    Reason.FILE_NOT_UPDATED: Explanation(
        "The new certificate did not appear in the pod's volume in time.",
        "Check that the pod's node and kubelet are healthy, and that the container mounts this Secret as a folder.",
    ),
    Reason.RELOAD_FAILED: Explanation(
        "The reload command in the pod failed; the message holds its exit code and output.",
        "Run it by hand with `kubectl exec`; for Postfix `postfix reload` needs the master process running and the "
        "rights of root. Set workloads[].reload.command if your image needs another one.",
    ),
    Reason.EXEC_UNAVAILABLE: Explanation(
        "The API server answers, but no command can be run in the pod: the way from it to the pod's kubelet is broken.",
        "Run `kubectl exec` with the pod by hand: it fails the same way while the node is down, a firewall stands "
        "before the kubelet's port 10250, or the konnectivity agents are gone. It is tried again with growing pauses "
        "until spec.rollout.timeout has passed.",
    ),
    Reason.CONTAINER_NOT_FOUND: Explanation(
        "The pod has no container of the name in reload.container.",
        "Correct workloads[].reload.container, or remove it: the first container that mounts the Secret is taken then.",
    ),
    Reason.ROLLOUT_TIMEOUT: Explanation(
        "The pods did not finish reloading or restarting within spec.rollout.timeout.",
        "Look at the workload with `kubectl rollout status` and at its newest pod with `kubectl describe pod`; raise "
        "rollout.timeout if your mail server needs longer to stop.",
    ),
    Reason.WORKLOAD_SHARED: Explanation(
        "Another MailServerTLS of the namespace names the same workload. Each rolls its own certificate out, with "
        "annotations of its own, so the pods are reloaded or restarted for both.",
        "List all names in one resource where one certificate is enough. Where the server has a certificate for each "
        "name, or the pods hold several servers, no action is needed.",
    ),
    Reason.CANARY_FAILED: Explanation(
        "The first pod did not serve the new certificate after its reload, so that the other pods were left alone.",
        "Read status.endpoints for that pod; the others still serve the old certificate.",
    ),
    Reason.FORBIDDEN: Explanation(
        "The Kubernetes API refused the operator something that it needs, by RBAC or an admission policy.",
        "Compare the roles with the chart's (`helm upgrade` restores them), and check that the namespace is among "
        "watchNamespaces if that is set.",
    ),
    Reason.FEATURE_DISABLED: Explanation(
        "The resource needs something that is switched off in this installation, and that the operator's rights do "
        "not allow. What does not need it goes on: the certificate is still renewed.",
        "Have the Helm value that the message names set to true, or remove from the resource what needs it.",
    ),
    Reason.QUOTA_EXCEEDED: Explanation(
        "A ResourceQuota of the namespace is used up, so that the operator cannot create what it needs.",
        "Raise the quota that the message names, or delete objects that use it up: a resource has up to three Secrets.",
    ),
    Reason.ADMISSION_DENIED: Explanation(
        "An admission webhook or policy of the cluster refuses what the operator writes, or does not answer.",
        "Exempt the operator's ServiceAccount or the objects that the message names from the policy; where a webhook "
        "does not answer, repair it or delete its configuration.",
    ),
    Reason.NAMESPACE_TERMINATING: Explanation(
        "The namespace is being deleted, so that nothing new can be created in it.",
        "No action is needed: the resource goes with its namespace. Where the namespace never goes, see its status for "
        "what holds it.",
    ),
}
_OPERATOR: Mapping[Reason, Explanation] = {
    Reason.INTERNAL_ERROR: Explanation(
        "The operator met an error that it did not expect; it tries again with growing delays.",
        "Search the operator's log for this resource, and report what you find with the version that you run.",
    ),
}
EXPLANATIONS: Mapping[Reason, Explanation] = {
    **_GOOD,
    **_ON_THE_WAY,
    **_RESOURCE,
    **_DUE,
    **CA,
    **VALIDATION,
    **_SECRET,
    **_ROLLING_OUT,
    **CONNECTING,
    **STARTING_TLS,
    **SERVED,
    **DEPTH,
    **_OPERATOR,
    **DOMAIN,
}
SECTIONS: Mapping[str, tuple[Reason, ...]] = {
    "All is well": tuple(_GOOD),
    "On the way": tuple(_ON_THE_WAY),
    "The resource": tuple(_RESOURCE),
    "Why a certificate is ordered": tuple(_DUE),
    "The CA": tuple(CA),
    "Validating names by DNS or HTTP": tuple(VALIDATION),
    "Guarding the Secret": tuple(_SECRET),
    "Rolling the certificate out": tuple(_ROLLING_OUT),
    "Connecting to a mail port": tuple(CONNECTING),
    "Starting TLS": tuple(STARTING_TLS),
    "What is served": tuple(SERVED),
    "What other clients would meet (full and deep probes)": tuple(DEPTH),
    "The operator itself": tuple(_OPERATOR),
    **DOMAIN_SECTIONS,
}
