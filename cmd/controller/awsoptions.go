package main

import (
	"cmp"
	"os"
)

// endpointOf is where a service of AWS is, by the environment: first as
// External Secrets Operator names it, then as the SDKs of AWS do. Empty: where
// AWS has it.
// Source: https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html
func endpointOf(peer, sdk string) string {
	own := os.Getenv("AWS_" + peer + "_ENDPOINT")
	if os.Getenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") == "true" {
		return own
	}
	return cmp.Or(own, os.Getenv("AWS_ENDPOINT_URL_"+sdk), os.Getenv("AWS_ENDPOINT_URL"))
}
