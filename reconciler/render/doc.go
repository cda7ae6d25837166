// Package render turns a file tree into Kubernetes objects: plain YAML and
// kustomize, in memory, without network, shell or files. It knows nothing of
// Kustomizations or Applications: a front fills in Options.
package render
