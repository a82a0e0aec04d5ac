{{- define "reembed.fullname" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "reembed.selector" -}}
app.kubernetes.io/name: reembed
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "reembed.labels" -}}
{{ include "reembed.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "reembed.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- define "reembed.migration" -}}
{{- if and .Values.migration .Values.migrationFile }}{{ fail "give migration or migrationFile, not both" }}
{{- else if .Values.migrationFile }}{{ .Values.migrationFile }}
{{- else if .Values.migration }}{{ toPrettyJson .Values.migration }}
{{- else }}{{ fail "the migration file is missing: --set-file migrationFile=docs.json, or migration in the values (reembed new writes one)" }}
{{- end }}
{{- end }}

{{- /* What a pod's exit code means for a Job. 1, 4 and a kill are counted against the limit and tried again. */ -}}
{{- define "reembed.podFailurePolicy" -}}
rules:
  # Drained, evicted or preempted: nothing is wrong.
  - action: Ignore
    onPodConditions:
      - { type: DisruptionTarget, status: "True" }
  # Stopped with work left: another pod goes on.
  - action: Ignore
    onExitCodes: { containerName: reembed, operator: In, values: [3] }
  # What only a person can mend: 2 configuration, 5 provider, 6 state, 7 gate, 8 pause, 9 documents that failed.
  - action: FailJob
    onExitCodes: { containerName: reembed, operator: In, values: [2, 5, 6, 7, 8, 9] }
{{- end }}

{{- /*
A pod template. Takes a dictionary: root, component (worker or serve), args, listen, ready, spread, restart, resources.
*/ -}}
{{- define "reembed.pod" -}}
{{- $root := .root }}
{{- $values := .root.Values }}
metadata:
  labels:
    {{- include "reembed.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
    {{- with $values.podLabels }}{{ toYaml . | nindent 4 }}{{ end }}
  annotations:
    # A change of either reaches the pods.
    {{- if eq .component "worker" }}
    checksum/migration: {{ include "reembed.migration" $root | sha256sum }}
    {{- end }}
    checksum/environment: {{ toJson $values.environment | sha256sum }}
    {{- with $values.podAnnotations }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  serviceAccountName: {{ include "reembed.fullname" $root }}
  automountServiceAccountToken: false
  # A Service named reembed would otherwise put REEMBED_... variables of its own into the environment.
  enableServiceLinks: false
  {{- with .restart }}
  restartPolicy: {{ . }}
  {{- end }}
  # Longer than --shutdown-grace-secs, in which what is being embedded is stored.
  terminationGracePeriodSeconds: {{ add $values.shutdownGraceSeconds 15 }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    seccompProfile: { type: RuntimeDefault }
  {{- with $values.imagePullSecrets }}
  imagePullSecrets: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.nodeSelector }}
  nodeSelector: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.affinity }}
  affinity: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- if .spread }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "reembed.selector" $root | nindent 10 }}
          app.kubernetes.io/component: {{ .component }}
  {{- end }}
  containers:
    - name: reembed
      image: {{ include "reembed.image" $root | quote }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      args: {{ toJson .args }}
      envFrom:
        - configMapRef: { name: {{ include "reembed.fullname" $root }}-environment }
        - secretRef: { name: {{ $values.existingSecret | quote }} }
      {{- if .listen }}
      ports:
        - { name: http, containerPort: {{ $values.listen.port }} }
      startupProbe:
        httpGet: { path: /healthz, port: http }
        periodSeconds: 2
        failureThreshold: 30
      livenessProbe:
        httpGet: { path: /healthz, port: http }
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      {{- if .ready }}
      readinessProbe:
        httpGet: { path: /readyz, port: http }
        periodSeconds: 5
        timeoutSeconds: 5
      {{- end }}
      {{- end }}
      resources: {{ toYaml .resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: { drop: [ALL] }
  {{- if eq .component "worker" }}
      volumeMounts:
        - { name: migration, mountPath: /etc/reembed, readOnly: true }
        {{- if $values.models.existingClaim }}
        - { name: models, mountPath: /srv/reembed/models, readOnly: true }
        {{- end }}
  volumes:
    - name: migration
      configMap: { name: {{ include "reembed.fullname" $root }}-migration }
    {{- with $values.models.existingClaim }}
    - name: models
      persistentVolumeClaim: { claimName: {{ . | quote }}, readOnly: true }
    {{- end }}
  {{- end }}
{{- end }}

{{- /* The words of reembed run: root, and more of them as `more`. */ -}}
{{- define "reembed.run" -}}
{{- $values := .root.Values }}
{{- $args := concat (list "run" "/etc/reembed/migration.json") .more }}
{{- if .listen }}{{ $args = concat $args (list "--listen" (printf "0.0.0.0:%d" (int $values.listen.port))) }}{{ end }}
{{- if ne (int $values.shutdownGraceSeconds) 25 }}
{{- $args = concat $args (list "--shutdown-grace-secs" (toString $values.shutdownGraceSeconds)) }}
{{- end }}
{{- toJson (concat $args $values.extraArgs) }}
{{- end }}
