package v1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Labels, annotations and finalizers of External Secrets Operator, which
// people's tools look for.
const (
	// LabelManaged is "true" on every Secret that an ExternalSecret writes.
	LabelManaged      = "reconcile.external-secrets.io/managed"
	LabelManagedValue = "true"

	// LabelOwner is, on a Secret with creationPolicy Owner, the SHA3-224 in hex
	// of NAMESPACE/NAME of its ExternalSecret.
	LabelOwner = "reconcile.external-secrets.io/created-by"

	// AnnotationDataHash is on Secrets that the peer wrote; ours do not have
	// it, because a plain hash of a secret can be guessed at.
	AnnotationDataHash = "reconcile.external-secrets.io/data-hash"

	// AnnotationForceSync asks for a read now: any new value does.
	AnnotationForceSync = "force-sync"

	// Finalizer is on ExternalSecrets with deletionPolicy Delete only.
	Finalizer = "externalsecrets.external-secrets.io/externalsecret-cleanup"

	// FieldManagerPrefix, followed by the name of the ExternalSecret, owns the
	// fields of the Secret.
	FieldManagerPrefix = "externalsecrets.external-secrets.io/"
)

// Reasons of an ExternalSecret's Ready condition. They are API: scripts match
// them.
const (
	ReasonSecretSynced      = "SecretSynced"      // the Secret holds what the store has
	ReasonSecretSyncedError = "SecretSyncedError" // it does not; the message says why and what to do
	ReasonSecretDeleted     = "SecretDeleted"     // the store has none of the values, and deletionPolicy is Delete
	ReasonSecretMissing     = "SecretMissing"     // creationPolicy Merge, and there is no such Secret
)

// Reasons of the Events of an ExternalSecret.
const (
	EventCreated               = "Created"               // the Secret was made
	EventUpdated               = "Updated"               // the Secret was changed
	EventDeleted               = "Deleted"               // the Secret was deleted, by deletionPolicy Delete
	EventUpdateFailed          = "UpdateFailed"          // the Secret does not hold what the store has
	EventMissingProviderSecret = "MissingProviderSecret" // the store does not have a value
)

// Reasons of a store's Ready condition, and of its Events.
const (
	ReasonStoreValid            = "Valid"                     // the store can be read
	ReasonInvalidStore          = "InvalidStoreConfiguration" // the spec can never work as written
	ReasonInvalidProviderConfig = "InvalidProviderConfig"     // something that the spec refers to is missing or wrong
	ReasonValidationFailed      = "ValidationFailed"          // the service does not let us in, or cannot be reached
	ReasonValidationUnknown     = "ValidationUnknown"         // whether it does cannot be told without a read
)

// Condition is a condition in the form of External Secrets Operator.
type Condition struct {
	// type of the condition.
	Type string `json:"type"`
	// status is True, False or Unknown.
	Status corev1.ConditionStatus `json:"status"`
	// reason is one word for programs.
	// +optional
	Reason string `json:"reason,omitempty"`
	// message is for people.
	// +optional
	Message string `json:"message,omitempty"`
	// lastTransitionTime is when status last changed.
	// +optional
	LastTransitionTime metav1.Time `json:"lastTransitionTime,omitzero"`
}

// ExternalSecretStatus is what became of an ExternalSecret.
type ExternalSecretStatus struct {
	// refreshTime is when the store was last read with success.
	// +optional
	// +nullable
	RefreshTime *metav1.Time `json:"refreshTime,omitempty"`

	// renewTime is by when what a generator made must be made anew: it ends
	// some time later.
	// +optional
	RenewTime *metav1.Time `json:"renewTime,omitempty"`

	// syncedResourceVersion is the generation, and a hash of the labels and
	// annotations, with which the store was last read.
	// +optional
	SyncedResourceVersion string `json:"syncedResourceVersion,omitempty"`

	// conditions: Ready, and Deleted.
	// +optional
	Conditions []Condition `json:"conditions,omitempty"`

	// binding is the Secret, as servicebinding.io looks for it.
	// +optional
	Binding Binding `json:"binding,omitzero"`

	// observedGeneration is the generation that the conditions speak of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// target is the Secret as the controller last wrote it.
	// +optional
	Target *TargetStatus `json:"target,omitempty"`
}

// Binding names a Secret of the same namespace.
type Binding struct {
	// name of the Secret.
	// +optional
	Name string `json:"name,omitempty"`
}

// TargetStatus is a Secret as the controller last wrote it: with it, an edit
// by someone else is told from our own write without a read.
type TargetStatus struct {
	// name of the Secret.
	Name string `json:"name"`
	// uid of the Secret.
	// +optional
	UID types.UID `json:"uid,omitempty"`
	// resourceVersion of the Secret.
	// +optional
	ResourceVersion string `json:"resourceVersion,omitempty"`
	// fingerprint is an HMAC of what was written, under a key of this
	// installation.
	// +optional
	Fingerprint string `json:"fingerprint,omitempty"`
}

// StoreStatus is what became of a store.
type StoreStatus struct {
	// conditions: Ready.
	// +optional
	Conditions []Condition `json:"conditions,omitempty"`

	// capabilities is what can be done with the store: ReadOnly, WriteOnly or
	// ReadWrite.
	// +optional
	Capabilities string `json:"capabilities,omitempty"`

	// observedGeneration is the generation that the conditions speak of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
}

// What can be done with a store.
const (
	CapabilityReadOnly  = "ReadOnly"
	CapabilityWriteOnly = "WriteOnly"
	CapabilityReadWrite = "ReadWrite"
)
