package v1alpha1

import (
	"encoding/json"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// Annotations of Sealed Secrets. Each means something only if its value is
// exactly "true".
const (
	// AnnotationClusterWide and AnnotationNamespaceWide, on a SealedSecret, say
	// with which scope it was sealed; with none it is strict, and with both,
	// cluster-wide.
	AnnotationClusterWide   = "sealedsecrets.bitnami.com/cluster-wide"
	AnnotationNamespaceWide = "sealedsecrets.bitnami.com/namespace-wide"

	// AnnotationManaged, on a Secret that is already there, lets a SealedSecret
	// take it over.
	AnnotationManaged = "sealedsecrets.bitnami.com/managed"

	// AnnotationPatch, on a Secret that is already there, lets a SealedSecret
	// add to it.
	AnnotationPatch = "sealedsecrets.bitnami.com/patch"

	// AnnotationSkipSetOwnerReferences, in the template, keeps the Secret when
	// the SealedSecret is deleted.
	AnnotationSkipSetOwnerReferences = "sealedsecrets.bitnami.com/skip-set-owner-references"
)

// LabelSealingKey, on the Secrets that hold sealing keys, is the state of the
// key: active, or one of the others for a key that opens only to re-seal.
const (
	LabelSealingKey            = "sealedsecrets.bitnami.com/sealed-secrets-key"
	LabelSealingKeyActive      = "active"
	LabelSealingKeyRetired     = "retired"
	LabelSealingKeyCompromised = "compromised"
)

// SealedSecret is a Secret whose values only the cluster can open.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=sealedsecrets
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Status",type="string",JSONPath=".status.conditions[0].message"
// +kubebuilder:printcolumn:name="Synced",type="string",JSONPath=".status.conditions[0].status"
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp"
type SealedSecret struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec SealedSecretSpec `json:"spec"`
	// +optional
	Status SealedSecretStatus `json:"status,omitzero"`
}

// SealedSecretList is a list of SealedSecrets.
//
// +kubebuilder:object:root=true
type SealedSecretList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []SealedSecret `json:"items"`
}

// SealedSecretSpec says what the Secret holds.
type SealedSecretSpec struct {
	// template is what the Secret looks like, but for the sealed values. Its
	// metadata has no name and namespace of its own: they are those of the
	// SealedSecret.
	// +optional
	Template SecretTemplateSpec `json:"template,omitempty"`

	// data is a whole Secret, sealed at once, as Sealed Secrets did before v0.8.
	// It is refused: seal the Secret again, and it comes out as encryptedData.
	// +optional
	Data []byte `json:"data,omitempty"`

	// encryptedData is the sealed value of each item of the Secret.
	// +required
	EncryptedData EncryptedData `json:"encryptedData"`
}

// EncryptedData is the sealed value of each item, in base64.
//
// +kubebuilder:pruning:PreserveUnknownFields
type EncryptedData map[string]string

// UnmarshalJSON implements json.Unmarshaler. What is not a string becomes the
// empty string, which no key opens: one wrong item must neither keep the
// controller from reading all the others, nor vanish in silence.
func (d *EncryptedData) UnmarshalJSON(text []byte) error {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(text, &raw); err != nil {
		return err
	}
	*d = make(EncryptedData, len(raw))
	for item, value := range raw {
		var s string
		if json.Unmarshal(value, &s) != nil {
			s = ""
		}
		(*d)[item] = s
	}
	return nil
}

// SecretTemplateSpec is what a Secret looks like, but for its sealed values.
type SecretTemplateSpec struct {
	// metadata holds the labels and annotations of the Secret.
	// +optional
	// +nullable
	// +kubebuilder:pruning:PreserveUnknownFields
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// type of the Secret. Default: Opaque.
	// +optional
	Type corev1.SecretType `json:"type,omitempty"`

	// immutable keeps the Secret from being changed. It can only be deleted and
	// made again.
	// +optional
	Immutable *bool `json:"immutable,omitempty"`

	// data are further items: Go templates, in which each item of encryptedData
	// and data is a field. One that is null removes the sealed item of its name
	// from the Secret, where it is only an ingredient.
	// +optional
	// +nullable
	Data map[string]*string `json:"data,omitempty"`

	// MalformedMetadata says that there is a metadata which is none. The schema
	// takes anything there, as that of Sealed Secrets does.
	MalformedMetadata bool `json:"-"`
}

// UnmarshalJSON implements json.Unmarshaler. A metadata with a label that is a
// number, say, is left out and remembered: one wrong object must not keep the
// controller from reading all the others, in every namespace.
func (t *SecretTemplateSpec) UnmarshalJSON(text []byte) error {
	type plain SecretTemplateSpec // without this method
	if err := utiljson.Unmarshal(text, (*plain)(t)); err == nil {
		return nil
	}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(text, &fields); err != nil {
		return err
	}
	delete(fields, "metadata")
	rest, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	*t = SecretTemplateSpec{MalformedMetadata: true}
	return utiljson.Unmarshal(rest, (*plain)(t))
}

// SealedSecretStatus is what became of a SealedSecret.
type SealedSecretStatus struct {
	// observedGeneration is the generation that the conditions speak of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions: Synced, which is the first, then Ready.
	// +optional
	Conditions []Condition `json:"conditions,omitempty"`

	// target is the Secret as the controller last wrote it.
	// +optional
	Target *TargetStatus `json:"target,omitempty"`
}

// Condition is a condition in the form of Sealed Secrets.
type Condition struct {
	// type of the condition.
	Type string `json:"type"`
	// status is True, False or Unknown.
	Status corev1.ConditionStatus `json:"status"`
	// lastUpdateTime is when this was last written.
	// +optional
	LastUpdateTime metav1.Time `json:"lastUpdateTime,omitzero"`
	// lastTransitionTime is when status last changed.
	// +optional
	LastTransitionTime metav1.Time `json:"lastTransitionTime,omitzero"`
	// reason is one word for programs.
	// +optional
	Reason string `json:"reason,omitempty"`
	// message is for people.
	// +optional
	Message string `json:"message,omitempty"`
}
