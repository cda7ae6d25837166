package v1

import (
	corev1 "k8s.io/api/core/v1"
)

// Target is the Secret that an ExternalSecret writes.
// +kubebuilder:validation:XValidation:rule="!(has(self.deletionPolicy) && self.deletionPolicy == 'Delete' && has(self.creationPolicy) && self.creationPolicy in ['Merge', 'CreateOrMerge', 'None'])",message="deletionPolicy Delete needs a Secret of its own: set creationPolicy to Owner"
// +kubebuilder:validation:XValidation:rule="!(has(self.deletionPolicy) && self.deletionPolicy == 'Merge' && has(self.creationPolicy) && self.creationPolicy == 'None')",message="deletionPolicy Merge has nothing to work on with creationPolicy None"
type Target struct {
	// name of the Secret. Empty: that of the ExternalSecret.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	Name string `json:"name,omitempty"`

	// creationPolicy says whose the Secret is. Empty: Owner.
	// +optional
	CreationPolicy CreationPolicy `json:"creationPolicy,omitempty"`

	// deletionPolicy says what happens to the Secret when the store no longer
	// has the values. Empty: Retain.
	// +optional
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`

	// template is the form of the Secret. Empty: its keys are the values.
	// +optional
	Template *Template `json:"template,omitempty"`

	// manifest is another kind of object to write than a Secret.
	// +optional
	Manifest *Manifest `json:"manifest,omitempty"`

	// immutable makes the Secret immutable.
	// +optional
	Immutable bool `json:"immutable,omitempty"`
}

// CreationPolicy says whose the target is.
// +kubebuilder:validation:Enum=Owner;Orphan;Merge;None;CreateOrMerge
type CreationPolicy string

// Whose the target is.
const (
	CreateOwner   CreationPolicy = "Owner"         // made by the ExternalSecret, and deleted with it
	CreateOrphan  CreationPolicy = "Orphan"        // made by it, and left behind
	CreateMerge   CreationPolicy = "Merge"         // someone else's, to which keys are added
	CreateNone    CreationPolicy = "None"          // no Secret is written
	CreateOrMerge CreationPolicy = "CreateOrMerge" // as Merge, but made where it is missing
)

// DeletionPolicy says what happens to the target when the store no longer has
// the values.
// +kubebuilder:validation:Enum=Delete;Merge;Retain
type DeletionPolicy string

// What happens when the store no longer has the values.
const (
	DeletionDelete DeletionPolicy = "Delete" // the Secret goes when all values are gone
	DeletionMerge  DeletionPolicy = "Merge"  // the keys go, the Secret stays
	DeletionRetain DeletionPolicy = "Retain" // everything stays; a missing value is an error
)

// Manifest is a kind of object.
type Manifest struct {
	// apiVersion of the object.
	// +kubebuilder:validation:MinLength=1
	APIVersion string `json:"apiVersion"`
	// kind of the object.
	// +kubebuilder:validation:MinLength=1
	Kind string `json:"kind"`
}

// Template is the form of the target.
type Template struct {
	// type of the Secret. Empty: Opaque.
	// +optional
	Type corev1.SecretType `json:"type,omitempty"`

	// engineVersion of the templates. Empty: v2, the only one.
	// +optional
	// +kubebuilder:validation:Enum=v2
	EngineVersion string `json:"engineVersion,omitempty"`

	// metadata of the Secret; its values are templates.
	// +optional
	Metadata TemplateMetadata `json:"metadata,omitzero"`

	// mergePolicy Merge adds the values to the keys that the templates make;
	// Replace leaves them out. Empty: Replace.
	// +optional
	// +kubebuilder:validation:Enum=Replace;Merge
	MergePolicy string `json:"mergePolicy,omitempty"`

	// data are templates by key.
	// +optional
	Data map[string]string `json:"data,omitempty"`

	// templateFrom are templates that are kept elsewhere.
	// +optional
	TemplateFrom []TemplateFrom `json:"templateFrom,omitempty"`
}

// What becomes of values that no template uses.
const (
	MergePolicyReplace = "Replace"
	MergePolicyMerge   = "Merge"
)

// TemplateMetadata is what a target gets besides its data.
type TemplateMetadata struct {
	// annotations of the target.
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`
	// labels of the target.
	// +optional
	Labels map[string]string `json:"labels,omitempty"`
	// finalizers of the target.
	// +optional
	Finalizers []string `json:"finalizers,omitempty"`
}

// TemplateFrom is where templates come from.
type TemplateFrom struct {
	// configMap holds templates.
	// +optional
	ConfigMap *TemplateRef `json:"configMap,omitempty"`

	// secret holds templates.
	// +optional
	Secret *TemplateRef `json:"secret,omitempty"`

	// target is what the templates make: Data, Annotations or Labels, in any
	// case. Empty: Data.
	// +optional
	Target string `json:"target,omitempty"`

	// literal is a template that makes a YAML map of keys and values.
	// +optional
	Literal *string `json:"literal,omitempty"`

	// valuesDecodingStrategy decodes the values that the templates make.
	// Empty: None.
	// +optional
	ValuesDecodingStrategy DecodingStrategy `json:"valuesDecodingStrategy,omitempty"`
}

// TemplateRef names a ConfigMap or Secret of the same namespace.
type TemplateRef struct {
	// name of the object.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	Name string `json:"name"`

	// items are the keys to use.
	Items []TemplateRefItem `json:"items"`
}

// TemplateRefItem is a key of a ConfigMap or Secret.
type TemplateRefItem struct {
	// key in the object.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	Key string `json:"key"`

	// templateAs says whether the template makes a value, for the same key
	// (Values), or a YAML map (KeysAndValues). Empty: Values.
	// +optional
	// +kubebuilder:validation:Enum=Values;KeysAndValues
	TemplateAs string `json:"templateAs,omitempty"`
}

// What a template makes.
const (
	TemplateAsValues        = "Values"
	TemplateAsKeysAndValues = "KeysAndValues"

	TemplateTargetData        = "Data"
	TemplateTargetAnnotations = "Annotations"
	TemplateTargetLabels      = "Labels"
)
