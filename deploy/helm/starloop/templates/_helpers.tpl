{{- define "starloop.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "starloop.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "starloop.labels" -}}
{{ include "starloop.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "starloop.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (ternary (include "starloop.name" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{- define "starloop.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* Names of the Secrets that are made where none is named. */}}
{{- define "starloop.metricsSecret" -}}
{{ .Values.metrics.tokenSecret.name | default (printf "%s-made" (include "starloop.name" .)) }}
{{- end }}
{{- define "starloop.webhookSecret" -}}
{{ .Values.webhookSecret.name | default (printf "%s-made" (include "starloop.name" .)) }}
{{- end }}

{{/* Roles that listen beyond loopback want TLS and credentials, or to be told that they need none. */}}
{{- define "starloop.check" -}}
{{- if and (or .Values.gate.enabled .Values.console.enabled) (not .Values.insecure) (not (and .Values.tls.secret .Values.mqttUsersSecret.name)) }}
{{- fail "expected tls.secret and mqttUsersSecret.name, or insecure: true, which makes an operator of whoever reaches the ports" }}
{{- end }}
{{- if and .Values.edge.enabled (not .Values.edge.broker) }}{{ fail "edge.enabled: expected edge.broker, such as mqtt://broker:1883" }}{{ end }}
{{- if not (or .Values.fleet.toml .Values.fleet.existingConfigMap) }}{{ fail "expected fleet.toml (--set-file fleet.toml=fleet.toml), or fleet.existingConfigMap" }}{{ end }}
{{- if and .Values.influx.url (not .Values.influx.tokenSecret.name) }}{{ fail "influx.url: expected influx.tokenSecret.name" }}{{ end }}
{{- if and .Values.kafka.user (not .Values.kafka.passwordSecret.name) }}{{ fail "kafka.user: expected kafka.passwordSecret.name" }}{{ end }}
{{- end }}

{{/* The settings of a role as a map. Takes root, role. */}}
{{- define "starloop.settings" -}}
{{- $v := .root.Values }}
{{- $own := dict
  "STARLOOP_DATA_DIR" "/var/lib/starloop"
  "STARLOOP_LOG" (printf "kafka://%s" $v.kafka.brokers)
  "STARLOOP_LOG_PREFIX" $v.kafka.prefix
  "STARLOOP_PARTITIONS" (toString (int $v.kafka.partitions))
  "STARLOOP_LOG_REPLICATION" (toString (int $v.kafka.replication))
  "STARLOOP_STORE" $v.postgres.url
  "STARLOOP_PROFILE_DIRS" "[\"/etc/starloop/profiles\"]"
  "STARLOOP_LOG_FORMAT" "json" }}
{{- if ne .role "fleet" }}
{{- $_ := set $own "STARLOOP_METRICS_TOKEN_FILE" "/run/starloop/metrics-token" }}
{{- $_ := set $own "STARLOOP_HEALTH_HOST" "0.0.0.0" }}
{{- $_ := set $own "STARLOOP_HEALTH_PORT" "9464" }}
{{- end }}
{{- if $v.kafka.user }}
{{- $_ := set $own "STARLOOP_KAFKA_USER" $v.kafka.user }}
{{- $_ := set $own "STARLOOP_KAFKA_PASSWORD_FILE" "/run/starloop/kafka-password" }}
{{- end }}
{{- if $v.kafka.caSecret.name }}{{ $_ := set $own "STARLOOP_KAFKA_CA" "/run/starloop/kafka-ca" }}{{ end }}
{{- if $v.publicUrl }}{{ $_ := set $own "STARLOOP_PUBLIC_URL" $v.publicUrl }}{{ end }}
{{- if $v.otlpUrl }}{{ $_ := set $own "STARLOOP_OTLP_URL" $v.otlpUrl }}{{ end }}
{{- if has .role (list "gate" "console") }}
{{- if $v.insecure }}{{ $_ := set $own "STARLOOP_INSECURE" "true" }}{{ end }}
{{- if $v.tls.secret }}
{{- $_ := set $own "STARLOOP_TLS_CERT" "/run/starloop/tls.crt" }}
{{- $_ := set $own "STARLOOP_TLS_KEY" "/run/starloop/tls.key" }}
{{- end }}
{{- if $v.mqttUsersSecret.name }}{{ $_ := set $own "STARLOOP_MQTT_CREDENTIALS" "/run/starloop/mqtt-users" }}{{ end }}
{{- end }}
{{- if eq .role "gate" }}{{ $_ := set $own "STARLOOP_MQTT_HOST" "0.0.0.0" }}{{ $_ := set $own "STARLOOP_MQTT_PORT" "1883" }}{{ end }}
{{- if eq .role "console" }}{{ $_ := set $own "STARLOOP_HTTP_HOST" "0.0.0.0" }}{{ $_ := set $own "STARLOOP_HTTP_PORT" "8080" }}{{ end }}
{{- if eq .role "stream" }}{{ $_ := set $own "STARLOOP_STANDBYS" (toString (int $v.stream.standbys)) }}{{ end }}
{{- if eq .role "edge" }}{{ $_ := set $own "STARLOOP_MAY_ACCEPT" (toString $v.edge.mayAccept) }}{{ end }}
{{- if eq .role "influx" }}
{{- $_ := set $own "STARLOOP_INFLUX_URL" $v.influx.url }}
{{- $_ := set $own "STARLOOP_INFLUX_ORG" $v.influx.org }}
{{- $_ := set $own "STARLOOP_INFLUX_BUCKET" $v.influx.bucket }}
{{- $_ := set $own "STARLOOP_INFLUX_READINGS" $v.influx.readings }}
{{- $_ := set $own "STARLOOP_INFLUX_TOKEN_FILE" "/run/starloop/influx-token" }}
{{- end }}
{{- range $name, $value := merge (deepCopy $v.settings) $own }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}

{{/* Secrets of a role as files in /run/starloop. Takes root, role. */}}
{{- define "starloop.secretFiles" -}}
{{- $v := .root.Values }}
{{- if ne .role "fleet" }}
- secret: {name: {{ include "starloop.metricsSecret" .root }}, items: [{key: {{ $v.metrics.tokenSecret.key }}, path: metrics-token}]}
{{- end }}
{{- if $v.kafka.user }}
- secret: {name: {{ $v.kafka.passwordSecret.name }}, items: [{key: {{ $v.kafka.passwordSecret.key }}, path: kafka-password}]}
{{- end }}
{{- with $v.kafka.caSecret }}{{ if .name }}
- secret: {name: {{ .name }}, items: [{key: {{ .key }}, path: kafka-ca}]}
{{- end }}{{ end }}
{{- if has .role (list "gate" "console") }}
{{- if $v.tls.secret }}
- secret: {name: {{ $v.tls.secret }}, items: [{key: tls.crt, path: tls.crt}, {key: tls.key, path: tls.key}]}
{{- end }}
{{- with $v.mqttUsersSecret }}{{ if .name }}
- secret: {name: {{ .name }}, items: [{key: {{ .key }}, path: mqtt-users}]}
{{- end }}{{ end }}
{{- end }}
{{- if eq .role "influx" }}
- secret: {name: {{ $v.influx.tokenSecret.name }}, items: [{key: {{ $v.influx.tokenSecret.key }}, path: influx-token}]}
{{- end }}
{{- with $v.edge.caSecret }}{{ if and .name (eq $.role "edge") }}
- secret: {name: {{ .name }}, items: [{key: {{ .key }}, path: broker-ca}]}
{{- end }}{{ end }}
{{- end }}

{{/* The pod of a role. Takes root, role, args, of (the role's values), kept (its data folder is a claim's). */}}
{{- define "starloop.pod" -}}
{{- $v := .root.Values }}
{{- $scheme := ternary "HTTPS" "HTTP" (and (eq .role "console") (ne $v.tls.secret "")) }}
metadata:
  labels:
    {{- include "starloop.selector" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .role }}
  annotations:
    checksum/profiles: {{ toJson $v.fleet.profiles | sha256sum }}
    {{- with .of.pod.annotations }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  serviceAccountName: {{ include "starloop.serviceAccount" .root }}
  automountServiceAccountToken: false
  # Kubernetes' own variables for Services would be taken for settings: STARLOOP_MQTT_PORT=tcp://…
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ $v.terminationGracePeriodSeconds }}
  securityContext: {{ toJson $v.podSecurityContext }}
  {{- with $v.imagePullSecrets }}
  imagePullSecrets: {{ toJson . }}
  {{- end }}
  {{- with .of.pod.nodeSelector }}
  nodeSelector: {{ toJson . }}
  {{- end }}
  {{- with .of.pod.tolerations }}
  tolerations: {{ toJson . }}
  {{- end }}
  {{- with .of.pod.affinity }}
  affinity: {{ toJson . }}
  {{- end }}
  {{- with .of.pod.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- if eq .role "fleet" }}
  restartPolicy: OnFailure
  {{- else }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "starloop.selector" .root | nindent 10 }}
          app.kubernetes.io/component: {{ .role }}
  {{- end }}
  containers:
    - name: {{ .role }}
      image: {{ include "starloop.image" .root }}
      imagePullPolicy: {{ $v.image.pullPolicy }}
      args: {{ toJson .args }}
      securityContext: {{ toJson $v.securityContext }}
      env:
        - {name: STARLOOP_INSTANCE, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        {{- with $v.postgres.passwordSecret }}{{ if .name }}
        - {name: PGPASSWORD, valueFrom: {secretKeyRef: {name: {{ .name }}, key: {{ .key }}}}}
        {{- end }}{{ end }}
        {{- with $v.edge.passwordSecret }}{{ if and .name (eq $.role "edge") }}
        - {name: STARLOOP_BROKER_PASSWORD, valueFrom: {secretKeyRef: {name: {{ .name }}, key: {{ .key }}}}}
        {{- end }}{{ end }}
        {{- include "starloop.settings" . | nindent 8 }}
      resources: {{ toJson .of.resources }}
      {{- if ne .role "fleet" }}
      ports:
        - {name: http, containerPort: {{ ternary 8080 9464 (eq .role "console") }}}
        {{- if eq .role "gate" }}
        - {name: mqtt, containerPort: 1883}
        {{- end }}
      # Until Kafka, the store and the fleet are there a role waits, and has no endpoint yet.
      startupProbe: {httpGet: {path: /healthz, port: http, scheme: {{ $scheme }}}, periodSeconds: 5, failureThreshold: 120}
      livenessProbe: {httpGet: {path: /healthz, port: http, scheme: {{ $scheme }}}, periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6}
      readinessProbe: {httpGet: {path: /readyz, port: http, scheme: {{ $scheme }}}, periodSeconds: 5, timeoutSeconds: 5}
      {{- end }}
      volumeMounts:
        - {name: data, mountPath: /var/lib/starloop}
        - {name: tmp, mountPath: /tmp}
        - {name: secrets, mountPath: /run/starloop, readOnly: true}
        {{- if eq .role "fleet" }}
        - {name: fleet, mountPath: /etc/starloop/fleet, readOnly: true}
        {{- end }}
        {{- if $v.fleet.profiles }}
        - {name: profiles, mountPath: /etc/starloop/profiles, readOnly: true}
        {{- end }}
        {{- if eq .role "reactor" }}
        - {name: webhook-secret, mountPath: /var/lib/starloop/webhook-secret, subPath: webhook-secret, readOnly: true}
        {{- end }}
        {{- if and (eq .role "console") $v.console.usersSecret.name }}
        - {name: users, mountPath: /var/lib/starloop/users.toml, subPath: users.toml, readOnly: true}
        {{- end }}
  volumes:
    {{- if not .kept }}
    - {name: data, emptyDir: {}}
    {{- end }}
    - {name: tmp, emptyDir: {}}
    - name: secrets
      projected:
        defaultMode: 0440
        sources: {{ include "starloop.secretFiles" . | fromYamlArray | toJson }}
    {{- if eq .role "fleet" }}
    - {name: fleet, configMap: {name: {{ $v.fleet.existingConfigMap | default (printf "%s-fleet" (include "starloop.name" .root)) }}}}
    {{- end }}
    {{- if $v.fleet.profiles }}
    - {name: profiles, configMap: {name: {{ include "starloop.name" .root }}-profiles}}
    {{- end }}
    {{- if eq .role "reactor" }}
    - {name: webhook-secret, secret: {secretName: {{ include "starloop.webhookSecret" .root }}, defaultMode: 0440, items: [{key: {{ $v.webhookSecret.key }}, path: webhook-secret}]}}
    {{- end }}
    {{- if and (eq .role "console") $v.console.usersSecret.name }}
    - {name: users, secret: {secretName: {{ $v.console.usersSecret.name }}, defaultMode: 0440, items: [{key: {{ $v.console.usersSecret.key }}, path: users.toml}]}}
    {{- end }}
{{- end }}

{{/* A role with names that stay, and perhaps a disk of each one's own. Takes root, role, args, of, replicas, kept. */}}
{{- define "starloop.statefulSet" -}}
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: {{ include "starloop.name" .root }}-{{ .role }}
  labels:
    {{- include "starloop.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .role }}
spec:
  replicas: {{ .replicas }}
  serviceName: {{ include "starloop.name" .root }}-roles
  podManagementPolicy: Parallel
  selector:
    matchLabels:
      {{- include "starloop.selector" .root | nindent 6 }}
      app.kubernetes.io/component: {{ .role }}
  template:
    {{- include "starloop.pod" . | nindent 4 }}
  {{- if .kept }}
  volumeClaimTemplates:
    - apiVersion: v1
      kind: PersistentVolumeClaim
      metadata: {name: data}
      spec:
        accessModes: [ReadWriteOnce]
        {{- with .of.storage.className }}
        storageClassName: {{ . }}
        {{- end }}
        resources: {requests: {storage: {{ .of.storage.size }}}}
  {{- end }}
{{- end }}

{{/* A role whose processes are all alike. Takes root, role, args, of. */}}
{{- define "starloop.deployment" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "starloop.name" .root }}-{{ .role }}
  labels:
    {{- include "starloop.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .role }}
spec:
  replicas: {{ .of.replicas }}
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
  selector:
    matchLabels:
      {{- include "starloop.selector" .root | nindent 6 }}
      app.kubernetes.io/component: {{ .role }}
  template:
    {{- include "starloop.pod" . | nindent 4 }}
{{- end }}
