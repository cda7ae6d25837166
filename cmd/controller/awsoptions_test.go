package main

import "testing"

func TestEndpointOf(t *testing.T) {
	cases := map[string]struct {
		reason string
		env    map[string]string
		want   string
	}{
		"None":    {reason: "AWS has it.", want: ""},
		"Peer":    {"The name of External Secrets Operator counts first.", map[string]string{"AWS_SSM_ENDPOINT": "https://peer", "AWS_ENDPOINT_URL_SSM": "https://sdk", "AWS_ENDPOINT_URL": "https://all"}, "https://peer"},
		"SDK":     {"Then that of the SDKs.", map[string]string{"AWS_ENDPOINT_URL_SSM": "https://sdk", "AWS_ENDPOINT_URL": "https://all"}, "https://sdk"},
		"All":     {"One may be for all services.", map[string]string{"AWS_ENDPOINT_URL": "https://all"}, "https://all"},
		"Ignored": {"The SDKs' names can be switched off.", map[string]string{"AWS_ENDPOINT_URL": "https://all", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for _, name := range []string{"AWS_SSM_ENDPOINT", "AWS_ENDPOINT_URL_SSM", "AWS_ENDPOINT_URL", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"} {
				t.Setenv(name, tc.env[name])
			}
			if got := endpointOf("SSM", "SSM"); got != tc.want {
				t.Errorf("%s\ngot %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}
