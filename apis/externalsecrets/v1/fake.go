package v1

// FakeProvider holds what it gives in its own spec: for tests and examples,
// never for secrets.
type FakeProvider struct {
	// data is what there is.
	Data []FakeSecret `json:"data"`

	// validationResult is what the store says of itself: 0 ready, 1 unknown,
	// 2 or -1 an error. Empty: ready.
	// +optional
	ValidationResult *int32 `json:"validationResult,omitempty"`
}

// FakeSecret is one secret of a fake store.
type FakeSecret struct {
	// key that a remoteRef names.
	Key string `json:"key"`
	// value that it gets.
	// +optional
	Value string `json:"value,omitempty"`
	// version that a remoteRef names.
	// +optional
	Version string `json:"version,omitempty"`
}
