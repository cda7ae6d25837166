package generators

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	genv1 "github.com/lockstep-dev/lockstep/apis/generators/v1alpha1"
	"github.com/lockstep-dev/lockstep/providers"
)

func TestPassword(t *testing.T) {
	cases := map[string]struct {
		reason string
		spec   genv1.PasswordSpec
		want   map[string]string // expressions by key
		err    error
	}{
		"Default":   {reason: "24 characters, a quarter of them digits and symbols each.", want: map[string]string{"password": `^.{24}$`}},
		"Letters":   {reason: "Letters only.", spec: genv1.PasswordSpec{Length: 20, Digits: new(int), Symbols: new(int)}, want: map[string]string{"password": `^[a-zA-Z]{20}$`}},
		"Lower":     {reason: "Without capitals.", spec: genv1.PasswordSpec{Length: 20, Digits: new(int), Symbols: new(int), NoUpper: true}, want: map[string]string{"password": `^[a-z]{20}$`}},
		"Symbols":   {reason: "Of one's own.", spec: genv1.PasswordSpec{Length: 4, Digits: new(int), Symbols: new(4), SymbolCharacters: new("-_"), AllowRepeat: true}, want: map[string]string{"password": `^[-_]{4}$`}},
		"Keys":      {reason: "Several.", spec: genv1.PasswordSpec{SecretKeys: []string{"a", "b"}}, want: map[string]string{"a": `^.{24}$`, "b": `^.{24}$`}},
		"Hex":       {reason: "Encoded.", spec: genv1.PasswordSpec{Length: 4, Encoding: new("hex")}, want: map[string]string{"password": `^[0-9a-f]{8}$`}},
		"Base64":    {reason: "Encoded.", spec: genv1.PasswordSpec{Length: 3, Encoding: new("base64")}, want: map[string]string{"password": `^.{4}$`}},
		"TooMany":   {reason: "More digits than characters.", spec: genv1.PasswordSpec{Length: 4, Digits: new(5)}, err: ErrInvalid},
		"NoRepeat":  {reason: "More digits than there are.", spec: genv1.PasswordSpec{Length: 30, Digits: new(11)}, err: ErrInvalid},
		"NoSymbols": {reason: "Symbols of none.", spec: genv1.PasswordSpec{Length: 8, SymbolCharacters: new(""), AllowRepeat: true}, err: ErrInvalid},
		"Twice":     {reason: "The same key twice.", spec: genv1.PasswordSpec{SecretKeys: []string{"a", "a"}}, err: ErrInvalid},
		"Encoding":  {reason: "An encoding that is none.", spec: genv1.PasswordSpec{Encoding: new("rot13")}, err: ErrInvalid},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := passwords(&tc.spec)
			if !errors.Is(err, tc.err) {
				t.Fatalf("%s\ngot %v, want %v", tc.reason, err, tc.err)
			}
			if len(got.Values) != len(tc.want) {
				t.Errorf("%s\ngot %d passwords, want %d", tc.reason, len(got.Values), len(tc.want))
			}
			for key, expression := range tc.want {
				if !regexp.MustCompile(expression).Match(got.Values[key].Bytes()) {
					t.Errorf("%s\n%s: got %q, want %s", tc.reason, key, got.Values[key].Bytes(), expression)
				}
			}
			if again, _ := passwords(&tc.spec); tc.err == nil && tc.want["password"] == `^.{24}$` && again.Values["password"].Equal(got.Values["password"]) {
				t.Error("the same password twice")
			}
		})
	}
}

func TestUUIDAndFake(t *testing.T) {
	g := &Generators{}
	got, err := g.make(t.Context(), genv1.UUIDKind, &genv1.UUIDSpec{}, providers.Config{})
	if v := got.Values["uuid"].Bytes(); err != nil || !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).Match(v) {
		t.Errorf("got %q, %v, want a UUID of version 4", v, err)
	}
	got, err = g.make(t.Context(), genv1.FakeKind, &genv1.FakeSpec{Data: map[string]string{"a": "b"}}, providers.Config{})
	if v := got.Values["a"].Bytes(); err != nil || string(v) != "b" {
		t.Errorf("got %q, %v, want what stands in it", v, err)
	}
	if _, err := g.make(t.Context(), "Other", nil, providers.Config{}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("got %v, want ErrUnsupported", err)
	}
}

// TestRetries tries again at once what may pass, as often as the spec says.
func TestRetries(t *testing.T) {
	calls, end := 0, providers.ErrUnavailable
	g := &Generators{Backends: providers.Generators{genv1.VaultDynamicSecretKind: func(context.Context, any, providers.Config) (providers.Made, error) {
		calls++
		return providers.Made{}, end
	}}}
	for name, tc := range map[string]struct {
		settings *esv1.RetrySettings
		end      error
		want     int
	}{
		"None":    {nil, providers.ErrUnavailable, 1},
		"Two":     {&esv1.RetrySettings{MaxRetries: new(int32(2)), RetryInterval: new("1ms")}, providers.ErrUnavailable, 3},
		"Denied":  {&esv1.RetrySettings{MaxRetries: new(int32(2)), RetryInterval: new("1ms")}, providers.ErrDenied, 1},
		"Invalid": {&esv1.RetrySettings{RetryInterval: new("soon")}, providers.ErrInvalid, 0},
	} {
		t.Run(name, func(t *testing.T) {
			calls, end = 0, tc.end
			_, err := g.make(t.Context(), genv1.VaultDynamicSecretKind, &genv1.VaultDynamicSecretSpec{RetrySettings: tc.settings}, providers.Config{})
			if !errors.Is(err, tc.end) || calls != tc.want {
				t.Errorf("%d calls, %v, want %d and %v", calls, err, tc.want, tc.end)
			}
		})
	}
}

func TestSSHKey(t *testing.T) {
	for name, tc := range map[string]struct {
		spec genv1.SSHKeySpec
		want string // begin of the public key
		err  error
	}{
		"Default":  {want: "ssh-rsa "},
		"ECDSA":    {spec: genv1.SSHKeySpec{KeyType: "ecdsa", KeySize: new(384), Comment: "me@here"}, want: "ecdsa-sha2-nistp384 "},
		"Ed25519":  {spec: genv1.SSHKeySpec{KeyType: "ed25519"}, want: "ssh-ed25519 "},
		"Small":    {spec: genv1.SSHKeySpec{KeySize: new(1024)}, err: ErrInvalid},
		"Curve":    {spec: genv1.SSHKeySpec{KeyType: "ecdsa", KeySize: new(300)}, err: ErrInvalid},
		"Kind":     {spec: genv1.SSHKeySpec{KeyType: "dsa"}, err: ErrInvalid},
		"TwoLines": {spec: genv1.SSHKeySpec{KeyType: "ed25519", Comment: "a\nb"}, err: ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := sshKey(&tc.spec)
			if !errors.Is(err, tc.err) {
				t.Fatalf("got %v, want %v", err, tc.err)
			}
			if err != nil {
				return
			}
			key, err := ssh.ParsePrivateKey(got.Values["privateKey"].Bytes())
			if err != nil {
				t.Fatal(err)
			}
			line := got.Values["publicKey"].Bytes()
			public, comment, _, _, err := ssh.ParseAuthorizedKey(line)
			if err != nil || comment != tc.spec.Comment || string(public.Marshal()) != string(key.PublicKey().Marshal()) || !strings.HasPrefix(string(line), tc.want) {
				t.Errorf("got %s, %q, %v", line, comment, err)
			}
		})
	}
}
