package decrypt_test

import (
	"bytes"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	sopskeys "github.com/getsops/sops/v3/keys"
	"github.com/getsops/sops/v3/pgp"

	"github.com/lockstep-dev/lockstep/reconciler/decrypt"
)

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
