package decrypt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"filippo.io/age"
	agearmor "filippo.io/age/armor"
	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/getsops/sops/v3/keyservice"
)

// maxDataKey bounds what a key service may return in bytes: a data key has 32,
// and a share of one a few more.
const maxDataKey = 1 << 10

// service opens data keys with the keys at hand. It implements SOPS' interface
// for that.
type service struct {
	*Opener
	tried []string // what each key said, in words that can be shown
}

// Encrypt implements keyservice.KeyServiceServer: nothing is encrypted here.
func (s *service) Encrypt(context.Context, *keyservice.EncryptRequest) (*keyservice.EncryptResponse, error) {
	return nil, errors.New("encrypting is not offered")
}

// Decrypt implements keyservice.KeyServiceServer.
func (s *service) Decrypt(_ context.Context, r *keyservice.DecryptRequest) (*keyservice.DecryptResponse, error) {
	name, key, err := s.open(r.GetKey(), r.GetCiphertext())
	if err == nil && (len(key) == 0 || len(key) > maxDataKey) {
		err = errors.New("it gives no data key")
	}
	if err != nil {
		s.tried = append(s.tried, name+": "+err.Error())
		return nil, err
	}
	return &keyservice.DecryptResponse{Plaintext: key}, nil
}

// open tries one key. name is how it is shown.
func (s *service) open(key *keyservice.Key, ciphertext []byte) (name string, dataKey []byte, err error) {
	switch k := key.GetKeyType().(type) {
	case *keyservice.Key_AgeKey:
		dataKey, err = s.openAge(ciphertext)
		return "age " + k.AgeKey.GetRecipient(), dataKey, err
	case *keyservice.Key_PgpKey:
		dataKey, err = s.openPGP(ciphertext)
		return "PGP " + k.PgpKey.GetFingerprint(), dataKey, err
	case *keyservice.Key_VaultKey:
		dataKey, err = s.openVault(k.VaultKey, ciphertext)
		return "Vault " + k.VaultKey.GetVaultAddress() + " key " + k.VaultKey.GetKeyName(), dataKey, err
	case *keyservice.Key_KmsKey:
		dataKey, err = s.openKMS(k.KmsKey, ciphertext)
		return "AWS KMS " + k.KmsKey.GetArn(), dataKey, err
	case *keyservice.Key_GcpKmsKey:
		dataKey, err = s.openGoogle(k.GcpKmsKey, ciphertext)
		return "Google KMS " + k.GcpKmsKey.GetResourceId(), dataKey, err
	case *keyservice.Key_AzureKeyvaultKey:
		dataKey, err = s.openAzure(k.AzureKeyvaultKey, ciphertext)
		return "Azure Key Vault " + k.AzureKeyvaultKey.GetVaultUrl() + " key " + k.AzureKeyvaultKey.GetName(), dataKey, err
	default:
		return "a key of another service", nil, errors.New("this kind of key is not supported")
	}
}

// shown is how many keys an error tells of.
const shown = 5

// failure says why no key opened a file.
func (s *service) failure() error {
	tried := slices.Clone(s.tried)
	more := ""
	if n := len(tried) - shown; n > 0 {
		tried, more = tried[:shown], fmt.Sprintf("; and %d more", n)
	}
	if len(tried) == 0 {
		return errMalformed
	}
	return fmt.Errorf("%w, and none of the keys that it is encrypted for can be used: %s%s", ErrNoKeys, strings.Join(tried, "; "), more)
}

func (s *service) openAge(ciphertext []byte) ([]byte, error) {
	if len(s.Keys.age) == 0 {
		return nil, errNone
	}
	r, err := age.Decrypt(agearmor.NewReader(bytes.NewReader(ciphertext)), s.Keys.age...)
	if err != nil {
		return nil, errors.New("no identity in the Secret fits")
	}
	return io.ReadAll(io.LimitReader(r, maxDataKey+1))
}

func (s *service) openPGP(ciphertext []byte) ([]byte, error) {
	if len(s.Keys.pgp) == 0 {
		return nil, errNone
	}
	block, err := armor.Decode(bytes.NewReader(ciphertext))
	if err != nil {
		return nil, errors.New("the data key is no armored PGP message")
	}
	m, err := openpgp.ReadMessage(block.Body, s.Keys.pgp, nil, nil)
	if err != nil {
		return nil, errors.New("no PGP key in the Secret fits")
	}
	key, err := io.ReadAll(io.LimitReader(m.UnverifiedBody, maxDataKey+1))
	if err != nil {
		return nil, errors.New("the data key was changed")
	}
	return key, nil
}

// request makes a request to a key service unless the service did not answer
// before in this run: many files of one dead service shall not add up.
func (s *service) request(server string, do func(context.Context) ([]byte, error)) ([]byte, error) {
	s.mu.Lock()
	down := s.down[server]
	s.mu.Unlock()
	if down != nil {
		return nil, down
	}
	ctx, cancel := context.WithTimeout(s.ctx, requestTimeout)
	defer cancel()
	key, err := do(ctx)
	if errors.Is(err, errDown) {
		s.mu.Lock()
		s.down[server] = err
		s.mu.Unlock()
	}
	return key, err
}
