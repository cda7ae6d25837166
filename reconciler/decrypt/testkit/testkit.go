// Package testkit makes files for tests as the sops client makes them, with
// SOPS' own library.
package testkit

import (
	"crypto/rand"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
	sopsage "github.com/getsops/sops/v3/age"
	"github.com/getsops/sops/v3/config"
	sopskeys "github.com/getsops/sops/v3/keys"
	"github.com/getsops/sops/v3/shamir"
	"github.com/getsops/sops/v3/stores/dotenv"
	"github.com/getsops/sops/v3/stores/ini"
	sopsjson "github.com/getsops/sops/v3/stores/json"
	sopsyaml "github.com/getsops/sops/v3/stores/yaml"
)

// Stores of SOPS' own library, by what the tests call them.
var stores = map[string]sops.Store{
	"yaml":   sopsyaml.NewStore(&config.YAMLStoreConfig{}),
	"json":   sopsjson.NewStore(&config.JSONStoreConfig{}),
	"dotenv": dotenv.NewStore(&config.DotenvStoreConfig{}),
	"ini":    ini.NewStore(&config.INIStoreConfig{}),
	"binary": sopsjson.NewBinaryStore(&config.JSONBinaryStoreConfig{}),
}

// A Sealer encrypts as sops does.
type Sealer struct {
	Store     string // yaml, json, dotenv, ini or binary
	Groups    []sops.KeyGroup
	Threshold int
	Change    func(*sops.Metadata)
	Key       []byte // the data key that the master keys have; nil makes one
}

// dataKey makes a data key and has the master keys encrypt it, or their share.
func (s Sealer) dataKey(t testing.TB) []byte {
	t.Helper()
	key := s.Key
	if key == nil {
		key = Random(t)
	}
	parts := [][]byte{key}
	if len(s.Groups) > 1 {
		var err error
		if parts, err = shamir.Split(key, len(s.Groups), s.Threshold); err != nil {
			t.Fatal(err)
		}
	}
	for i, g := range s.Groups {
		for _, k := range g {
			if s.Key != nil {
				continue // they have it
			}
			if err := k.Encrypt(parts[i]); err != nil {
				t.Fatal(err)
			}
		}
	}
	return key
}

// Seal returns plain as an encrypted file.
func (s Sealer) Seal(t testing.TB, plain string) []byte {
	t.Helper()
	store := stores[s.Store]
	branches, err := store.LoadPlainFile([]byte(plain))
	if err != nil {
		t.Fatal(err)
	}
	tree := sops.Tree{Branches: branches, Metadata: sops.Metadata{
		KeyGroups: s.Groups, ShamirThreshold: s.Threshold, Version: "3.13.2", LastModified: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), UnencryptedSuffix: sops.DefaultUnencryptedSuffix,
	}}
	if s.Change != nil {
		s.Change(&tree.Metadata)
	}
	key, cipher := s.dataKey(t), aes.NewCipher()
	mac, err := tree.Encrypt(key, cipher)
	if err != nil {
		t.Fatal(err)
	}
	if tree.Metadata.MessageAuthenticationCode, err = cipher.Encrypt(mac, key, tree.Metadata.LastModified.Format(time.RFC3339)); err != nil {
		t.Fatal(err)
	}
	out, err := store.EmitEncryptedFile(tree)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Random makes a data key.
func Random(t testing.TB) []byte {
	t.Helper()
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		t.Fatal(err)
	}
	return key
}

// Group is one key group.
func Group(keys ...sopskeys.MasterKey) []sops.KeyGroup { return []sops.KeyGroup{keys} }

// AgeKey makes an identity and the master key for it.
func AgeKey(t testing.TB) (identity string, key sopskeys.MasterKey) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id.String(), AgeMaster(t, id.Recipient().String())
}

// AgeMaster is the master key for a recipient.
func AgeMaster(t testing.TB, recipient string) sopskeys.MasterKey {
	t.Helper()
	key, err := sopsage.MasterKeyFromRecipient(recipient)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
