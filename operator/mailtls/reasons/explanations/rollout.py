"""What the reasons about bringing a certificate into the pods mean."""

from collections.abc import Mapping

from mailtls.reasons.reason import Explanation, Reason

ROLLING_OUT: Mapping[Reason, Explanation] = {
    Reason.WORKLOAD_NOT_FOUND: Explanation(
        "A listed workload does not exist in this namespace.",
        "Correct kind and name under spec.workloads, or create the workload; the resource must be in its namespace.",
    ),
    Reason.SECRET_NOT_MOUNTED: Explanation(
        "The workload's pods do not mount the Secret, so a new certificate cannot reach them.",
        "Add a volume of the Secret to the pod template and mount it as a folder, and let Postfix' "
        "smtpd_tls_chain_files name the files in it.",
    ),
    Reason.SUB_PATH_MOUNT: Explanation(
        "The Secret is mounted with subPath, and Kubernetes never updates such a file in a running pod.",
        "Mount the Secret as a folder without subPath, or set updateStrategy: Restart for this workload so that its "
        "pods are restarted.",
    ),
    Reason.SECRET_COPIED_AT_START: Explanation(
        "An init container copies the Secret for the server when a pod starts. A running pod keeps that copy for ever, "
        "so a reload loads the old certificate again.",
        "Set updateStrategy: Restart for this workload, so that its init container runs again; or mount the Secret in "
        "the server's own container and let its settings name the mounted files.",
    ),
    Reason.SECRET_IN_ENVIRONMENT: Explanation(
        "The server gets the Secret as environment variables. Kubernetes sets them when a container starts and never "
        "changes them.",
        "Set updateStrategy: Restart for this workload, or mount the Secret as a volume.",
    ),
    Reason.SECRET_IMMUTABLE: Explanation(
        "The Secret has immutable: true. Nobody can write a new certificate into it. Where somebody deletes and "
        "creates it, a kubelet keeps the old content, for fresh pods too, as long as any pod of its node mounts it.",
        "Have it written without immutable: true, or choose another secretName. A Secret of the same name that is made "
        "anew reaches the pods once all of them on a node are gone: scale the workload to zero and back.",
    ),
    Reason.KEY_UNREADABLE: Explanation(
        "The server has no TLS, and the pod's spec shows why: the user that its container runs as cannot read tls.key. "
        "The Secret itself is in order.",
        "Set securityContext.fsGroup of the pod: the kubelet then lets that group read the files of the volume. With a "
        "user of root's group, defaultMode: 0440 of the volume is enough.",
        symptom="Senders report «454 TLS not available», or no STARTTLS at all.",
    ),
    Reason.TEMPLATE_REVERTED: Explanation(
        "The operator asked for new pods by an annotation of the pod template, and another tool put the template back. "
        "The operator asks once for each certificate, so that no loop of restarts begins.",
        "Let the tool leave spec.template.metadata.annotations alone (Argo CD: ignoreDifferences with "
        "RespectIgnoreDifferences; an operator of your mail server: its own field for annotations), then run `kubectl "
        "rollout restart` once. A reload needs no annotation in the template.",
    ),
    Reason.NO_PODS: Explanation(
        "The workload has no pods at present, so nothing can be reloaded or probed.",
        "Scale the workload up, or find out with `kubectl describe` why its pods are not created.",
    ),
    Reason.TOO_MANY_ENDPOINTS: Explanation(
        "The resource has more endpoints than mailtls probes for one resource. An endpoint is one port at one address "
        "of one pod. With more than 1,000 no pod of the resource is probed or reloaded. Its certificate is issued, "
        "renewed and stored as before. Endpoints of Services are counted separately: the first 200 are probed, and the "
        "others are only warned of.",
        "List fewer ports in spec.workloads, or divide the workloads among several resources. A single workload with "
        "too many pods has to become several, each with a resource of its own. For Services: take Service out of "
        "spec.probe.from, or let fewer Services lead to the pods.",
        symptom="None at once; servers that need a reload go on with the old certificate until it expires.",
    ),
    Reason.POD_NOT_READY: Explanation(
        "A pod of the workload is not ready, so the rollout waits and does not take a second one away.",
        "Look at the pod with `kubectl describe pod` and `kubectl logs`; for Postfix `postfix check` in it often names "
        "the cause.",
    ),
    Reason.FILE_NOT_UPDATED: Explanation(
        "The new certificate did not appear in the pod's volume in time.",
        "Check that the pod's node and kubelet are healthy, and that the container mounts this Secret as a folder.",
    ),
    Reason.RELOAD_FAILED: Explanation(
        "The reload command in the pod failed, or the signal was not sent; the message holds the exit code and output, "
        "or what is missing.",
        "Run it by hand with `kubectl exec`; for Postfix `postfix reload` needs the master process running and the "
        "rights of root. Set the command of the workload, or of the daemon, if your image needs another one.",
    ),
    Reason.EXEC_UNAVAILABLE: Explanation(
        "The API server answers, but no command can be run in the pod: the connection from it to the pod's kubelet is "
        "broken.",
        "Run `kubectl exec` with the pod by hand: it fails the same way while the node is down, a firewall stands "
        "before the kubelet's port 10250, or the konnectivity agents are gone. It is tried again with growing pauses "
        "until spec.rollout.timeout has passed.",
    ),
    Reason.EVICTION_BLOCKED: Explanation(
        "A PodDisruptionBudget does not allow the eviction of a pod now; the message says which one and why.",
        "No action is needed where other pods are about to become ready: it is tried again with growing pauses until "
        "spec.rollout.timeout has passed. Where the budget allows no disruption at all (maxUnavailable: 0, or a "
        "minAvailable of all pods), change it with `kubectl edit pdb`, or delete the pod yourself.",
    ),
    Reason.CONTAINER_NOT_FOUND: Explanation(
        "The pod has no container of the name that spec.workloads gives for a reload.",
        "Correct the container under reload or daemons. Where reload names none, the first container that mounts the "
        "Secret is taken.",
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
        "name, no action is needed. Several servers in a pod that share a certificate are daemons of one workload.",
    ),
    Reason.CANARY_FAILED: Explanation(
        "A pod that was reloaded does not serve the new certificate, or clients refuse it there, so the other pods "
        "were not touched. The message says why the previous certificate was not brought back by itself.",
        "Read status.endpoints for that pod; the other pods are as they were. Where the pods have served this "
        "certificate before, undo what was changed in the server. Otherwise `kubectl mailtls rollback NAME` brings the "
        "previous one back.",
    ),
    Reason.FORBIDDEN: Explanation(
        "The Kubernetes API refused the operator something that it needs, by RBAC or an admission policy.",
        "Find the missing right by `helm test`, compare the roles with the chart's (`helm upgrade` restores them), and "
        "check that the namespace is among watchNamespaces if that is set.",
    ),
    Reason.FEATURE_DISABLED: Explanation(
        "The resource needs something that is switched off in this installation, and that the operator's rights do "
        "not allow. What does not need it goes on: the certificate is still renewed, unless issuance itself is off.",
        "Have the Helm value that the message names set to true, or remove from the resource what needs it.",
    ),
    Reason.QUOTA_EXCEEDED: Explanation(
        "A ResourceQuota of the namespace is used up, so the operator cannot create what it needs.",
        "Raise the quota that the message names, or delete objects that use it up: a resource has up to three Secrets.",
    ),
    Reason.ADMISSION_DENIED: Explanation(
        "An admission webhook or policy of the cluster refuses what the operator writes.",
        "Exempt the operator's ServiceAccount or the objects that the message names from the policy.",
    ),
    Reason.ADMISSION_WEBHOOK_FAILED: Explanation(
        "An admission webhook of the cluster does not answer, so the API server refuses what the operator writes.",
        "The operator tries again by itself. Where it goes on for minutes, repair the webhook that the message names, "
        "or delete its configuration.",
    ),
    Reason.NAMESPACE_TERMINATING: Explanation(
        "The namespace is being deleted, so nothing new can be created in it.",
        "No action is needed: the resource goes with its namespace. Where the namespace never goes, see its status for "
        "what holds it.",
    ),
}
