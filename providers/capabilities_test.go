package providers_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/lockstep-dev/lockstep/providers"
)

func TestProperties(t *testing.T) {
	value := func(s string) providers.Value { return providers.NewValue([]byte(s)) }
	cases := map[string]struct {
		reason   string
		old      string
		property string
		set      string // "" removes
		want     string
		empty    bool
		invalid  bool
	}{
		"New":          {reason: "Of nothing, an object is made.", property: "a", set: `x"<`, want: `{"a":"x\"<"}`},
		"Second":       {reason: "The others stay as they are spelled.", old: `{"n":9007199254740993}`, property: "a", set: "x", want: `{"a":"x","n":9007199254740993}`},
		"Nested":       {reason: "Dots lead further in.", old: `{"a":{"b":"1"}}`, property: "a.c", set: "2", want: `{"a":{"b":"1","c":"2"}}`},
		"Escaped":      {reason: "A dot can be in a name.", property: `tls\.crt`, set: "x", want: `{"tls.crt":"x"}`},
		"Remove":       {reason: "A property is removed.", old: `{"a":"1","b":"2"}`, property: "a", want: `{"b":"2"}`},
		"RemoveLast":   {reason: "Nothing may be left.", old: `{"a":"1"}`, property: "a", want: `{}`, empty: true},
		"RemoveNone":   {reason: "What is not there is removed already.", old: `{"b":"2"}`, property: "a.c", want: `{"b":"2"}`},
		"NoObject":     {reason: "Text has no properties.", old: "hunter2", property: "a", set: "x", invalid: true},
		"Array":        {reason: "Nor has a list.", old: `["hunter2"]`, property: "a", set: "x", invalid: true},
		"BelowAString": {reason: "Nor has a property that is text.", old: `{"a":"hunter2"}`, property: "a.b", set: "x", invalid: true},
		"Binary":       {reason: "A value that is not text has no place in JSON.", property: "a", set: "\xff", invalid: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got providers.Value
			var empty bool
			var err error
			if tc.set == "" {
				got, empty, err = providers.RemoveProperty(value(tc.old), tc.property)
			} else {
				got, err = providers.SetProperty(value(tc.old), tc.property, value(tc.set))
			}
			if tc.invalid {
				if !errors.Is(err, providers.ErrInvalid) || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("%s\ngot %v, want ErrInvalid without the value", tc.reason, err)
				}
				return
			}
			if err != nil || string(got.Bytes()) != tc.want || empty != tc.empty {
				t.Errorf("%s\ngot %s, %v, %v, want %s, %v", tc.reason, got.Bytes(), empty, err, tc.want, tc.empty)
			}
		})
	}
}

func TestDecodeMetadata(t *testing.T) {
	type settings struct {
		Tier string `json:"tier"`
	}
	cases := map[string]struct {
		reason, raw, want string
		invalid           bool
		field             string
	}{
		"None":    {reason: "Nothing is set."},
		"Bare":    {reason: "Settings stand alone.", raw: `{"tier":"a"}`, want: "a"},
		"Wrapped": {reason: "Or in the spec of an object.", raw: `{"apiVersion":"kubernetes.external-secrets.io/v1alpha1","kind":"PushSecretMetadata","spec":{"tier":"b"}}`, want: "b"},
		"Kind":    {reason: "Of one kind.", raw: `{"kind":"Other","spec":{}}`, invalid: true, field: ".kind"},
		"Unknown": {reason: "A field that is not there is not ignored.", raw: `{"teir":"a"}`, invalid: true, field: ".teir"},
		"Type":    {reason: "A field has a type.", raw: `{"tier":["hunter2"]}`, invalid: true, field: ".tier"},
		"Text":    {reason: "Text has no fields.", raw: `"tier"`, invalid: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := providers.DecodeMetadata[settings](json.RawMessage(tc.raw))
			if errors.Is(err, providers.ErrInvalid) != tc.invalid || (err == nil && got.Tier != tc.want) || (err != nil && !strings.HasPrefix(err.Error(), "metadata"+tc.field+": ")) {
				t.Errorf("%s\ngot %+v, %v, want an error that begins with metadata%s", tc.reason, got, err, tc.field)
			}
		})
	}
}
