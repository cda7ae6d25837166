package vault

// SecretSettings are the metadata of a PushSecret, for its inventory.
type SecretSettings = secretSettings
