package render_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockstep-dev/lockstep/reconciler/render"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// inClearCase is what is found in clear in a source.
type inClearCase struct {
	reason string
	files  map[string]string
	opts   render.Options
	want   []render.Plaintext
}

func TestPlaintext(t *testing.T) {
	canary := testenv.NewCanary(t)
	secret := func(name, data string) string {
		return "apiVersion: v1\nkind: Secret\nmetadata: {name: " + name + ", namespace: app}\n" + data
	}
	inClear := secret("db", "stringData:\n  password: "+canary.Value()+"\n  user: admin\n")
	cases := map[string]inClearCase{
		"StringData": {
			reason: "The file, the object and the keys are named.",
			files:  map[string]string{"apps/db/secret.yaml": inClear},
			opts:   render.Options{Path: "apps"},
			want:   []render.Plaintext{{Object: "Secret/app/db", File: "apps/db/secret.yaml", Keys: []string{"password", "user"}}},
		},
		"Base64": {
			reason: "Base64 is no encryption.",
			files:  map[string]string{"s.yaml": secret("db", "data: {password: aHVudGVyMg==}\n")},
			want:   []render.Plaintext{{Object: "Secret/app/db", File: "s.yaml", Keys: []string{"password"}}},
		},
		"Generated": {
			reason: "What secretGenerator makes of a file of the source is in clear too.",
			files:  map[string]string{"kustomization.yaml": "secretGenerator: [{name: gen, namespace: app, envs: [x.env], options: {disableNameSuffixHash: true}}]\n", "x.env": "PASSWORD=" + canary.Value() + "\n"},
			want:   []render.Plaintext{{Object: "Secret/app/gen", File: "kustomization.yaml", Keys: []string{"PASSWORD"}}},
		},
		"InAList": {
			reason: "A list hides nothing.",
			files:  map[string]string{"l.yaml": "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret\n  metadata: {name: l}\n  stringData: {a: b}\n"},
			want:   []render.Plaintext{{Object: "Secret/l", File: "l.yaml", Keys: []string{"a"}}},
		},
		"ByPatch": {
			reason: "A patch of a Secret without data is found by its object.",
			files:  map[string]string{"s.yaml": secret("db", "type: Opaque\n"), "kustomization.yaml": "resources: [s.yaml]\npatches: [{patch: '{apiVersion: v1, kind: Secret, metadata: {name: db, namespace: app}, stringData: {a: b}}'}]\n"},
			want:   []render.Plaintext{{Object: "Secret/app/db", File: "s.yaml", Keys: []string{"a"}}},
		},
		"Substituted": {
			reason: "What a Secret of the cluster gives is not in the source; what a ConfigMap gives might as well be.",
			files:  map[string]string{"s.yaml": secret("db", "stringData: {url: 'postgres://app:${PASSWORD}@db', user: '${USER_NAME}'}\n")},
			opts:   render.Options{Secret: map[string]bool{"PASSWORD": true}, Substitute: map[string]string{"PASSWORD": canary.Value(), "USER_NAME": "app"}},
			want:   []render.Plaintext{{Object: "Secret/app/db", File: "s.yaml", Keys: []string{"user"}}},
		},
		"Empty":         {reason: "A Secret that something else fills.", files: map[string]string{"s.yaml": secret("db", "data: {}\nstringData: {later: ''}\n")}},
		"AnotherSecret": {reason: "A kind of another group is not ours to judge.", files: map[string]string{"s.yaml": strings.Replace(inClear, "v1", "example.org/v1", 1)}},
		"Sealed":        {reason: "A SealedSecret is what should be there.", files: map[string]string{"s.yaml": "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: s}\nspec: {encryptedData: {a: AgB}}\n"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) { tc.run(t, canary) })
	}
}

func (tc inClearCase) run(t *testing.T, canary *testenv.Canary) {
	tc.opts.FindPlaintext = true
	result, err := render.Render(tree(tc.files), tc.opts)
	if err != nil {
		t.Fatalf("%s\nRender: %v", tc.reason, err)
	}
	if diff := cmp.Diff(tc.want, result.Plaintext); diff != "" {
		t.Errorf("%s\n-want +got\n%s", tc.reason, diff)
	}
	if text := fmt.Sprint(result.Plaintext); strings.Contains(text, canary.Value()) {
		t.Error("a value is repeated")
	}
}
