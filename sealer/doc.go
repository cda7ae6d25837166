// Package sealer is the cryptography of sealed values: values that anyone can
// seal with a cluster's certificate and only the cluster can open. It knows
// nothing of Kubernetes.
//
// Seal and Open speak envelope 1, the format of kubeseal, bit for bit:
//
//	sealed     = length || wrapped || body
//	length     = the length of wrapped, two bytes, big-endian
//	wrapped    = RSA-OAEP(SHA-256, label, session key)
//	body       = AES-256-GCM(session key, zero nonce, no additional data)
//
// The session key is used once, which is what makes the fixed nonce safe. The
// label binds a value to its scope: see Binding. The name of the item inside
// the Secret is not bound.
//
// Source: pkg/crypto/crypto.go of bitnami-labs/sealed-secrets v0.36.6.
//
// SealItem and Keyring.OpenItem speak envelope 2 too, which is post-quantum,
// names its keys and binds the item: docs/envelope-2.md specifies it.
package sealer
