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

{{/* The ports out: those that were given, and the collector's. */}}
{{- define "pipekick.egressPorts" -}}
{{- $ports := .Values.networkPolicy.egressPorts }}
{{- with .Values.tracing.endpoint }}
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
