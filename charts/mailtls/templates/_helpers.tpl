{{/* Name of the chart's objects: the release, and the chart unless the release is named after it. */}}
{{- define "mailtls.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains $name .Release.Name -}}
{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{- define "mailtls.namespace" -}}
{{ default .Release.Namespace .Values.namespaceOverride }}
{{- end -}}

{{- define "mailtls.selectorLabels" -}}
app.kubernetes.io/name: mailtls
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "mailtls.labels" -}}
{{ include "mailtls.selectorLabels" . }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: mailtls
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with include "mailtls.commonLabels" . | fromYaml }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Those of the parent chart, then our own: the selector's cannot be changed. */}}
{{- define "mailtls.commonLabels" -}}
{{- $given := merge (deepCopy .Values.commonLabels) (default dict .Values.global.commonLabels) -}}
{{- omit $given "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" "app.kubernetes.io/managed-by" | toYaml -}}
{{- end -}}

{{/* What a container does not set where the platform picks users and groups, as OpenShift does. */}}
{{- define "mailtls.podSecurityContext" -}}
{{- $isOpenShift := .Capabilities.APIVersions.Has "security.openshift.io/v1" -}}
{{- if or (eq .Values.openshift "always") (and (eq .Values.openshift "auto") $isOpenShift) -}}
{{- omit .Values.podSecurityContext "runAsUser" "runAsGroup" "fsGroup" | toYaml -}}
{{- else -}}
{{- toYaml .Values.podSecurityContext -}}
{{- end -}}
{{- end -}}

{{- define "mailtls.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "mailtls.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{ required "serviceAccount.create is false: set serviceAccount.name to the one to use" .Values.serviceAccount.name }}
{{- end -}}
{{- end -}}

{{- define "mailtls.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{/* Sentences for mistakes that a schema cannot name. */}}
{{- define "mailtls.validate" -}}
{{- $ca := .Values.acme.caBundle -}}
{{- $sources := list -}}
{{- if $ca.inline }}{{ $sources = append $sources "inline" }}{{ end -}}
{{- if $ca.configMap.name }}{{ $sources = append $sources "configMap" }}{{ end -}}
{{- if $ca.secret.name }}{{ $sources = append $sources "secret" }}{{ end -}}
{{- if gt (len $sources) 1 -}}
{{- fail (printf "acme.caBundle has %s: keep one of them" (join " and " $sources)) -}}
{{- end -}}
{{- if and .Values.trust.inline .Values.trust.configMap.name -}}
{{- fail "trust has inline and configMap: keep one of them" -}}
{{- end -}}
{{- if not .Values.http01.enabled -}}
{{- range .Values.acme.solvers -}}
{{- if hasKey . "http01" -}}
{{- fail "acme.solvers has http01, but http01.enabled is false: enable it or list other solvers" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with .Values.metrics.prometheusRule.thresholds -}}
{{- if ge (int .expiryCriticalDays) (int .expiryWarningDays) -}}
{{- fail "metrics.prometheusRule.thresholds: expiryCriticalDays must be less than expiryWarningDays" -}}
{{- end -}}
{{- end -}}
{{- $known := regexFindAll "(?m)alert: *([A-Za-z]+)" (.Files.Get "files/alerts.yaml") -1 -}}
{{- range .Values.metrics.prometheusRule.disabled -}}
{{- if not (has (printf "alert: %s" .) $known) -}}
{{- fail (printf "metrics.prometheusRule.disabled: there is no alert %s" .) -}}
{{- end -}}
{{- end -}}
{{- $pages := sub (len (splitList "{page}" .Values.docsUrl)) 1 -}}
{{- $place := ternary "^https?://[-A-Za-z0-9._:\\[\\]]+/[!-#%-~]+$" "^[!-#%-~]+$" (contains "://" .Values.docsUrl) -}}
{{- if or (ne (int $pages) 1) (not (regexMatch $place .Values.docsUrl)) -}}
{{- fail "docsUrl: write an address with {page} in it once, such as https://docs.example.com/mailtls/0.1/{page}/" -}}
{{- end -}}
{{- if and .Values.podDisruptionBudget.enabled (lt (int .Values.replicaCount) 2) -}}
{{- fail "podDisruptionBudget.enabled with one replica would block every node drain: set replicaCount to 2" -}}
{{- end -}}
{{- end -}}

{{/* Whether the chart's own ConfigMap is needed, and its content. */}}
{{- define "mailtls.configData" -}}
{{- with .Values.acme.caBundle.inline }}
acme-ca.crt: {{ . | quote }}
{{- end }}
{{- with .Values.trust.inline }}
trust.crt: {{ . | quote }}
{{- end }}
{{- end -}}
