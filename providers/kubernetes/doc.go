// Package kubernetes reads, finds and writes the Secrets of one namespace, of
// this cluster or another.
//
// It never uses the controller's own token or kubeconfig: a store says who
// reads, and with which right.
package kubernetes
