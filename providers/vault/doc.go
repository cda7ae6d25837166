// Package vault reads the KV engines of HashiCorp Vault and OpenBao.
//
// It speaks HTTP by itself. Three requests are all that it needs (log in, look
// at the own token, read), and the official client lets VAULT_* variables of
// the environment say where a request goes and which token it carries; a
// backend takes nothing from the environment.
package vault
