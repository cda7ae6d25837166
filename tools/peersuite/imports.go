//go:build integration

package main

// What the suite imports: `go mod tidy` looks at packages, not at their tests.
import (
	_ "github.com/bitnami-labs/sealed-secrets/pkg/client/clientset/versioned"
	_ "github.com/bitnami-labs/sealed-secrets/pkg/crypto"
	_ "github.com/onsi/ginkgo/v2"
	_ "github.com/onsi/gomega"
	_ "k8s.io/client-go/plugin/pkg/client/auth"
)
