package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
)

// PushSecret copies values of a Secret into stores.
// +kubebuilder:object:root=true
// +kubebuilder:storageversion
// +kubebuilder:subresource:status
// +kubebuilder:metadata:labels="external-secrets.io/component=controller"
// +kubebuilder:resource:scope=Namespaced,categories={external-secrets},shortName=ps
// +kubebuilder:printcolumn:name="AGE",type="date",JSONPath=".metadata.creationTimestamp"
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Last Sync",type=date,JSONPath=`.status.refreshTime`
type PushSecret struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec PushSecretSpec `json:"spec,omitzero"`
	// +optional
	Status PushSecretStatus `json:"status,omitzero"`
}

// PushSecretList is a list of PushSecrets.
// +kubebuilder:object:root=true
type PushSecretList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []PushSecret `json:"items"`
}

// PushSecretSpec says what to push, and where.
type PushSecretSpec struct {
	// refreshInterval is how often the stores are compared with the Secret, as
	// a Go duration. A change of the Secret is pushed at once. Empty: 1h. 0
	// compares only when something changes here.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	RefreshInterval *metav1.Duration `json:"refreshInterval,omitempty"`

	// secretStoreRefs are the stores to push to.
	SecretStoreRefs []PushSecretStoreRef `json:"secretStoreRefs"`

	// updatePolicy Replace changes what is in the store; IfNotExists leaves it.
	// Empty: Replace.
	// +optional
	// +kubebuilder:validation:Enum=Replace;IfNotExists
	UpdatePolicy string `json:"updatePolicy,omitempty"`

	// deletionPolicy Delete removes from the stores what was pushed when it is
	// no longer asked for; None leaves it. Empty: None.
	// +optional
	// +kubebuilder:validation:Enum=Delete;None
	DeletionPolicy string `json:"deletionPolicy,omitempty"`

	// selector is the source.
	Selector PushSecretSelector `json:"selector"`

	// data are single values.
	// +optional
	Data []PushSecretData `json:"data,omitempty"`

	// dataTo are sets of values.
	// +optional
	DataTo []PushSecretDataTo `json:"dataTo,omitempty"`

	// template changes the values before they are pushed.
	// +optional
	Template *esv1.Template `json:"template,omitempty"`
}

// Values of PushSecretSpec.
const (
	UpdateReplace     = "Replace"
	UpdateIfNotExists = "IfNotExists"

	DeletionDelete = "Delete"
	DeletionNone   = "None"
)

// PushSecretStoreRef names a store, or chooses some by label.
type PushSecretStoreRef struct {
	// name of the store.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	Name string `json:"name,omitempty"`

	// labelSelector chooses stores, those of the namespace only if kind is
	// SecretStore.
	// +optional
	LabelSelector *metav1.LabelSelector `json:"labelSelector,omitempty"`

	// kind of the store. Empty: SecretStore.
	// +optional
	// +kubebuilder:validation:Enum=SecretStore;ClusterSecretStore
	Kind string `json:"kind,omitempty"`
}

// PushSecretSelector is the source: a Secret or a generator.
// +kubebuilder:validation:MinProperties=1
// +kubebuilder:validation:MaxProperties=1
type PushSecretSelector struct {
	// secret is a Secret of the same namespace.
	// +optional
	Secret *PushSecretSecret `json:"secret,omitempty"`

	// generatorRef is a generator.
	// +optional
	GeneratorRef *esv1.GeneratorRef `json:"generatorRef,omitempty"`
}

// PushSecretSecret names a Secret, or chooses some by label.
type PushSecretSecret struct {
	// name of the Secret.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	Name string `json:"name,omitempty"`

	// selector chooses Secrets of the same namespace.
	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
}

// PushSecretData is one value.
type PushSecretData struct {
	// match is what to push, and where.
	Match PushSecretMatch `json:"match"`

	// metadata are settings of the provider.
	// +optional
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	Metadata *runtime.RawExtension `json:"metadata,omitempty"`

	// conversionStrategy ReverseUnicode turns _Uxxxx_ in secretKey back into
	// the character. Empty: None.
	// +optional
	// +kubebuilder:validation:Enum=None;ReverseUnicode
	ConversionStrategy string `json:"conversionStrategy,omitempty"`
}

