"""What the reasons about a resource as a whole mean: its states, its Secret, and the operator itself."""

from collections.abc import Mapping

from mailtls.reasons.reason import Explanation, Reason

GOOD: Mapping[Reason, Explanation] = {
    Reason.READY: Explanation(
        "A valid certificate is stored, and every probed port of every pod serves exactly that certificate.",
        "No action is needed.",
    ),
    Reason.ISSUED: Explanation(
        "The CA has issued a certificate for the names of spec.dnsNames, and its renewal is not due.",
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
        "The resource lists no workloads, so nothing is rolled out and nothing is probed.",
        "List the StatefulSet, Deployment or DaemonSet of your mail server under spec.workloads to have it reloaded "
        "and probed.",
    ),
    Reason.DOMAINS_HEALTHY: Explanation(
        "The mail domains of spec.domains publish nothing that keeps mail from arriving safely; status.domains lists "
        "the warnings.",
        "No action is needed, but the warnings are worth reading.",
    ),
    Reason.SUSPENDED: Explanation(
        "spec.suspend is true: the operator neither issues nor rolls out nor probes for this resource.",
        "Set spec.suspend to false to go on; a certificate that expires meanwhile is not renewed.",
    ),
}

IN_PROGRESS: Mapping[Reason, Explanation] = {
    Reason.PENDING: Explanation(
        "An earlier stage is not finished yet, so nothing is known about this one.",
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
    Reason.ROLLOUT_QUEUED: Explanation(
        "A new certificate is stored, and as many other resources roll theirs out as rollout.maxConcurrent of the "
        "installation allows; what the pods serve meanwhile is good, or goes first.",
        "No action is needed: namespaces take turns, and what expires soon goes first. Raise rollout.maxConcurrent in "
        "the Helm values where it takes too long, or find out which resources are RollingOut and why they do not end.",
    ),
    Reason.WAITING_FOR_WINDOW: Explanation(
        "A new certificate is stored, and none of spec.rollout.windows is open; what the pods serve meanwhile is good.",
        "Wait until the window opens; it is not waited for any more once the served certificate expires within "
        "spec.rollout.urgentBefore. To go on at once, take the windows out of the spec.",
    ),
    Reason.WAITING_FOR_APPROVAL: Explanation(
        "The first pod serves the new certificate as clients want it, and spec.rollout.approval is Required.",
        "Look at the first pod, then approve this certificate: kubectl mailtls rollout approve NAME. An approval "
        "counts for no later one.",
    ),
    Reason.ROLLOUT_PAUSED: Explanation(
        "A person has paused the rollout by the annotation mailtls.dev/pause-rollout; no further pod is reloaded or "
        "replaced, even if the certificate that is served expires.",
        "Resume it when you are ready: kubectl mailtls rollout resume NAME.",
    ),
    Reason.PROBING: Explanation(
        "The pods' ports are being probed for the first time since the certificate or the pods changed.",
        "Wait a few seconds.",
    ),
}

RESOURCE: Mapping[Reason, Explanation] = {
    Reason.INVALID_SPEC: Explanation(
        "A field of the resource cannot be used as it is; the message names the field.",
        "Correct the field that the message names and apply the resource again.",
    ),
    Reason.SECRET_CLAIMED: Explanation(
        "An older MailServerTLS in this namespace already keeps the Secret that this one names; two of them would "
        "replace each other's certificate for ever. The names <secretName>-next and <secretName>-previous belong to "
        "it, too.",
        "Give this resource another secretName, or delete one of the two resources.",
    ),
}

SECRET: Mapping[Reason, Explanation] = {
    Reason.CERTIFICATE_KEY_MISMATCH: Explanation(
        "The CA returned a certificate for another key than the requested one; it was not stored.",
        "No action is needed at first: a new order follows; if it happens again, report it to the CA.",
    ),
    Reason.CERTIFICATE_NAMES_MISMATCH: Explanation(
        "The CA returned a certificate that lacks a name of the order; it was not stored.",
        "Check whether the CA or the profile limits the names; a new order follows.",
    ),
    Reason.CERTIFICATE_NAMES_ADDED: Explanation(
        "The CA put more names into the certificate than were requested. It was stored: it is for this key, and for "
        "every name of the order.",
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
        "The previous certificate is served again. In the condition RolledOut: a pod has loaded a new certificate and "
        "has failed with it, as the message says, so it was rolled back in the Secret and in the pods. In the history "
        "alone: somebody set the annotation mailtls.dev/rollback. No other one is ordered for 24 hours, longer each "
        "time in a row, but at most for half of what the certificate has left to live.",
        "Clients are served, and the certificate before is valid until its end: find out in that time why the new one "
        "failed. `kubectl mailtls rollback NAME` swaps the two once more, so that the refused one is tried "
        "again; `kubectl mailtls renew NAME` orders another one at once.",
    ),
    Reason.ROLLBACK_REFUSED: Explanation(
        "Somebody set the annotation mailtls.dev/rollback, but the certificate and key in the Secret "
        "<secretName>-previous cannot serve: the message says why. What serves was left as it is.",
        "Set mailtls.dev/renew to have a new certificate instead; this value of the annotation is not handled again.",
    ),
    Reason.SECRET_NOT_OWNED: Explanation(
        "A Secret of that name exists that mailtls did not make, so it is not written, labelled or deleted. The "
        "message says who keeps it: Helm, Argo CD, cert-manager, External Secrets, another tool or a person. The names "
        "<secretName>-next and <secretName>-previous are needed, too.",
        "Choose another secretName; or let mailtls take the Secret over, after the other tool has stopped writing it: "
        "kubectl annotate secret NAME mailtls.dev/adopt=true. A Secret of another type than kubernetes.io/tls "
        "must be deleted first.",
    ),
    Reason.SECRET_REPLACED: Explanation(
        "Somebody wrote another certificate or key into the Secret than mailtls had stored. The message names the "
        "field manager that did. What was stored is put back before any pod is reloaded; where no copy of it is left, "
        "a new certificate is ordered.",
        "To go back to the previous certificate, set the annotation mailtls.dev/rollback on the resource. To put one "
        "of your own in, set the annotation mailtls.dev/adopt of the Secret to the SHA-256 fingerprint of its leaf, "
        "with the same edit. If a tool writes the Secret again and again, stop it.",
    ),
    Reason.CANDIDATE_REFUSED: Explanation(
        "The Secret is written by somebody else (spec.external), and what is in it now would harm: the message says "
        "what is wrong with it. It stays in the Secret, no pod is reloaded or restarted for it, and the pods are still "
        "probed for the certificate that passed before.",
        "Have whoever writes the Secret correct it; the next version is checked as soon as it is written.",
    ),
    Reason.RENEWAL_MISSING: Explanation(
        "The Secret is written by somebody else (spec.external), who has not renewed the certificate with a quarter of "
        "its lifetime left, or at the time of spec.renewal.before.",
        "Look at the tool that the message names: at cert-manager with kubectl describe certificate, at External "
        "Secrets with kubectl describe externalsecret, at certbot with certbot renew --dry-run.",
    ),
    Reason.SECRET_ADOPTED: Explanation(
        "A Secret that was somebody else's was taken over, because its annotation mailtls.dev/adopt requests it. Its "
        "certificate stays in service, whoever issued it, and is renewed when it is due.",
        "No action is needed; remove what used to write the Secret, so two tools do not write it in turn.",
    ),
}

OPERATOR: Mapping[Reason, Explanation] = {
    Reason.INTERNAL_ERROR: Explanation(
        "The operator met an error that it did not expect; it tries again with growing delays.",
        "Search the operator's log for this resource, and report what you find with the version that you run.",
    ),
}
