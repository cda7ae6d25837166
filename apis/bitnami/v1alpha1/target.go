package v1alpha1

import "k8s.io/apimachinery/pkg/types"

// TargetStatus is the Secret as the controller last wrote it, and what it was
// made from: with it, a restart opens and writes nothing, and an edit by
// someone else is told from our own write without a read of its values.
type TargetStatus struct {
	// uid of the Secret.
	UID types.UID `json:"uid"`

	// resourceVersion of the Secret.
	ResourceVersion string `json:"resourceVersion"`

	// generation of the SealedSecret that it was made from.
	Generation int64 `json:"generation"`

	// scope that it was opened with. It is an annotation of the SealedSecret,
	// which no generation counts.
	Scope string `json:"scope"`

	// key is the fingerprint of the sealing key that opened it. Where the items
	// were sealed with several, it is the one that opened the first by name.
	// +optional
	Key string `json:"key,omitempty"`

	// keys are the sealing keys that opened the items, when there are several,
	// with how many items each. The number of items of one key alone is that of
	// spec.encryptedData.
	// +optional
	Keys []KeyUse `json:"keys,omitempty"`

	// owned says that the Secret is owned by the SealedSecret. One that is not
	// is not made again when someone deletes it.
	// +optional
	Owned bool `json:"owned,omitempty"`
}

// KeyUse is how much was sealed with one key.
type KeyUse struct {
	// key is the fingerprint of the sealing key.
	Key string `json:"key"`
	// items is how many items it opened.
	Items int32 `json:"items"`
}

// Uses returns the sealing keys that opened the items of s, as its status
// remembers them: none if it was not opened yet.
func (s *SealedSecret) Uses() []KeyUse {
	switch t := s.Status.Target; {
	case t == nil || t.Key == "":
		return nil
	case len(t.Keys) > 0:
		return t.Keys
	default:
		return []KeyUse{{Key: t.Key, Items: int32(min(len(s.Spec.EncryptedData), 1<<30))}}
	}
}
