package v1

// DataFrom is a set of values: all of one secret, or many secrets.
// +kubebuilder:validation:XValidation:rule="!(has(self.extract) && has(self.find))",message="set extract or find, not both"
// +kubebuilder:validation:XValidation:rule="!(has(self.sourceRef) && has(self.sourceRef.generatorRef) && (has(self.extract) || has(self.find)))",message="a generatorRef goes without extract and find"
type DataFrom struct {
	// extract takes every key of one secret, which is a JSON object.
	// +optional
	Extract *RemoteRef `json:"extract,omitempty"`

	// find takes every secret that it matches.
	// +optional
	Find *Find `json:"find,omitempty"`

	// rewrite changes the keys, step by step.
	// +optional
	Rewrite []Rewrite `json:"rewrite,omitempty"`

	// sourceRef is a generator, or another store than spec.secretStoreRef.
	// +optional
	SourceRef *SourceRef `json:"sourceRef,omitempty"`
}

// Find matches secrets in a store.
type Find struct {
	// path to search below.
	// +optional
	Path *string `json:"path,omitempty"`

	// name is what the names must match.
	// +optional
	Name *FindName `json:"name,omitempty"`

	// tags are what the secrets must have.
	// +optional
	Tags map[string]string `json:"tags,omitempty"`

	Conversion `json:",inline"`
}

// FindName matches names.
type FindName struct {
	// regexp that names match, in Go's syntax.
	// +optional
	RegExp string `json:"regexp,omitempty"`
}

// Rewrite is one step that changes keys.
// +kubebuilder:validation:MinProperties=1
// +kubebuilder:validation:MaxProperties=1
type Rewrite struct {
	// merge takes the keys out of values that are JSON objects.
	// +optional
	Merge *RewriteMerge `json:"merge,omitempty"`

	// regexp replaces what matches.
	// +optional
	Regexp *RewriteRegexp `json:"regexp,omitempty"`

	// transform is a template of the new key.
	// +optional
	Transform *RewriteTransform `json:"transform,omitempty"`
}

// RewriteMerge merges values that are JSON objects.
type RewriteMerge struct {
	// into is the key that the merged object gets, with strategy JSON.
	// +optional
	Into string `json:"into,omitempty"`

	// priority lists keys whose values win, the strongest last.
	// +optional
	Priority []string `json:"priority,omitempty"`

	// priorityPolicy says whether a key in priority may be missing:
	// IgnoreNotFound or Strict. Empty: Strict.
	// +optional
	PriorityPolicy string `json:"priorityPolicy,omitempty"`

	// conflictPolicy says what to do about a key that two values have: Ignore
	// or Error. Empty: Error.
	// +optional
	ConflictPolicy string `json:"conflictPolicy,omitempty"`

	// strategy is Extract, which keeps the keys, or JSON, which makes one value
	// of them. Empty: Extract.
	// +optional
	Strategy string `json:"strategy,omitempty"`
}

// RewriteRegexp replaces what matches source by target.
type RewriteRegexp struct {
	// source is a regular expression in Go's syntax.
	Source string `json:"source"`
	// target may name groups of source, as $1.
	Target string `json:"target"`
}

// RewriteTransform makes keys by a template.
type RewriteTransform struct {
	// template is a Go template; .value is the old key.
	Template string `json:"template"`
}

// SourceRef is a store or a generator.
// +kubebuilder:validation:MinProperties=1
// +kubebuilder:validation:MaxProperties=1
type SourceRef struct {
	// storeRef is a store.
	// +optional
	SecretStoreRef *SecretStoreRef `json:"storeRef,omitempty"`

	// generatorRef is a generator; data cannot use one.
	// +optional
	GeneratorRef *GeneratorRef `json:"generatorRef,omitempty"`
}

// GeneratorRef names an object that makes values up.
type GeneratorRef struct {
	// apiVersion of the generator. Empty: generators.external-secrets.io/v1alpha1.
	// +optional
	APIVersion string `json:"apiVersion,omitempty"`

	// kind of the generator.
	Kind string `json:"kind"`

	// name of the generator.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	Name string `json:"name"`
}
