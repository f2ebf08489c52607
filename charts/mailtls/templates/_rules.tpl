{{/* What the operator does in the namespaces that it serves. */}}
{{- define "mailtls.resourceRules" -}}
# the resource: watched, never written; only its status is
- {apiGroups: [mailtls.dev], resources: [mailservertls], verbs: [get, list, watch]}
- {apiGroups: [mailtls.dev], resources: [mailservertls/status], verbs: [patch]}
# serving Secrets and those beside them (pending order, staged and previous key), and credentials of solvers
- {apiGroups: [""], resources: [secrets], verbs: [get, list, watch, create, update, patch, delete]}
# bundles of private authorities
- {apiGroups: [""], resources: [configmaps], verbs: [get]}
# find the pods of a workload, wake their kubelet by an annotation, read the file and reload the server in them
- {apiGroups: [""], resources: [pods], verbs: [get, list, patch]}
- {apiGroups: [""], resources: [pods/exec], verbs: [create]}
# roll out by an annotation of the pod template
- {apiGroups: [apps], resources: [daemonsets, deployments, statefulsets], verbs: [get, patch]}
- {apiGroups: [apps], resources: [replicasets], verbs: [get, list]}
- {apiGroups: [""], resources: [events], verbs: [create, patch]}
{{- end -}}

{{/* What only a ClusterRole can grant: seeing the CustomResourceDefinition appear. */}}
{{- define "mailtls.discoveryRules" -}}
- {apiGroups: [apiextensions.k8s.io], resources: [customresourcedefinitions], verbs: [get, list, watch]}
{{- end -}}

{{/* What the operator does in its own namespace. */}}
{{- define "mailtls.operatorRules" -}}
# ACME accounts, credentials of the default solvers
- {apiGroups: [""], resources: [secrets], verbs: [get, list, watch, create, update, patch, delete]}
- {apiGroups: [""], resources: [configmaps], verbs: [get]}
# the election of the leading replica
- {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, create, update]}
{{- if .Values.http01.enabled }}
# the leading replica is the endpoint of the HTTP-01 Service
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [get, create, patch]}
{{- end }}
{{- end -}}
