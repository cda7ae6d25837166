package fetch_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockstep-dev/lockstep/externalsecrets/fetch"
	"github.com/lockstep-dev/lockstep/providers"
)

func TestFindAndRewrite(t *testing.T) {
	found := map[string]string{"app/db": `{"user":"ada","pass":"hunter2"}`, "app/mail": `{"host":"mx","port":25}`}
	cases := map[string]struct {
		reason, spec string
		found        map[string]string
		want         map[string]string
		message      string
	}{
		"Find":         {reason: "Each secret gets the key of its name.", spec: "", want: map[string]string{"app_db": found["app/db"], "app_mail": found["app/mail"]}},
		"Unicode":      {reason: "Names can be told apart.", spec: "find: {name: {regexp: app}, conversionStrategy: Unicode}", want: map[string]string{"app_U002f_db": found["app/db"], "app_U002f_mail": found["app/mail"]}},
		"Regexp":       {reason: "A step changes keys.", spec: "rewrite: [{regexp: {source: 'app/(.*)', target: 'x-$1'}}]", want: map[string]string{"x-db": found["app/db"], "x-mail": found["app/mail"]}},
		"Transform":    {reason: "So does a template, with functions.", spec: `rewrite: [{transform: {template: '{{ .value | replace "/" "." | upper }}'}}]`, want: map[string]string{"APP.DB": found["app/db"], "APP.MAIL": found["app/mail"]}},
		"Merge":        {reason: "Objects become keys.", spec: "rewrite: [{merge: {}}]", want: map[string]string{"user": "ada", "pass": "hunter2", "host": "mx", "port": "25"}},
		"MergeInto":    {reason: "Or one object, beside what was there.", spec: "rewrite: [{regexp: {source: 'app/', target: ''}}, {merge: {strategy: JSON, into: all}}]", want: map[string]string{"db": found["app/db"], "mail": found["app/mail"], "all": `{"host":"mx","pass":"hunter2","port":25,"user":"ada"}`}},
		"Conflict":     {reason: "A key that two have is an error.", found: map[string]string{"a": `{"k":"hunter2"}`, "b": `{"k":"hunter3"}`}, spec: "rewrite: [{merge: {}}]", message: `keys "a" and "b" both have "k"`},
		"Priority":     {reason: "Unless it is to be ignored: the last of the list wins.", found: map[string]string{"a": `{"k":"1"}`, "b": `{"k":"2"}`}, spec: "rewrite: [{merge: {conflictPolicy: Ignore, priority: [b, a]}}]", want: map[string]string{"k": "1"}},
		"NoPriority":   {reason: "A key of the list must be there.", spec: "rewrite: [{merge: {priority: [nope]}}]", message: `"nope"`},
		"Lenient":      {reason: "Unless it may be missing.", found: map[string]string{"a": `{"k":"1"}`}, spec: "rewrite: [{merge: {priority: [nope], priorityPolicy: IgnoreNotFound}}]", want: map[string]string{"k": "1"}},
		"NoObject":     {reason: "Text cannot be merged, and is not told.", found: map[string]string{"a": "hunter2"}, spec: "rewrite: [{merge: {}}]", message: `the value of key "a" is not a JSON object`},
		"Collision":    {reason: "No value is lost by chance.", spec: "rewrite: [{regexp: {source: '.*', target: x}}]", message: `both become "x"`},
		"BadKey":       {reason: "What no Secret can have is refused.", spec: "rewrite: [{regexp: {source: a, target: '?'}}]", message: "after rewrite"},
		"BadTransform": {reason: "A template that fails names the key.", spec: "rewrite: [{transform: {template: '{{ .nope }}'}}]", message: "transform.template"},
		"None":         {reason: "Nothing found is nothing.", found: map[string]string{}, want: map[string]string{}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.found == nil {
				tc.found = found
			}
			entry := tc.spec
			if !strings.Contains(entry, "find:") {
				entry = strings.TrimSuffix("find: {path: app, tags: {a: b}}, "+entry, ", ")
			}
			plan, err := fetch.New(parse(t, oneStore+"dataFrom: [{"+entry+"}]"))
			if err != nil {
				t.Fatal(err)
			}
			values := map[string]providers.Value{}
			for key, value := range tc.found {
				values[key] = providers.NewValue([]byte(value))
			}
			got, err := plan.Values(map[fetch.Read]fetch.Result{plan.Reads[0]: {Values: values}}, false)
			if tc.message != "" {
				if err == nil || !strings.Contains(err.Error(), tc.message) || strings.Contains(err.Error(), "hunter") {
					t.Errorf("%s\ngot %v, want an error that says %q and no value", tc.reason, err, tc.message)
				}
				return
			}
			if err != nil {
				t.Fatalf("%s\ngot %v", tc.reason, err)
			}
			text := map[string]string{}
			for key, value := range got {
				text[key] = string(value)
			}
			if diff := cmp.Diff(tc.want, text); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestEqualFindsAreOneRead(t *testing.T) {
	plan, err := fetch.New(parse(t, oneStore+`dataFrom:
- find: {path: a, tags: {x: "1", y: "2"}}
- find: {tags: {y: "2", x: "1"}, path: a}
- extract: {key: db}
- extract: {key: db, metadataPolicy: Fetch}`))
	if err != nil || len(plan.Reads) != 3 || plan.Reads[0].FindPath() != "a" || !plan.Reads[2].Metadata {
		t.Errorf("got %d reads, %v, want 3: one search, a value and its metadata", len(plan.Reads), err)
	}
	if errors.Is(err, providers.ErrInvalid) {
		t.Error(err)
	}
}
