package render_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockstep-dev/lockstep/reconciler/render"
	"github.com/lockstep-dev/lockstep/reconciler/source"
)

// credential is put together, so that no scanner finds it in this file.
var credential = strings.Join([]string{"AKIA", "QYLPMN5H", "HHFPZAM2"}, "")

const suspectPod = "{containers: [{name: web, image: web, env: [{name: ID, value: %}]}], initContainers: [{name: init, image: web, args: [-c, --id, %]}]}"

func TestSuspects(t *testing.T) {
	job := "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: job}\nspec: {jobTemplate: {spec: {template: {spec: {containers: [{name: job, image: job, command: [run, '--id=%']}]}}}}}\n"
	for name, tc := range map[string]struct {
		file    string
		options render.Options
		want    []string
	}{
		"data":       {"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {id: %, other: fine}\n", render.Options{}, []string{`ConfigMap/a: data["id"] of a.yaml (rule aws-access-token)`}},
		"binaryData": {"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\nbinaryData: {id: " + base64.StdEncoding.EncodeToString([]byte("id: "+credential)) + ", other: /w==}\n", render.Options{}, []string{`ConfigMap/a: binaryData["id"] of a.yaml (rule aws-access-token)`}},
		"env and args": {"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: " + suspectPod + "\n", render.Options{}, []string{
			"Pod/a: env ID of container web of a.yaml (rule aws-access-token)", "Pod/a: args[2] of container init of a.yaml (rule aws-access-token)",
		}},
		"deep down":         {job, render.Options{}, []string{"CronJob/job: command[1] of container job of a.yaml (rule aws-access-token)"}},
		"through kustomize": {job, render.Options{NamePrefix: "my-"}, []string{"CronJob/my-job: command[1] of container job of a.yaml (rule aws-access-token)"}},
		"rule off":          {job, render.Options{IgnoreRules: []string{"aws-access-token"}}, nil},
		"a reference":       {"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {url: 'amqp://app:${PASSWORD}@broker'}\n", render.Options{Substitute: map[string]string{"PASSWORD": "q8ZrT5vNx2Lw9KdP"}}, nil},
		"other fields":      {"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, annotations: {id: %}}\n", render.Options{}, nil},
		"a valueFrom":       {"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: web, image: web, env: [{name: ID, valueFrom: {secretKeyRef: {name: a, key: b}}}]}]}\n", render.Options{}, nil},
		"no containers":     {"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [7], volumes: [{name: a}]}\n", render.Options{}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			tree, err := source.NewTree(map[string]string{"a.yaml": strings.ReplaceAll(tc.file, "%", credential)})
			if err != nil {
				t.Fatal(err)
			}
			tc.options.FindSuspects = true
			result, err := render.Render(tree, tc.options)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range result.Suspects {
				got = append(got, s.String())
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("suspects (-want +got):\n%s", diff)
			}
			if strings.Contains(strings.Join(got, ""), credential) {
				t.Error("a value is repeated")
			}
		})
	}
}

// TestSuspectsOpened checks that what SOPS encrypts is not in clear.
func TestSuspectsOpened(t *testing.T) {
	file := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {id: " + credential + "}\n"
	tree, err := source.NewTree(map[string]string{"a.yaml": file})
	if err != nil {
		t.Fatal(err)
	}
	result, err := render.Render(tree, render.Options{FindSuspects: true, Opener: openedOnly(credential)})
	if err != nil || len(result.Suspects) != 0 {
		t.Errorf("got %v, %v, want none", result.Suspects, err)
	}
}

// openedOnly says of one text that it was encrypted.
type openedOnly string

func (o openedOnly) Open(_ string, data []byte) ([]byte, error) { return data, nil }
func (o openedOnly) Opened(text string) bool                    { return text == string(o) }
