package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Reseal keeps what a Git repository holds sealed with the newest sealing key:
// when there is a new one, it seals again what is on an older key, and commits
// that.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=reseals
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Ready",type="string",JSONPath=".status.conditions[?(@.type==\"Ready\")].status"
// +kubebuilder:printcolumn:name="Status",type="string",JSONPath=".status.conditions[?(@.type==\"Ready\")].message"
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp"
type Reseal struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec ResealSpec `json:"spec"`
	// +optional
	Status ResealStatus `json:"status,omitzero"`
}

// ResealList is a list of Reseals.
//
// +kubebuilder:object:root=true
type ResealList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Reseal `json:"items"`
}

// ResealSpec says what to keep on the newest key, and how to commit it.
type ResealSpec struct {
	// sourceRef is the GitRepository: its address, branch and credentials.
	// +required
	SourceRef SourceReference `json:"sourceRef"`

	// secretRef is a Secret, in the form that the GitRepository takes, with
	// credentials that may push. Default: those of the GitRepository.
	// +optional
	SecretRef *LocalReference `json:"secretRef,omitempty"`

	// branch to keep on the newest key. Default: that of the GitRepository.
	// +optional
	Branch string `json:"branch,omitempty"`

	// paths are the files and folders to look at. Default: all of them.
	// +optional
	Paths []string `json:"paths,omitempty"`

	// namespace of SealedSecrets whose manifest says none, and which are not in
	// the cluster.
	// +optional
	Namespace string `json:"namespace,omitempty"`

	// recipients are public keys that values of envelope 2 are sealed for
	// besides that of the cluster: a key that is kept for emergencies.
	// +optional
	Recipients []string `json:"recipients,omitempty"`

	// interval between two looks at the branch, besides those when there is a new
	// key, and when the GitRepository has a new commit. Default: none.
	// +optional
	Interval *metav1.Duration `json:"interval,omitempty"`

	// commit says how the commit looks.
	// +optional
	Commit CommitSpec `json:"commit,omitempty"`

	// pullRequest has the commit pushed to a work branch, and a pull request
	// opened. Without it the commit is pushed to the branch itself.
	// +optional
	PullRequest *PullRequestSpec `json:"pullRequest,omitempty"`

	// retire retires older keys as soon as nothing in the cluster or at the head
	// of the branch needs them. It is for Reseals in the namespace of the
	// controller, as it is about the keys of all.
	// +optional
	Retire bool `json:"retire,omitempty"`

	// suspend stops all of it.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// SourceReference names a GitRepository.
type SourceReference struct {
	// kind is GitRepository.
	// +kubebuilder:validation:Enum=GitRepository
	// +optional
	Kind string `json:"kind,omitempty"`
	// name of the GitRepository.
	// +required
	Name string `json:"name"`
	// namespace of the GitRepository. Default: that of the Reseal. Only Reseals in
	// the namespace of the controller may name another.
	// +optional
	Namespace string `json:"namespace,omitempty"`
}

// LocalReference names an object of the same namespace.
type LocalReference struct {
	// name of the object.
	// +required
	Name string `json:"name"`
}

// CommitSpec says how a commit looks.
type CommitSpec struct {
	// author of the commit. Default: lockstep <lockstep@users.noreply.localhost>.
	// +optional
	Author Author `json:"author,omitempty"`

	// subject is the first line of the message. Default: Seal again with the
	// newest key.
	// +optional
	Subject string `json:"subject,omitempty"`

	// signingKey is a Secret with the key that signs the commit: git.asc, an
	// OpenPGP private key in armour, or identity, an SSH private key; and
	// password, its passphrase, if it has one.
	// +optional
	SigningKey *LocalReference `json:"signingKey,omitempty"`
}

// Author is who a commit is of.
type Author struct {
	// name of the author.
	// +optional
	Name string `json:"name,omitempty"`
	// email of the author.
	// +optional
	Email string `json:"email,omitempty"`
}

// PullRequestSpec says where pull requests are opened.
type PullRequestSpec struct {
	// forge is the kind of server.
	// +kubebuilder:validation:Enum=github;gitlab;gitea
	// +required
	Forge string `json:"forge"`

	// api is the address of the API: https://HOST/api/v1 of a Gitea, for example.
	// Default: that of the host of the GitRepository.
	// +optional
	API string `json:"api,omitempty"`

	// secretRef is a Secret whose item token may open pull requests.
	// +required
	SecretRef LocalReference `json:"secretRef"`

	// branch is the work branch, which is overwritten. Default:
	// lockstep/reseal/BRANCH.
	// +optional
	Branch string `json:"branch,omitempty"`
}

// ResealStatus is how far a Reseal is.
type ResealStatus struct {
	// observedGeneration is the generation that the conditions speak of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions: Ready.
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// lastHandledReconcileAt is the last request that was answered.
	// +optional
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`

	// key is the fingerprint of the newest key, as of the last look.
	// +optional
	Key string `json:"key,omitempty"`

	// revision is the head of the branch, as of the last look.
	// +optional
	Revision string `json:"revision,omitempty"`

	// looked is a digest of all that the last look went by: unless it changes,
	// there is nothing to look at again.
	// +optional
	Looked string `json:"looked,omitempty"`

	// items is how many sealed values there are at that revision.
	// +optional
	Items int32 `json:"items,omitempty"`

	// needed are the older keys that a value at that revision was sealed with.
	// +optional
	Needed []KeyNeed `json:"needed,omitempty"`

	// unknown are the values, by file and item, of which no key is known.
	// +optional
	Unknown []string `json:"unknown,omitempty"`

	// commit is the last commit that was pushed.
	// +optional
	Commit *CommitStatus `json:"commit,omitempty"`

	// unneeded are the older keys, not retired yet, that nothing in the cluster
	// and at that revision needs.
	// +optional
	Unneeded []string `json:"unneeded,omitempty"`

	// retired are the keys that this Reseal has retired.
	// +optional
	Retired []string `json:"retired,omitempty"`
}

// KeyNeed is an older key, and how many values need it.
type KeyNeed struct {
	// key is the fingerprint of the sealing key.
	Key string `json:"key"`
	// items is how many values were sealed with it.
	Items int32 `json:"items"`
}

// CommitStatus is a commit that was pushed.
type CommitStatus struct {
	// sha1 of the commit.
	SHA1 string `json:"sha1"`
	// base is the commit that it was made on.
	Base string `json:"base"`
	// branch that it was pushed to.
	Branch string `json:"branch"`
	// key that its values are sealed with.
	Key string `json:"key"`
	// pullRequest is its address, if one was opened.
	// +optional
	PullRequest string `json:"pullRequest,omitempty"`
}

// GetConditions returns the conditions.
func (r *Reseal) GetConditions() []metav1.Condition { return r.Status.Conditions }

// SetConditions replaces the conditions.
func (r *Reseal) SetConditions(conditions []metav1.Condition) { r.Status.Conditions = conditions }
