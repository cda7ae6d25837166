package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Password makes random passwords.
// +kubebuilder:object:root=true
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="external-secrets.io/component=controller"
// +kubebuilder:resource:scope=Namespaced,categories={external-secrets,external-secrets-generators}
type Password struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec PasswordSpec `json:"spec,omitzero"`
}

// PasswordList is a list of Passwords.
// +kubebuilder:object:root=true
type PasswordList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Password `json:"items"`
}

// PasswordSpec says what a password is made of.
type PasswordSpec struct {
	// length in characters. Empty: 24.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=4096
	Length int `json:"length,omitempty"`

	// digits is the number of digits. Empty: a quarter of the length.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Digits *int `json:"digits,omitempty"`

	// symbols is the number of symbols. Empty: a quarter of the length.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Symbols *int `json:"symbols,omitempty"`

	// symbolCharacters are the symbols to choose from. Empty: ~!@#$%^&*()_+`-={}|[]\:"<>?,./
	// +optional
	SymbolCharacters *string `json:"symbolCharacters,omitempty"`

	// noUpper leaves out capitals.
	// +optional
	NoUpper bool `json:"noUpper,omitempty"`

	// allowRepeat lets a character come more than once.
	// +optional
	AllowRepeat bool `json:"allowRepeat,omitempty"`

	// secretKeys are the keys of the values, each with a password of its own.
	// Empty: password.
	// +optional
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:MinLength=1
	SecretKeys []string `json:"secretKeys,omitempty"`

	// encoding of the password: raw, base64, base64url, base32 or hex. Empty:
	// raw.
	// +optional
	// +kubebuilder:validation:Enum=base64;base64url;base32;hex;raw
	Encoding *string `json:"encoding,omitempty"`
}

// UUID makes a random UUID, with the key uuid.
// +kubebuilder:object:root=true
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="external-secrets.io/component=controller"
// +kubebuilder:resource:scope=Namespaced,categories={external-secrets,external-secrets-generators}
type UUID struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec UUIDSpec `json:"spec,omitzero"`
}

// UUIDList is a list of UUIDs.
// +kubebuilder:object:root=true
type UUIDList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []UUID `json:"items"`
}

// UUIDSpec has no fields.
type UUIDSpec struct{}

// SSHKey makes a key pair of SSH, with the keys privateKey and publicKey.
// +kubebuilder:object:root=true
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="external-secrets.io/component=controller"
// +kubebuilder:resource:scope=Namespaced,categories={external-secrets,external-secrets-generators}
type SSHKey struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec SSHKeySpec `json:"spec,omitzero"`
}

// SSHKeyList is a list of SSHKeys.
// +kubebuilder:object:root=true
type SSHKeyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []SSHKey `json:"items"`
}

// SSHKeySpec says which kind of key is made.
type SSHKeySpec struct {
	// keyType is rsa, ecdsa or ed25519. Empty: rsa.
	// +optional
	// +kubebuilder:validation:Enum=rsa;ecdsa;ed25519
	KeyType string `json:"keyType,omitempty"`

	// keySize in bits: 2048 to 8192 for rsa (empty: 2048); 256, 384 or 521 for
	// ecdsa (empty: 256). ed25519 has one size only.
	// +optional
	// +kubebuilder:validation:Minimum=256
	// +kubebuilder:validation:Maximum=8192
	KeySize *int `json:"keySize,omitempty"`

	// comment of the public key. Empty: none.
	// +optional
	Comment string `json:"comment,omitempty"`
}

// Fake gives values that stand in it, for tests.
// +kubebuilder:object:root=true
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="external-secrets.io/component=controller"
// +kubebuilder:resource:scope=Namespaced,categories={external-secrets,external-secrets-generators}
type Fake struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec FakeSpec `json:"spec,omitzero"`
}

// FakeList is a list of Fakes.
// +kubebuilder:object:root=true
type FakeList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Fake `json:"items"`
}

// FakeSpec is the values.
type FakeSpec struct {
	// controller is the class of the controller that serves the generator.
	// Empty: any.
	// +optional
	Controller string `json:"controller,omitempty"`

	// data are the values by key.
	// +optional
	Data map[string]string `json:"data,omitempty"`
}
