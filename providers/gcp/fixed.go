package gcp

import (
	"context"
	"slices"
	"strings"

	"cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"

	"github.com/lockstep-dev/lockstep/providers"
)

// locations are where a secret is to be that is made; none: Google chooses.
func (settings secretSettings) locations() []string {
	if len(settings.ReplicationLocations) == 0 && settings.ReplicationLocation != "" {
		return []string{settings.ReplicationLocation}
	}
	return settings.ReplicationLocations
}

// warn tells of settings that make no difference to found, which is nil if
// there is no such secret yet. A secret keeps its replication for its whole
// life, and its key unless someone changes it at Google. External Secrets says
// nothing.
// Source: https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets
func (r *reader) warn(ctx context.Context, found *secretmanagerpb.Secret, settings secretSettings) {
	wanted := settings.locations()
	switch {
	case len(wanted) == 0:
	case r.location != "":
		providers.Warn(ctx, "metadata.replicationLocations: it makes no difference: the store has the location "+r.location+", where all of its secrets are; remove it")
	case found != nil && !same(wanted, placesOf(found)):
		at := "where Google chose to have it"
		if places := placesOf(found); len(places) > 0 {
			at = "at " + strings.Join(places, ", ")
		}
		providers.Warn(ctx, "metadata.replicationLocations: the secret stays "+at+"; push to another key, or delete it at Google to have it made anew")
	}
	if settings.CMEKKeyName == "" || found == nil || same([]string{settings.CMEKKeyName}, keysOf(found)) {
		return
	}
	providers.Warn(ctx, "metadata.cmekKeyName: the secret keeps the key that it was made with; change it at Google, push to another key, or delete it there to have it made anew")
}

// placesOf are the locations of the replicas of a secret; none if Google chose
// them.
func placesOf(s *secretmanagerpb.Secret) []string {
	var all []string
	for _, replica := range s.GetReplication().GetUserManaged().GetReplicas() {
		all = append(all, replica.GetLocation())
	}
	return all
}

// keysOf are the names of the keys that a secret is encrypted with.
func keysOf(s *secretmanagerpb.Secret) []string {
	by := []*secretmanagerpb.CustomerManagedEncryption{s.GetCustomerManagedEncryption(), s.GetReplication().GetAutomatic().GetCustomerManagedEncryption()}
	for _, replica := range s.GetReplication().GetUserManaged().GetReplicas() {
		by = append(by, replica.GetCustomerManagedEncryption())
	}
	var all []string
	for _, key := range by {
		if key.GetKmsKeyName() != "" {
			all = append(all, key.GetKmsKeyName())
		}
	}
	return all
}

// same compares without looking at order and repetition.
func same(a, b []string) bool {
	return slices.Equal(slices.Compact(slices.Sorted(slices.Values(a))), slices.Compact(slices.Sorted(slices.Values(b))))
}
