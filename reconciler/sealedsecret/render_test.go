package sealedsecret

import (
	"strings"
	"testing"
	"time"

	"github.com/Masterminds/sprig/v3"
	"github.com/google/go-cmp/cmp"

	"github.com/lockstep-dev/lockstep/test/testenv"
)

func pointers(of map[string]string) map[string]*string {
	all := map[string]*string{}
	for item, text := range of {
		all[item] = &text
	}
	return all
}

func TestRender(t *testing.T) {
	data := map[string][]byte{"user": []byte("bob"), "password": []byte("s3cret")}
	cases := map[string]struct {
		reason    string
		templates map[string]string
		want      map[string]string
	}{
		"Values": {
			reason:    "Opened items are fields.",
			templates: map[string]string{"dsn": "postgres://{{ .user }}:{{ .password }}@db"},
			want:      map[string]string{"dsn": "postgres://bob:s3cret@db"},
		},
		"Siblings": {
			reason:    "The text of another template is a field, as since Sealed Secrets v0.37.",
			templates: map[string]string{"host": "db", "dsn": "{{ .user }}@{{ .host }}"},
			want:      map[string]string{"host": "db", "dsn": "bob@db"},
		},
		"Missing": {
			reason:    "A missing field prints as in Sealed Secrets.",
			templates: map[string]string{"a": "[{{ .none }}]"},
			want:      map[string]string{"a": "[<no value>]"},
		},
		"Sprig": {
			reason:    "The functions of sprig are there, and keep their results.",
			templates: map[string]string{"a": `{{ .user | upper | b64enc }} {{ toJson (dict "k" .user) }} {{ index . "user" }} {{ printf "%s-%d" .user 3 }} {{ list "x" "y" | join "," }} {{ repeat 3 "z" }}`},
			want:      map[string]string{"a": `Qk9C {"k":"bob"} bob bob-3 x,y zzz`},
		},
		"Loop": {
			reason:    "Loops print what they did before they were guarded.",
			templates: map[string]string{"a": `{{ range $i, $v := until 3 }}{{ $i }}{{ end }}{{ range list }}x{{ else }}none{{ end }}{{ define "t" }}<{{ . }}>{{ end }}{{ template "t" .user }}`},
			want:      map[string]string{"a": "012none<bob>"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			out, err := Render(t.Context(), pointers(tc.templates), data)
			if err != nil {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			got := map[string]string{}
			for k, v := range out {
				if _, ok := data[k]; ok {
					continue
				}
				got[k] = string(v)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// No error of a template holds a value, whatever the template tries.
func TestRenderErrorsHoldNoValues(t *testing.T) {
	canary := testenv.NewCanary(t)
	data := map[string][]byte{"password": []byte(canary.Value())}
	for _, text := range []string{
		`{{ fail .password }}`,
		`{{ mustToDate "x" .password }}`,
		`{{ fail (b64enc .password) }}`,
		`{{ fail (printf "%x" .password) }}`,
		`{{ required .password "" }}`,
		`{{ mustRegexMatch .password "a(" }}{{ mustRegexMatch (printf "(%s" .password) "a" }}`,
		`{{ mustFromJson .password }}`,
		`{{ template .password }}`,
		`{{ index .password 1000 }}`,
		`{{ slice .password 10000 }}`,
		`{{ .password.x }}`,
		`{{ call .password }}`,
		`{{ list .password | first | mustToDate "x" }}`,
		`{{ atoi .password | int | div 0 }}`,
	} {
		_, err := Render(t.Context(), pointers(map[string]string{"item": text}), data)
		if err == nil {
			t.Errorf("%s: no error", text)
			continue
		}
		canary.NotIn(t, "the error of "+text, []byte(err.Error()))
		if !strings.Contains(err.Error(), "spec.template.data[item]") {
			t.Errorf("%s: the error does not name the item: %v", text, err)
		}
	}
}

// What is not a function of its arguments alone is not there, and the error
// says which it is.
func TestRenderRefuses(t *testing.T) {
	refused := 0
	for name := range sprig.TxtFuncMap() {
		if _, ok := allowed()[name]; ok {
			continue
		}
		refused++
		_, err := Render(t.Context(), pointers(map[string]string{"a": "{{ " + name + " }}"}), nil)
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "spec.template.data[a]") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"env", "expandenv", "getHostByName", "now", "uuidv4", "randAlphaNum", "genPrivateKey", "bcrypt", "htpasswd", "derivePassword", "ago", "shuffle"} {
		if _, ok := allowed()[name]; ok {
			t.Errorf("%s is allowed", name)
		}
	}
	for name, f := range allowed() {
		if f == nil {
			t.Errorf("%s is in the list, and not in sprig", name)
		}
	}
	if refused == 0 {
		t.Error("nothing is refused")
	}
}

// An error names the function, and nothing of what it says.
func TestRenderNamesFunction(t *testing.T) {
	for text, want := range map[string]string{
		`{{ fail .password }}`: "the function fail fails", `{{ mustToDate "x" .password }}`: "the function mustToDate fails", `{{ mustFromJson .password }}`: "the function mustFromJson fails",
	} {
		_, err := Render(t.Context(), pointers(map[string]string{"a": text}), map[string][]byte{"password": []byte("hunter2: error calling hunter2: x")})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// Rendered twice, a template says the same: maps are walked in order.
func TestRenderIsDeterministic(t *testing.T) {
	text := pointers(map[string]string{"a": `{{ $d := dict "z" 1 "a" 2 "m" 3 "b" 4 "y" 5 }}{{ keys $d }}{{ values $d }}{{ range $k, $v := $d }}{{ $k }}{{ end }}{{ toJson $d }}`})
	first, err := Render(t.Context(), text, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		again, err := Render(t.Context(), text, nil)
		if err != nil || string(again["a"]) != string(first["a"]) {
			t.Fatalf("%s, then %s: %v", first["a"], again["a"], err)
		}
	}
}

// Whatever a template does, it ends in time and within bounds.
func TestRenderLimits(t *testing.T) {
	cases := map[string]string{
		"Output":      `{{ range until 200000 }}xxxxxxxxxx{{ end }}`,
		"Repeat":      `{{ repeat 1000000000 "x" }}`,
		"RepeatLarge": `{{ $x := repeat 1000000 "x" }}{{ repeat 1000000 $x }}`,
		"Negative":    `{{ untilStep 0 -1000000000 -1 }}`,
		"Until":       `{{ until 1000000000 }}`,
		"Doubling":    `{{ $x := "xxxxxxxx" }}{{ range until 60 }}{{ $x = printf "%s%s" $x $x }}{{ end }}`,
		"List":        `{{ $l := list }}{{ range until 100000 }}{{ $l = append $l (repeat 100000 "x") }}{{ end }}`,
		"Join":        `{{ join (repeat 1000000 "x") (until 100000) }}`,
		"Replace":     `{{ replace "x" (repeat 1000000 "y") (repeat 100000 "x") }}`,
		"Indent":      `{{ indent 1000000 (repeat 100000 "\n") }}`,
		"Loop":        `{{ range until 1000000 }}{{ range until 1000000 }}{{ end }}{{ end }}`,
		"Number":      `{{ range 10000000000 }}{{ end }}`,
		"Recursion":   `{{ define "t" }}{{ template "t" }}{{ template "t" }}{{ end }}{{ template "t" }}`,
		"Tree":        `{{ define "t" }}{{ if . }}{{ template "t" (rest .) }}{{ template "t" (rest .) }}{{ end }}{{ end }}{{ template "t" (until 60) }}`,
	}
	for name, text := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			_, err := Render(t.Context(), pointers(map[string]string{"a": text}), nil)
			if err == nil {
				t.Errorf("%s: no error", text)
			}
			if took := time.Since(start); took > 3*maxRender {
				t.Errorf("%s: took %v: %v", text, took, err)
			}
			t.Log(err)
		})
	}
}
