package main

import (
	"strings"
	"testing"
)

func TestPermissiveSync(t *testing.T) {
	for name, tc := range map[string]struct {
		args      []string
		crossRefs bool
		refused   string // both flags, with a blank between them; empty: none
	}{
		"Default":      {},
		"Permissive":   {args: []string{"--permissive-sync"}, crossRefs: true},
		"Same":         {args: []string{"--permissive-sync", "--allow-cross-namespace-refs"}, crossRefs: true},
		"Empty":        {args: []string{"--permissive-sync", "--sync-account="}, crossRefs: true},
		"Off":          {args: []string{"--permissive-sync=false", "--sync-account=a/b"}},
		"SyncAccount":  {args: []string{"--permissive-sync", "--sync-account=a/b"}, refused: "--permissive-sync --sync-account"},
		"Default SA":   {args: []string{"--default-service-account=a", "--permissive-sync"}, refused: "--permissive-sync --default-service-account"},
		"No crossRefs": {args: []string{"--permissive-sync", "--allow-cross-namespace-refs=false"}, refused: "--permissive-sync --allow-cross-namespace-refs"},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := parse(append([]string{"--namespace=lockstep-system"}, tc.args...))
			for flag := range strings.FieldsSeq(tc.refused) {
				if err == nil || !strings.Contains(err.Error(), flag) {
					t.Errorf("error %v, want one that names %s", err, flag)
				}
			}
			if tc.refused == "" && (err != nil || o.allowCrossNamespaceRefs != tc.crossRefs) {
				t.Errorf("error %v, references %v: want none and %v", err, o != nil && o.allowCrossNamespaceRefs, tc.crossRefs)
			}
		})
	}
}