// Conversions of keys.
const (
	ConversionNone           = "None"
	ConversionReverseUnicode = "ReverseUnicode"
)

// PushSecretMatch is a key and its place in the store.
type PushSecretMatch struct {
	// secretKey is the key of the Secret. Empty: all of it, as a JSON object.
	// +optional
	SecretKey string `json:"secretKey,omitempty"`

	// remoteRef is the place in the store.
	RemoteRef PushSecretRemoteRef `json:"remoteRef"`
}

// PushSecretRemoteRef is a place in a store.
type PushSecretRemoteRef struct {
	// remoteKey is the name of the secret there.
	RemoteKey string `json:"remoteKey"`

	// property of it, if it is a JSON object.
	// +optional
	Property string `json:"property,omitempty"`
}

// PushSecretDataTo is a set of values.
// +kubebuilder:validation:XValidation:rule="has(self.storeRef) && (has(self.storeRef.name) || has(self.storeRef.labelSelector))",message="storeRef must specify either name or labelSelector"
type PushSecretDataTo struct {
	// storeRef is one of spec.secretStoreRefs.
	// +optional
	StoreRef *PushSecretStoreRef `json:"storeRef,omitempty"`

	// remoteKey takes all values together, as one JSON object.
	// +optional
	RemoteKey string `json:"remoteKey,omitempty"`

	// match chooses keys. Empty: all.
	// +optional
	Match *PushSecretDataToMatch `json:"match,omitempty"`

	// rewrite changes the keys, step by step.
	// +optional
	Rewrite []esv1.Rewrite `json:"rewrite,omitempty"`

	// metadata are settings of the provider.
	// +optional
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	Metadata *runtime.RawExtension `json:"metadata,omitempty"`

	// conversionStrategy is as in data.
	// +optional
	// +kubebuilder:validation:Enum=None;ReverseUnicode
	ConversionStrategy string `json:"conversionStrategy,omitempty"`
}

// PushSecretDataToMatch chooses keys.
type PushSecretDataToMatch struct {
	// regexp that keys match. Empty: all.
	// +optional
	RegExp string `json:"regexp,omitempty"`
}

// PushSecretStatus is what became of a PushSecret.
type PushSecretStatus struct {
	// refreshTime is when the stores were last compared with success.
	// +optional
	// +nullable
	RefreshTime *metav1.Time `json:"refreshTime,omitempty"`

	// renewTime is by when what a generator made must be made anew: it ends
	// some time later.
	// +optional
	RenewTime *metav1.Time `json:"renewTime,omitempty"`

	// syncedResourceVersion is the generation, and a hash of the labels and
	// annotations, that was pushed.
	// +optional
	SyncedResourceVersion string `json:"syncedResourceVersion,omitempty"`

	// syncedPushSecrets is what is in the stores: by Kind/name of the store,
	// and by place in it.
	// +optional
	SyncedPushSecrets map[string]map[string]PushSecretData `json:"syncedPushSecrets,omitempty"`

	// conditions: Ready.
	// +optional
	Conditions []esv1.Condition `json:"conditions,omitempty"`

	// sources are the resourceVersions of the Secrets that were pushed.
	// +optional
	Sources string `json:"sources,omitempty"`
}

// Reasons of a PushSecret's Ready condition.
const (
	ReasonSynced        = "Synced"        // the stores hold what the Secret does
	ReasonErrored       = "Errored"       // they do not; the message says why and what to do
	ReasonSourceDeleted = "SourceDeleted" // the Secret is gone, and so is what was pushed, by deletionPolicy Delete
)

// Finalizer is on PushSecrets with deletionPolicy Delete only.
const Finalizer = "pushsecret.externalsecrets.io/finalizer"

// GetConditions returns the conditions in the form of Kubernetes.
func (p *PushSecret) GetConditions() []metav1.Condition {
	return esv1.ToKubernetes(p.Status.Conditions)
}

// SetConditions replaces the conditions; Reconciling and Stalled are left out.
func (p *PushSecret) SetConditions(c []metav1.Condition) {
	p.Status.Conditions = esv1.FromKubernetes(c)
}
