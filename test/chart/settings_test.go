package chart

import (
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
)

// Each setting of sealing has a value, which comes to the controller as the
// flag that Sealed Secrets has for it.
func TestSealingValues(t *testing.T) {
	cases := map[string]struct {
		values map[string]any
		arg    string
	}{
		"keyPrefix":             {sealing("keyPrefix", "mykey"), "--key-prefix=mykey"},
		"keySize":               {sealing("keySize", 3072), "--key-size=3072"},
		"keyTTL":                {sealing("keyTTL", "48h"), "--key-ttl=48h"},
		"keyRenewPeriod":        {sealing("keyRenewPeriod", "24h"), "--key-renew-period=24h"},
		"keyRenewPeriodNever":   {sealing("keyRenewPeriod", 0), "--key-renew-period=0"},
		"keyCutoffTime":         {sealing("keyCutoffTime", "Mon, 02 Jan 2006 15:04:05 +0000"), "--key-cutoff-time=Mon, 02 Jan 2006 15:04:05 +0000"},
		"keyOrderPriority":      {sealing("keyOrderPriority", "SecretCreationTimestamp"), "--key-order-priority=SecretCreationTimestamp"},
		"privateKeyLabels":      {sealing("privateKeyLabels", map[string]any{"b": "2", "a": "1"}), "--privatekey-labels=a=1,b=2"},
		"privateKeyAnnotations": {sealing("privateKeyAnnotations", map[string]any{"b": "2", "a": "1"}), "--privatekey-annotations=a=1,b=2"},
		"labelSelector":         {sealing("labelSelector", "team in (a, b)"), "--label-selector=team in (a, b)"},
		"acceptV1Data":          {sealing("acceptDeprecatedV1Data", false), "--accept-deprecated-v1-data=false"},
		"allowPrivileged":       {sealing("allowPrivilegedSecrets", true), "--allow-privileged-secrets=true"},
		"rateLimit":             {sealing("rateLimit", 3), "--rate-limit=3"},
		"rateLimitBurst":        {sealing("rateLimitBurst", 4), "--rate-limit-burst=4"},
		"additionalNamespaces":  {map[string]any{"controller": map[string]any{"additionalNamespaces": []any{"a", "b"}}}, "--additional-namespaces=a,b"},
		"logFormat":             {map[string]any{"controller": map[string]any{"logFormat": "text"}}, "--log-format=text"},
		"eventsWebhook":         {map[string]any{"events": map[string]any{"webhook": true}}, "--events-addr=:8083"},
		"omitSecretLabels":      {map[string]any{"metrics": map[string]any{"omitSecretLabels": true}}, "--metrics-omit-secret-labels=true"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			args := find[appsv1.Deployment](t, tc.values, "Deployment")[0].Spec.Template.Spec.Containers[0].Args
			if !slices.Contains(args, tc.arg) {
				t.Errorf("%q is missing in %q", tc.arg, args)
			}
			defaults := find[appsv1.Deployment](t, nil, "Deployment")[0].Spec.Template.Spec.Containers[0].Args
			if slices.Contains(defaults, tc.arg) {
				t.Errorf("%q is there without the value too", tc.arg)
			}
		})
	}
}

func sealing(name string, value any) map[string]any {
	return map[string]any{"sealing": map[string]any{name: value}}
}
