package generators

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"

	genv1 "github.com/lockstep-dev/lockstep/apis/generators/v1alpha1"
	"github.com/lockstep-dev/lockstep/providers"
)

// sshKey makes a private key in the form of OpenSSH, and the line of
// authorized_keys for it.
func sshKey(spec *genv1.SSHKeySpec) (providers.Made, error) {
	key, err := newKey(spec.KeyType, spec.KeySize)
	if err != nil {
		return providers.Made{}, err
	}
	if strings.ContainsAny(spec.Comment, "\r\n") {
		return providers.Made{}, fmt.Errorf("spec.comment: %w: it must be one line", ErrInvalid)
	}
	block, err := ssh.MarshalPrivateKey(key, spec.Comment)
	if err != nil {
		return providers.Made{}, fmt.Errorf("%w: the key cannot be written", ErrInvalid)
	}
	public, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		return providers.Made{}, fmt.Errorf("%w: the public key cannot be written", ErrInvalid)
	}
	line := strings.TrimSuffix(string(ssh.MarshalAuthorizedKey(public)), "\n")
	if spec.Comment != "" {
		line += " " + spec.Comment
	}
	return providers.Made{Values: map[string]providers.Value{
		"privateKey": providers.NewValue(pem.EncodeToMemory(block)), "publicKey": providers.NewValue([]byte(line)),
	}}, nil
}

func newKey(kind string, size *int) (crypto.Signer, error) {
	bits := 0
	if size != nil {
		bits = *size
	}
	refused := func(sizes string) error {
		return fmt.Errorf("spec.keySize: %w: %d bits, want %s", ErrInvalid, bits, sizes)
	}
	switch kind {
	case "", "rsa":
		if bits == 0 {
			bits = 2048
		}
		if bits < 2048 || bits > 8192 {
			return nil, refused("2048 to 8192")
		}
		return rsa.GenerateKey(rand.Reader, bits)
	case "ecdsa":
		curve, ok := map[int]elliptic.Curve{0: elliptic.P256(), 256: elliptic.P256(), 384: elliptic.P384(), 521: elliptic.P521()}[bits]
		if !ok {
			return nil, refused("256, 384 or 521")
		}
		return ecdsa.GenerateKey(curve, rand.Reader)
	case "ed25519":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	default:
		return nil, fmt.Errorf("spec.keyType: %w: %q is none of rsa, ecdsa and ed25519", ErrInvalid, kind)
	}
}
