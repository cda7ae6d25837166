package aws_test

import (
	"context"
	"strconv"
	"testing"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

const (
	batch          = "secretsmanager:BatchGetSecretValue"
	getParameter   = "ssm:GetParameter"
	batchParameter = "ssm:GetParameters"
)

// within may do everything with what is at the names, and list.
func within(lists []string, names ...string) []testenv.AWSStatement {
	allow := []testenv.AWSStatement{{Actions: []string{"secretsmanager:*", "ssm:*"}, Resources: names}}
	if len(lists) > 0 { // none would be all
		allow = append(allow, testenv.AWSStatement{Actions: lists})
	}
	return allow
}

func TestConformance(t *testing.T) {
	cases := map[string]struct {
		reason string
		lists  []string
	}{
		"Batches":   {"With the right to read in batches.", []string{batch, "secretsmanager:ListSecrets"}},
		"NoBatches": {"And without it.", []string{"secretsmanager:ListSecrets"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			// The two write the same names: each has a prefix of its own.
			prefix := name + "-"
			conformance.Test(t, func(t *testing.T) conformance.Backend {
				t.Helper()
				a := server.Get(t)
				key, err := a.User(t.Context(), prefix+"conformance", within(tc.lists, prefix+"conformance/*")...)
				if err != nil {
					t.Fatal(err)
				}
				settings := byKey()
				settings["prefix"] = prefix
				settings["secretsManager"] = map[string]any{"forceDeleteWithoutRecovery": true}
				r, err := open(t, a, settings, keyPair(key.ID, key.Secret))
				if err != nil {
					t.Fatal(err)
				}
				return conformance.Backend{
					Reader: r, MissingVersion: "uuid/00000000-0000-0000-0000-000000000000", Denied: "elsewhere/denied", Credentials: []string{key.ID, key.Secret},
					Folder: "conformance/find/", Metadata: `{"secretPushFormat":"string"}`,
					Put: func(ctx context.Context, path, object string) (string, error) {
						id, err := a.PutSecret(ctx, region, prefix+path, object)
						return "uuid/" + id, err
					},
					Tag: func(ctx context.Context, path string, tags map[string]string) error {
						return a.TagSecret(ctx, region, prefix+path, tags)
					},
				}
			})
		})
	}
}

func TestParameterConformance(t *testing.T) {
	cases := map[string]struct {
		reason string
		lists  []string
		tags   bool
	}{
		"Describe":   {"With the right to list parameters.", []string{"ssm:DescribeParameters"}, true},
		"NoDescribe": {"And without it.", nil, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			prefix := "/" + name
			conformance.Test(t, func(t *testing.T) conformance.Backend {
				t.Helper()
				a := server.Get(t)
				key, err := a.User(t.Context(), name+"-parameters", within(tc.lists, prefix+"/conformance/*")...)
				if err != nil {
					t.Fatal(err)
				}
				settings := byKey()
				settings["prefix"], settings["service"] = prefix, "ParameterStore"
				r, err := open(t, a, settings, keyPair(key.ID, key.Secret))
				if err != nil {
					t.Fatal(err)
				}
				b := conformance.Backend{
					Reader: r, MissingVersion: "1000", Denied: "elsewhere/denied", Credentials: []string{key.ID, key.Secret}, Folder: "/conformance/find",
					Metadata: `{"secretType":"SecureString"}`, Path: func(path string) string { return "/" + path },
					Put: func(ctx context.Context, path, object string) (string, error) {
						version, err := a.PutParameter(ctx, region, prefix+path, object)
						return strconv.Itoa(version), err
					},
				}
				if tc.tags {
					b.Tag = func(ctx context.Context, path string, tags map[string]string) error {
						return a.TagParameter(ctx, region, prefix+path, tags)
					}
				}
				return b
			})
		})
	}
}

// plantMany puts n canaries, and returns refs to them.
func plantMany(t *testing.T, prefix string, n int, put func(name, value string)) ([]providers.Ref, []*testenv.Canary) {
	t.Helper()
	var refs []providers.Ref
	var canaries []*testenv.Canary
	for i := range n {
		name := prefix + strconv.Itoa(i)
		c := testenv.NewCanary(t)
		put(name, c.Value())
		refs, canaries = append(refs, providers.Ref{Path: name}), append(canaries, c)
	}
	return refs, canaries
}

func TestBatches(t *testing.T) {
	a := server.Get(t)
	cases := map[string]struct {
		reason string
		allow  []testenv.AWSStatement
		want   map[string]int
	}{
		"Allowed": {"A request reads 20 secrets.", nil, map[string]int{batch: 2, get: 1}},
		"Denied":  {"Without the right, one asks once, and then reads each.", []testenv.AWSStatement{may("batches-*")}, map[string]int{batch: 1, get: 82}},
	}
	put := func(name, value string) {
		if _, err := a.PutSecret(t.Context(), region, name, value); err != nil {
			t.Fatal(err)
		}
	}
	refs, canaries := plantMany(t, "batches-", 41, put)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r, _ := user(t, a, "batches-"+name, tc.allow...)
			resetCounts(t, a)
			rounds := 1
			if len(tc.allow) > 0 {
				rounds = 2
			}
			for range rounds {
				for i, got := range providers.ReadAll(t.Context(), r, refs) {
					if got.Err != nil || string(got.Value.Bytes()) != canaries[i].Value() {
						t.Errorf("%s\nReadAll of %s: got another value, or %v", tc.reason, refs[i].Path, got.Err)
					}
				}
			}
			got, err := a.Counts(t.Context())
			if err != nil || got[batch] != tc.want[batch] || got[get] != tc.want[get] {
				t.Errorf("%s\nrequests: got %v, %v, want %v", tc.reason, got, err, tc.want)
			}
		})
	}
}

func TestParameterBatches(t *testing.T) {
	a := server.Get(t)
	key, err := a.User(t.Context(), "parameter-batches")
	if err != nil {
		t.Fatal(err)
	}
	settings := byKey()
	settings["service"] = "ParameterStore"
	r, err := open(t, a, settings, keyPair(key.ID, key.Secret))
	if err != nil {
		t.Fatal(err)
	}
	put := func(name, value string) {
		if _, err := a.PutParameter(t.Context(), region, name, value); err != nil {
			t.Fatal(err)
		}
	}
	refs, canaries := plantMany(t, "/batches/", 25, put)
	resetCounts(t, a)
	for i, got := range providers.ReadAll(t.Context(), r, append(refs, refs...)) {
		if got.Err != nil || string(got.Value.Bytes()) != canaries[i%25].Value() {
			t.Errorf("ReadAll of %s: got another value, or %v", refs[i%25].Path, got.Err)
		}
	}
	got, err := a.Counts(t.Context())
	if err != nil || got[batchParameter] != 3 || got[getParameter] != 0 {
		t.Errorf("25 parameters, twice each: got %v, %v, want 3 requests %s", got, err, batchParameter)
	}
}
