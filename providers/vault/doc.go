// Package vault reads, finds and writes what the KV engines of HashiCorp Vault
// and OpenBao hold.
//
// It speaks HTTP by itself. A handful of requests is all that it needs, and the
// official client lets VAULT_* variables of the environment say where a request
// goes and which token it carries; a backend takes nothing from the environment.
package vault
