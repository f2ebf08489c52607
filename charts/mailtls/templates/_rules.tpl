{{/*
The rights of the operator. The comment above each rule says what it is for and what is lost without it: docs/reference/rbac.md
is made from them.
*/}}

{{/* What the operator does in the namespaces that it serves. */}}
{{- define "mailtls.resourceRules" -}}
# read a resource before each reconcile; without it: nothing is done for any resource
- {apiGroups: [mailtls.dev], resources: [mailservertls], verbs: [get]}
# receive new and changed resources; without it: the operator does not begin to work, and says so in its log
- {apiGroups: [mailtls.dev], resources: [mailservertls], verbs: [list, watch]}
# write conditions, history, the time of renewal; without it: each reconcile fails at its end and is tried again; the log says why
- {apiGroups: [mailtls.dev], resources: [mailservertls/status], verbs: [patch]}
# read the stored certificate and key, the staged key, solvers' credentials; without it: nothing is issued or renewed
- {apiGroups: [""], resources: [secrets], verbs: [get]}
{{- if .Values.features.issuance }}
# store staged keys, certificates, and the previous certificate and key; without it: nothing is issued or renewed
- {apiGroups: [""], resources: [secrets], verbs: [create, patch]}
{{- end }}
# find open orders of deleted resources, and certificates of other resources at the same port; without it: these orders stay open
- {apiGroups: [""], resources: [secrets], verbs: [list]}
# receive edits and deletions of stored Secrets, and changes of those that spec.external leaves to others; without it: they are noticed at the next reconcile only
- {apiGroups: [""], resources: [secrets], verbs: [watch]}
# read roots that `acme.caBundle` and `probe.trust` name; without it: these roots do not count
- {apiGroups: [""], resources: [configmaps], verbs: [get]}
# find the pods of a workload; without it: nothing is rolled out or probed
- {apiGroups: [""], resources: [pods], verbs: [list]}
{{- if .Values.features.exec }}
# see whether a pod was deleted during its reload; without it: no reload
- {apiGroups: [""], resources: [pods], verbs: [get]}
# make the kubelet refresh the volume, by an annotation, before a reload; without it: no reload
- {apiGroups: [""], resources: [pods], verbs: [patch]}
# see the new file in the pod, and run the reload command (a WebSocket begins with a GET, so Kubernetes checks get, and since
# 1.35 create too); without it: no reload
- {apiGroups: [""], resources: [pods/exec], verbs: [create, get]}
{{- end }}
{{- if .Values.features.restarts }}
# replace a pod that its StatefulSet does not replace, because it waits for that pod to become ready, or because its template is
# right already; without it: no restart of such a pod
- {apiGroups: [""], resources: [pods], verbs: [delete]}
{{- end }}
{{- if .Values.features.evictions }}
# have pods replaced that are older than the certificate, as PodDisruptionBudgets allow; without it: no eviction (`updateStrategy: Evict`)
- {apiGroups: [""], resources: [pods/eviction], verbs: [create]}
{{- end }}
{{- if .Values.features.services }}
# find the Services that lead to the pods, for `spec.probe.from`; without it: no probe by Services
- {apiGroups: [""], resources: [services], verbs: [list]}
{{- end }}
# see which pods belong to a workload, and whether they are all replaced; without it: nothing is rolled out or probed
- {apiGroups: [apps], resources: [daemonsets, deployments, statefulsets], verbs: [get]}
# notice pods that restart at once; without it: such pods are probed at the interval only
- {apiGroups: [apps], resources: [daemonsets, deployments, statefulsets], verbs: [list, watch]}
{{- if .Values.features.restarts }}
# restart by an annotation of the pod template; without it: no restart (`updateStrategy: Restart`)
- {apiGroups: [apps], resources: [daemonsets, deployments, statefulsets], verbs: [patch]}
{{- end }}
{{- if .Values.rbac.argoRollouts }}
# see which pods belong to a Rollout of Argo; without it: nothing is rolled out to it or probed
- {apiGroups: [argoproj.io], resources: [rollouts], verbs: [get]}
{{- if .Values.features.restarts }}
# restart a Rollout by `spec.restartAt`; without it: no restart of Rollouts (`updateStrategy: Restart`)
- {apiGroups: [argoproj.io], resources: [rollouts], verbs: [patch]}
{{- end }}
{{- end }}
# report transitions; without it: no Events
- {apiGroups: [""], resources: [events], verbs: [create]}
{{- end -}}

{{/* What only a ClusterRole can grant. */}}
{{- define "mailtls.discoveryRules" -}}
# see the resource's definition appear and change, with a ClusterRole only; without it: the operator begins only once its definition
# is there
- {apiGroups: [apiextensions.k8s.io], resources: [customresourcedefinitions], verbs: [list, watch]}
{{- end -}}

{{/* What the operator does in its own namespace. */}}
{{- define "mailtls.operatorRules" -}}
{{- if .Values.features.issuance }}
# keys of the installation's ACME accounts, credentials of its solvers, the key that seals journals; without it: nothing is issued or
# renewed
- {apiGroups: [""], resources: [secrets], verbs: [get, create, patch]}
{{- end }}
# elect the leading replica; without it: no replica works
- {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, create, update]}
{{- if and .Values.http01.enabled .Values.features.issuance }}
# lead HTTP-01 requests to the leading replica, not with `http01.enabled: false`; without it: the operator does not begin to work
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [create, patch]}
{{- end }}
{{- end -}}
