// Package gcp reads, finds and writes Google Cloud Secret Manager.
//
// How to get in is done by hand: Google's libraries would follow a credential
// configuration to files, programs and the metadata service of the machine,
// and so lend the controller's own identity to any store.
package gcp
