package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ExternalSecret copies values out of a store into a Secret.
// +kubebuilder:object:root=true
// +kubebuilder:storageversion
// +kubebuilder:subresource:status
// +kubebuilder:metadata:labels="external-secrets.io/component=controller"
// +kubebuilder:resource:scope=Namespaced,categories={external-secrets},shortName=es
// +kubebuilder:selectablefield:JSONPath=`.spec.secretStoreRef.name`
// +kubebuilder:selectablefield:JSONPath=`.spec.secretStoreRef.kind`
// +kubebuilder:selectablefield:JSONPath=`.spec.target.name`
// +kubebuilder:selectablefield:JSONPath=`.spec.refreshInterval`
// +kubebuilder:printcolumn:name="StoreType",type=string,JSONPath=`.spec.secretStoreRef.kind`
// +kubebuilder:printcolumn:name="Store",type=string,JSONPath=`.spec.secretStoreRef.name`
// +kubebuilder:printcolumn:name="Refresh Interval",type=string,JSONPath=`.spec.refreshInterval`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Last Sync",type=date,JSONPath=`.status.refreshTime`
type ExternalSecret struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec ExternalSecretSpec `json:"spec,omitzero"`
	// +optional
	Status ExternalSecretStatus `json:"status,omitzero"`
}

// ExternalSecretList is a list of ExternalSecrets.
// +kubebuilder:object:root=true
type ExternalSecretList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ExternalSecret `json:"items"`
}

// ExternalSecretSpec says what to read, and where to put it.
// +kubebuilder:validation:XValidation:rule="has(self.data) && size(self.data) > 0 || has(self.dataFrom) && size(self.dataFrom) > 0",message="set data or dataFrom: there is nothing to read"
type ExternalSecretSpec struct {
	// secretStoreRef is the store to read from, unless an entry says otherwise.
	// +optional
	SecretStoreRef SecretStoreRef `json:"secretStoreRef,omitzero"`

	// target is the Secret to write. Empty: one with the name of this object.
	// +optional
	Target Target `json:"target,omitzero"`

	// refreshPolicy says when to read again. Empty: Periodic.
	// +optional
	RefreshPolicy RefreshPolicy `json:"refreshPolicy,omitempty"`

	// refreshInterval is the time between two reads, as a Go duration such as
	// 2h30m. Empty: 1h. 0 does not read again on its own.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="duration(self) < duration('2562047h')",message="must be a duration such as 1h or 2h30m"
	RefreshInterval *metav1.Duration `json:"refreshInterval,omitempty"`

	// syncWindows limits when reads happen. Empty: at any time.
	// +optional
	SyncWindows *SyncWindows `json:"syncWindows,omitempty"`

	// data are single values.
	// +optional
	Data []ExternalSecretData `json:"data,omitempty"`

	// dataFrom are sets of values. They are read before data, in order, and
	// what comes later wins.
	// +optional
	DataFrom []DataFrom `json:"dataFrom,omitempty"`
}

// RefreshPolicy says when an ExternalSecret is read again.
// +kubebuilder:validation:Enum=CreatedOnce;Periodic;OnChange
type RefreshPolicy string

// When to read again.
const (
	RefreshCreatedOnce RefreshPolicy = "CreatedOnce" // never, once the Secret is there
	RefreshPeriodic    RefreshPolicy = "Periodic"    // every refreshInterval
	RefreshOnChange    RefreshPolicy = "OnChange"    // when this object's spec, labels or annotations change
)

// SecretStoreRef names a store.
type SecretStoreRef struct {
	// name of the store.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	Name string `json:"name,omitempty"`

	// kind of the store. Empty: SecretStore.
	// +optional
	// +kubebuilder:validation:Enum=SecretStore;ClusterSecretStore
	Kind string `json:"kind,omitempty"`
}

// SyncWindows limits when an ExternalSecret is read.
type SyncWindows struct {
	// kind says whether reads happen inside the windows only, or outside only.
	// +kubebuilder:validation:Enum=allow;deny
	Kind string `json:"kind"`

	// windows are the times.
	// +kubebuilder:validation:MinItems=1
	Windows []SyncWindow `json:"windows"`
}

// SyncWindow is a recurring span of time, in UTC.
type SyncWindow struct {
	// schedule is when it opens: cron with five fields, or a descriptor such
	// as @daily.
	// +kubebuilder:validation:MinLength=1
	Schedule string `json:"schedule"`

	// duration is how long it stays open, as a Go duration.
	Duration string `json:"duration"`
}

// ExternalSecretData is one value and the key that it gets.
type ExternalSecretData struct {
	// secretKey is the key in the Secret.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	SecretKey string `json:"secretKey"`

	// remoteRef is the value in the store.
	RemoteRef RemoteRef `json:"remoteRef"`

	// sourceRef is another store than spec.secretStoreRef.
	// +optional
	SourceRef *SourceRef `json:"sourceRef,omitempty"`
}

// RemoteRef names a value in a store.
type RemoteRef struct {
	// key is the name of the secret in the store.
	Key string `json:"key"`

	// metadataPolicy Fetch reads the tags or labels of the secret in place of
	// its value. Empty: None.
	// +optional
	// +kubebuilder:validation:Enum=None;Fetch
	MetadataPolicy string `json:"metadataPolicy,omitempty"`

	// property is a path into the secret, which is JSON. Empty: all of it.
	// +optional
	Property string `json:"property,omitempty"`

	// version of the secret; each provider has its own spelling. Empty: the
	// newest.
	// +optional
	Version string `json:"version,omitempty"`

	Conversion `json:",inline"`
}

// Conversion says what happens to names and values on their way.
type Conversion struct {
	// conversionStrategy is what becomes of characters that a Secret's key
	// must not have: _ (Default), or _Uxxxx_ (Unicode). Empty: Default.
	// +optional
	// +kubebuilder:validation:Enum=Default;Unicode
	ConversionStrategy string `json:"conversionStrategy,omitempty"`

	// decodingStrategy decodes the value. Empty: None.
	// +optional
	DecodingStrategy DecodingStrategy `json:"decodingStrategy,omitempty"`

	// nullBytePolicy Fail refuses values with a zero byte. Empty: Ignore.
	// +optional
	// +kubebuilder:validation:Enum=Ignore;Fail
	NullBytePolicy string `json:"nullBytePolicy,omitempty"`
}

// Values of RemoteRef and Conversion.
const (
	MetadataPolicyNone  = "None"
	MetadataPolicyFetch = "Fetch"

	ConversionDefault = "Default"
	ConversionUnicode = "Unicode"

	NullByteIgnore = "Ignore"
	NullByteFail   = "Fail"
)

// DecodingStrategy says how a value is decoded.
// +kubebuilder:validation:Enum=Auto;Base64;Base64URL;None
type DecodingStrategy string

// How to decode a value.
const (
	DecodeNone      DecodingStrategy = "None"
	DecodeBase64    DecodingStrategy = "Base64"
	DecodeBase64URL DecodingStrategy = "Base64URL"
	DecodeAuto      DecodingStrategy = "Auto" // whichever of the others fits first
)
