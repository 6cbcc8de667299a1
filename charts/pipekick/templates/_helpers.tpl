{{- define "pipekick.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "pipekick.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "pipekick.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "pipekick.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "pipekick.selector" -}}
app.kubernetes.io/name: {{ include "pipekick.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "pipekick.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "pipekick.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "pipekick.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "pipekick.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "pipekick.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* Where the operator may not look for one, somebody has to give it. */}}
{{- define "pipekick.clusterId" -}}
{{- if and .Values.watchNamespaces (not .Values.clusterId) }}
{{- fail "clusterId: with watchNamespaces write a name of this cluster that no other has, such as clusterId: production-1; it is in the descriptions of schedules inside GitLab (runBy: GitLab), and must stay what it is" }}
{{- end }}
{{- .Values.clusterId }}
{{- end }}

{{/* Files for the collector of traces: a Secret's key and a ConfigMap's, under fixed names. */}}
{{- define "pipekick.otlpFiles" -}}
{{- with .Values.tracing }}
{{- if and .headersSecret.name (not .endpoint) }}
{{- fail "tracing.headersSecret: write tracing.endpoint too; the headers are the collector's" }}
{{- end }}
{{- if and .caConfigMap.name (not .endpoint) }}
{{- fail "tracing.caConfigMap: write tracing.endpoint too; the CAs are the collector's" }}
{{- end }}
{{- if .headersSecret.name }}
- secret:
    name: {{ .headersSecret.name }}
    items: [{key: {{ .headersSecret.key }}, path: headers}]
{{- end }}
{{- if .caConfigMap.name }}
- configMap:
    name: {{ .caConfigMap.name }}
    items: [{key: {{ .caConfigMap.key }}, path: ca.crt}]
{{- end }}
{{- end }}
{{- end }}

{{/* What would be installed and then not work is refused, with what to write instead. */}}
{{- define "pipekick.refuse" -}}
{{- $values := .Values }}
{{- if and (hasPrefix "http://" $values.gitlab.url) (not $values.gitlab.allowHttp) }}
{{- fail "gitlab.url: plain http would send tokens unencrypted; write https://, or gitlab.allowHttp: true in a sandbox" }}
{{- end }}
{{- $replicas := int $values.replicaCount }}
{{- $least := $values.podDisruptionBudget.minAvailable | toString }}
{{- $kept := int (trimSuffix "%" $least) }}
{{- if hasSuffix "%" $least }}
{{- /* Kubernetes rounds up. */}}
{{- $kept = div (add (mul $kept $replicas) 99) 100 }}
{{- end }}
{{- if and $values.podDisruptionBudget.enabled (gt $replicas 0) (ge (int $kept) $replicas) }}
{{- fail "podDisruptionBudget: no pod could ever be evicted, and a drained node would wait for ever; write a replicaCount above minAvailable, such as replicaCount: 2" }}
{{- end }}
{{- if and $values.metrics.serviceMonitor.enabled (not $values.metrics.service.enabled) }}
{{- fail "metrics.serviceMonitor: it finds the metrics by their Service; write metrics.service.enabled: true" }}
{{- end }}
{{- range $name, $_ := include "pipekick.selector" . | fromYaml }}
{{- if hasKey ($values.podLabels | default dict) $name }}
{{- fail (printf "podLabels: %s is how the Deployment finds its pods, and cannot be changed; write another label" $name) }}
{{- end }}
{{- end }}
{{- end }}

{{/* The ports out: those that were given, and those of the URLs that were. */}}
{{- define "pipekick.egressPorts" -}}
{{- $ports := .Values.networkPolicy.egressPorts }}
{{- range compact (list .Values.gitlab.url .Values.tracing.endpoint) }}
{{- $port := ternary 443 80 (hasPrefix "https:" .) }}
{{- with regexFind ":[0-9]+$" (urlParse .).host }}
{{- $port = int (trimPrefix ":" .) }}
{{- end }}
{{- if not (has (toString $port) (toStrings $ports)) }}
{{- $ports = append $ports $port }}
{{- end }}
{{- end }}
{{- range $ports }}
- {port: {{ int . }}, protocol: TCP}
{{- end }}
{{- end }}
