package decrypt

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"path"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"sigs.k8s.io/yaml"
)

// The keys of a Secret, besides *.agekey and *.asc. They are Flux's, but for
// ca.crt: the authority of a private Vault or OpenBao.
const (
	vaultToken = "sops.vault-token" //nolint:gosec // G101: a name
	awsKeys    = "sops.aws-kms"
	gcpKey     = "sops.gcp-kms"
	azureKey   = "sops.azure-kv"
	vaultCA    = "ca.crt"
)

// Keys are what opens files. They are never shown.
type Keys struct {
	age   []age.Identity
	pgp   openpgp.EntityList
	vault string
	ca    *x509.CertPool
	aws   aws.CredentialsProvider
	gcp   []byte
	azure *azureIdentity

	// Identity is the ServiceAccount that stands in for the clouds' static
	// credentials. Nil: there is none.
	Identity *Identity
}

// Identity is a ServiceAccount of the cluster that a cloud trusts.
type Identity struct {
	Name        string // NAMESPACE/NAME
	Annotations map[string]string
	// Token makes a token of the account for an audience.
	Token func(ctx context.Context, audience string) (string, error)
}

// String keeps keys out of logs.
func (*Keys) String() string { return "[keys]" }

// GoString keeps keys out of logs.
func (*Keys) GoString() string { return "[keys]" }

// ParseKeys reads the keys that a Secret holds. Its errors name the key of the
// Secret, never a value.
func ParseKeys(data map[string]string) (*Keys, error) {
	k := &Keys{}
	found := false
	for name, value := range data {
		known, err := k.add(name, value)
		if err != nil {
			return nil, fmt.Errorf("key %q: %w", name, err)
		}
		found = found || known
	}
	if !found {
		return nil, fmt.Errorf("none of its keys is one that is looked for: *.agekey, *.asc, %s, %s, %s or %s", vaultToken, awsKeys, gcpKey, azureKey)
	}
	return k, nil
}

// AddAge adds the age identities of a Secret that the platform owner keeps for
// all: its *.agekey. Whatever else is in it is left alone.
func (k *Keys) AddAge(data map[string]string) error {
	found := false
	for name, value := range data {
		if path.Ext(name) != ".agekey" {
			continue
		}
		if err := k.addAge(value); err != nil {
			return fmt.Errorf("key %q: %w", name, err)
		}
		found = true
	}
	if !found {
		return fmt.Errorf("none of its keys ends in .agekey")
	}
	return nil
}

func (k *Keys) add(name, value string) (known bool, err error) {
	switch {
	case path.Ext(name) == ".agekey":
		return true, k.addAge(value)
	case path.Ext(name) == ".asc":
		return true, k.addPGP(value)
	case name == vaultToken:
		k.vault = strings.TrimSpace(value)
		return true, nil
	case name == awsKeys:
		return true, k.addAWS(value)
	case name == gcpKey:
		return true, k.addGCP(value)
	case name == azureKey:
		return true, k.addAzure(value)
	case name == vaultCA:
		k.ca = x509.NewCertPool()
		if !k.ca.AppendCertsFromPEM([]byte(value)) {
			return false, fmt.Errorf("no PEM certificate in it")
		}
	}
	return false, nil
}

// addAge takes identities of age, X25519 and post-quantum hybrid ones, one a
// line, or an SSH private key.
func (k *Keys) addAge(text string) error {
	if strings.Contains(text, "-----BEGIN ") {
		id, err := agessh.ParseIdentity([]byte(text))
		if err != nil {
			return fmt.Errorf("no SSH private key of type ed25519 or RSA without a passphrase")
		}
		k.age = append(k.age, id)
		return nil
	}
	ids, err := age.ParseIdentities(strings.NewReader(text))
	if err != nil {
		return fmt.Errorf("no age identities: want lines that begin with AGE-SECRET-KEY-1 or AGE-SECRET-KEY-PQ-1")
	}
	k.age = append(k.age, ids...)
	return nil
}

// addPGP takes armored private keys.
func (k *Keys) addPGP(text string) error {
	ring, err := openpgp.ReadArmoredKeyRing(strings.NewReader(text))
	if err != nil {
		return fmt.Errorf("no armored PGP key: export it with gpg --export-secret-keys --armor")
	}
	for _, e := range ring {
		if e.PrivateKey == nil {
			return fmt.Errorf("PGP key %X has no private part: export it with gpg --export-secret-keys --armor", e.PrimaryKey.Fingerprint)
		}
		for _, sub := range e.Subkeys {
			if sub.PrivateKey != nil && sub.PrivateKey.Encrypted {
				return fmt.Errorf("PGP key %X has a passphrase: export it without", e.PrimaryKey.Fingerprint)
			}
		}
	}
	k.pgp = append(k.pgp, ring...)
	return nil
}

func (k *Keys) addAWS(text string) error {
	var c struct {
		ID     string `json:"aws_access_key_id"`
		Secret string `json:"aws_secret_access_key"`
		Token  string `json:"aws_session_token"`
	}
	if yaml.Unmarshal([]byte(text), &c) != nil || c.ID == "" || c.Secret == "" {
		return fmt.Errorf("want YAML with aws_access_key_id, aws_secret_access_key and, for a session, aws_session_token")
	}
	k.aws = credentials.NewStaticCredentialsProvider(c.ID, c.Secret, c.Token)
	return nil
}

// addGCP takes the key of a service account, and no other kind of credentials
// file: those name programs to run and addresses to fetch tokens from.
func (k *Keys) addGCP(text string) error {
	var c struct {
		Type  string `json:"type"`
		Email string `json:"client_email"`
	}
	if yaml.Unmarshal([]byte(text), &c) != nil || c.Type != "service_account" || c.Email == "" {
		return fmt.Errorf("want the JSON key file of a service account (type: service_account)")
	}
	k.gcp = bytes.TrimSpace([]byte(text))
	return nil
}
