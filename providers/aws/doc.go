// Package aws reads, finds and writes AWS Secrets Manager and Parameter Store,
// with an access key or as a role.
//
// The clients are made by hand, never from the SDK's shared configuration:
// that reads the environment, files in the home folder and the metadata of the
// machine, and would lend the controller's own identity to any store. Only
// Ambient reads these, for the stores that may have that identity.
package aws
