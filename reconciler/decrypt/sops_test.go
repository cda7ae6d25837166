package decrypt_test

import (
	"bytes"
	"crypto/rand"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
	sopsage "github.com/getsops/sops/v3/age"
	"github.com/getsops/sops/v3/config"
	sopskeys "github.com/getsops/sops/v3/keys"
	"github.com/getsops/sops/v3/pgp"
	"github.com/getsops/sops/v3/shamir"
	"github.com/getsops/sops/v3/stores/dotenv"
	"github.com/getsops/sops/v3/stores/ini"
	sopsjson "github.com/getsops/sops/v3/stores/json"
	sopsyaml "github.com/getsops/sops/v3/stores/yaml"

	"github.com/lockstep-dev/lockstep/reconciler/decrypt"
)

// Stores of SOPS' own library, by what the tests call them.
var stores = map[string]sops.Store{
	"yaml":   sopsyaml.NewStore(&config.YAMLStoreConfig{}),
	"json":   sopsjson.NewStore(&config.JSONStoreConfig{}),
	"dotenv": dotenv.NewStore(&config.DotenvStoreConfig{}),
	"ini":    ini.NewStore(&config.INIStoreConfig{}),
	"binary": sopsjson.NewBinaryStore(&config.JSONBinaryStoreConfig{}),
}

// sealer encrypts as sops does.
type sealer struct {
	store     string
	groups    []sops.KeyGroup
	threshold int
	change    func(*sops.Metadata)
}

// dataKey makes a data key and has the master keys encrypt it, or their share.
func (s sealer) dataKey(t *testing.T) []byte {
	t.Helper()
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		t.Fatal(err)
	}
	parts := [][]byte{key}
	if len(s.groups) > 1 {
		var err error
		if parts, err = shamir.Split(key, len(s.groups), s.threshold); err != nil {
			t.Fatal(err)
		}
	}
	for i, g := range s.groups {
		for _, k := range g {
			if err := k.Encrypt(parts[i]); err != nil {
				t.Fatal(err)
			}
		}
	}
	return key
}

func (s sealer) seal(t *testing.T, plain string) []byte {
	t.Helper()
	store := stores[s.store]
	branches, err := store.LoadPlainFile([]byte(plain))
	if err != nil {
		t.Fatal(err)
	}
	tree := sops.Tree{Branches: branches, Metadata: sops.Metadata{
		KeyGroups: s.groups, ShamirThreshold: s.threshold, Version: "3.13.2", LastModified: time.Now().UTC().Truncate(time.Second), UnencryptedSuffix: sops.DefaultUnencryptedSuffix,
	}}
	if s.change != nil {
		s.change(&tree.Metadata)
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

// group is one key group.
func group(keys ...sopskeys.MasterKey) []sops.KeyGroup { return []sops.KeyGroup{keys} }

// ageKey makes an identity and the master key for it.
func ageKey(t *testing.T) (identity string, key sopskeys.MasterKey) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id.String(), ageMaster(t, id.Recipient().String())
}

func ageMaster(t *testing.T, recipient string) sopskeys.MasterKey {
	t.Helper()
	key, err := sopsage.MasterKeyFromRecipient(recipient)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// pgpKey makes a PGP key: armored, and the master key for it.
func pgpKey(t *testing.T) (private string, key sopskeys.MasterKey) {
	t.Helper()
	e, err := openpgp.NewEntity("test", "", "test@example.com", nil)
	if err != nil {
		t.Fatal(err)
	}
	var ring, text bytes.Buffer
	if err := e.Serialize(&ring); err != nil {
		t.Fatal(err)
	}
	w, err := armor.Encode(&text, openpgp.PrivateKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.SerializePrivate(w, nil); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return text.String(), pgpMaster(t, e, ring.Bytes())
}

func open(t *testing.T, keys map[string]string, settings *decrypt.Settings) *decrypt.Opener {
	t.Helper()
	k, err := decrypt.ParseKeys(keys)
	if err != nil {
		t.Fatal(err)
	}
	if settings == nil {
		settings = &decrypt.Settings{}
	}
	return decrypt.New(t.Context(), k, settings)
}

// pgpMaster lets the library find the public key, which it reads from a file.
func pgpMaster(t *testing.T, e *openpgp.Entity, ring []byte) sopskeys.MasterKey {
	t.Helper()
	file := t.TempDir() + "/pubring.gpg"
	write(t, file, ring)
	key := pgp.NewMasterKeyFromFingerprint(hexUpper(e.PrimaryKey.Fingerprint))
	pgp.PubRing(file).ApplyToMasterKey(key)
	return key
}
