package reseal

import (
	"crypto/rand"
	"crypto/sha512"
	"encoding/pem"
	"maps"
	"slices"

	"golang.org/x/crypto/ssh"
)

// sshSignature returns a signature as ssh-keygen -Y sign -n git makes it.
//
// Source: https://github.com/openssh/openssh-portable/blob/V_9_9_P1/PROTOCOL.sshsig
func sshSignature(key ssh.Signer, text []byte) (string, error) {
	const namespace, hash = "git", "sha512"
	sum := sha512.Sum512(text)
	signed := append([]byte("SSHSIG"), ssh.Marshal(struct {
		Namespace, Reserved, Hash string
		Sum                       []byte
	}{namespace, "", hash, sum[:]})...)
	signature, err := sign(key, signed)
	if err != nil {
		return "", err
	}
	blob := append([]byte("SSHSIG"), ssh.Marshal(struct {
		Version                   uint32
		Public                    []byte
		Namespace, Reserved, Hash string
		Signature                 []byte
	}{1, key.PublicKey().Marshal(), namespace, "", hash, ssh.Marshal(signature)})...)
	return string(pem.EncodeToMemory(&pem.Block{Type: "SSH SIGNATURE", Bytes: blob})), nil
}

// sign signs with SHA-512 where the key is of RSA: the format allows no SHA-1.
func sign(key ssh.Signer, text []byte) (*ssh.Signature, error) {
	if algorithmic, ok := key.(ssh.AlgorithmSigner); ok && key.PublicKey().Type() == ssh.KeyAlgoRSA {
		return algorithmic.SignWithAlgorithm(rand.Reader, text, ssh.KeyAlgoRSASHA512) //nolint:wrapcheck // the caller says what was signed
	}
	return key.Sign(rand.Reader, text) //nolint:wrapcheck // as above
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
