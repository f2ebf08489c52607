{{/* What the operator does in the namespaces that it serves. */}}
{{- define "mailtls.resourceRules" -}}
# the resource: watched, never written; only its status is
- {apiGroups: [mailtls.dev], resources: [mailservertls], verbs: [get, list, watch]}
- {apiGroups: [mailtls.dev], resources: [mailservertls/status], verbs: [patch]}
# serving Secrets{{ if .Values.features.issuance }}, staged keys with their open order, previous certificates; credentials of solvers{{ end }}
- {apiGroups: [""], resources: [secrets], verbs: [get, list, watch{{ if .Values.features.issuance }}, create, patch{{ end }}]}
# bundles of private CAs
- {apiGroups: [""], resources: [configmaps], verbs: [get]}
# find the pods of a workload{{ if .Values.features.exec }}; wake their kubelet by an annotation, see the file and reload the server in
# them{{ end }}{{ if .Values.features.restarts }}; delete one that a StatefulSet should replace and does not, because it waits for that pod to
# become ready{{ end }}
- apiGroups: [""]
  resources: [pods]
  verbs: [list{{ if .Values.features.exec }}, get, patch{{ end }}{{ if .Values.features.restarts }}, delete{{ end }}]
{{- if .Values.features.exec }}
# a WebSocket begins with a GET: Kubernetes asks for get, and since 1.35 for create as well
- {apiGroups: [""], resources: [pods/exec], verbs: [create, get]}
{{- end }}
{{- if .Values.features.evictions }}
# have pods replaced that are older than the certificate, as PodDisruptionBudgets allow
- {apiGroups: [""], resources: [pods/eviction], verbs: [create]}
{{- end }}
{{- if .Values.features.services }}
# find the Services that lead to the pods, where spec.probe.from names them
- {apiGroups: [""], resources: [services], verbs: [list]}
{{- end }}
# hear of pods that change by the status of their workload{{ if .Values.features.restarts }}; roll out by an annotation of the pod template{{ end }}
- apiGroups: [apps]
  resources: [daemonsets, deployments, statefulsets]
  verbs: [get, list, watch{{ if .Values.features.restarts }}, patch{{ end }}]
{{- if .Values.rbac.argoRollouts }}
# the same for Rollouts of Argo, which are restarted by spec.restartAt
- {apiGroups: [argoproj.io], resources: [rollouts], verbs: [get{{ if .Values.features.restarts }}, patch{{ end }}]}
{{- end }}
- {apiGroups: [""], resources: [events], verbs: [create]}
{{- end -}}

{{/* What only a ClusterRole can grant: seeing the CustomResourceDefinition appear and change. */}}
{{- define "mailtls.discoveryRules" -}}
- {apiGroups: [apiextensions.k8s.io], resources: [customresourcedefinitions], verbs: [list, watch]}
{{- end -}}

{{/* What the operator does in its own namespace. */}}
{{- define "mailtls.operatorRules" -}}
{{- if .Values.features.issuance }}
# ACME accounts, the key that seals journals, credentials of the default solvers
- {apiGroups: [""], resources: [secrets], verbs: [get, create, patch]}
{{- end }}
# the election of the leading replica
- {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, create, update]}
{{- if and .Values.http01.enabled .Values.features.issuance }}
# the leading replica is the endpoint of the HTTP-01 Service; server-side apply needs both
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [create, patch]}
{{- end }}
{{- end -}}
