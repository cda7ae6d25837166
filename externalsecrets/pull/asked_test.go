package pull_test

import (
	"context"
	"testing"
	"time"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

// tallied is a store that counts the reads of each secret.
type tallied struct {
	*backend

	reads *tally
}

// Read implements providers.Reader.
func (s tallied) Read(ctx context.Context, ref providers.Ref) (providers.Value, error) {
	s.reads.add([]providers.Ref{ref})
	return s.backend.Read(ctx, ref)
}

// asked are the ExternalSecrets that no store is read for unless someone asks.
var asked = map[string]string{
	"zero":     "refreshInterval: '0'",
	"seconds":  "refreshPolicy: Periodic\nrefreshInterval: 0s",
	"onchange": "refreshPolicy: OnChange\nrefreshInterval: 1s",
	"once":     "refreshPolicy: CreatedOnce\nrefreshInterval: 1s",
}

// happening is something that happens to each of asked, how often its secret is
// read for that, and what the Secret has then: of those that follow a change, and
// of CreatedOnce.
type happening struct {
	what, value string // in the store
	do          func(b *bench, name string)
	reads       [2]int
	holds       [2]string
}

var happenings = []happening{
	{"it is made", "1", func(b *bench, name string) {
		b.external(name, asked[name]+"\ndata: [{secretKey: a, remoteRef: {key: "+name+"}}]")
	}, [2]int{1, 1}, [2]string{`{"a":"1"}`, `{"a":"1"}`}},
	{"time passes", "2", func(*bench, string) { time.Sleep(500 * time.Millisecond) }, [2]int{}, [2]string{`{"a":"1"}`, `{"a":"1"}`}},
	{"another spec", "2", func(b *bench, name string) {
		b.change(name, func(es *esv1.ExternalSecret) { es.Spec.Data[0].SecretKey = "b" })
	}, [2]int{1, 0}, [2]string{`{"b":"2"}`, `{"a":"1"}`}},
	{"a forced sync", "3", forceAs("1"), [2]int{1, 0}, [2]string{`{"b":"3"}`, `{"a":"1"}`}},
	{"the same forced sync", "4", forceAs("1"), [2]int{}, [2]string{`{"b":"3"}`, `{"a":"1"}`}},
	{"another forced sync", "4", forceAs("2"), [2]int{1, 0}, [2]string{`{"b":"4"}`, `{"a":"1"}`}},
	{"the Secret is edited", "5", func(b *bench, name string) {
		s := b.secret(name)
		for key := range s.Data {
			s.Data[key] = []byte("edited")
		}
		if err := b.Update(b.t.Context(), s); err != nil {
			b.t.Fatal(err)
		}
	}, [2]int{}, [2]string{`{"b":"4"}`, `{"a":"1"}`}},
	{"the Secret is deleted", "5", remove, [2]int{}, [2]string{`{"b":"4"}`, `{"a":"1"}`}},
	{"the controller is started anew", "5", func(b *bench, name string) {
		if name == "once" { // or any other one
			b.stop()
			b.run()
		}
	}, [2]int{}, [2]string{`{"b":"4"}`, `{"a":"1"}`}},
	{"the Secret is deleted, and nobody remembers it", "5", remove, [2]int{1, 1}, [2]string{`{"b":"5"}`, `{"b":"5"}`}},
}

func forceAs(mark string) func(*bench, string) {
	return func(b *bench, name string) {
		b.t.Helper()
		b.change(name, func(es *esv1.ExternalSecret) { es.Annotations = map[string]string{esv1.AnnotationForceSync: mark} })
	}
}

func remove(b *bench, name string) {
	b.t.Helper()
	if err := b.Delete(b.t.Context(), b.secret(name)); err != nil {
		b.t.Fatal(err)
	}
}

// TestReadOnlyWhenAsked has all of asked go through all happenings together.
func TestReadOnlyWhenAsked(t *testing.T) {
	b, reads := newBench(t), &tally{n: map[string]int{}}
	b.registry = providers.Registry{"example": func(context.Context, providers.Config) (providers.Reader, error) {
		return tallied{b.backend, reads}, nil
	}}
	b.apply("metadata: {name: store}\nspec: {provider: {example: {}}}", &esv1.SecretStore{})
	b.run()
	for _, h := range happenings {
		reads.reset()
		for name := range asked {
			b.backend.set(name, h.value)
			h.do(b, name)
		}
		of := func(name string) int {
			if name == "once" {
				return 1
			}
			return 0
		}
		for name := range asked {
			b.holds(name, h.holds[of(name)])
		}
		time.Sleep(500 * time.Millisecond) // for what should not follow
		for name := range asked {
			b.holds(name, h.holds[of(name)])
			if got := reads.of(name); got != h.reads[of(name)] {
				t.Errorf("%s: secret %s was read %d times, want %d", h.what, name, got, h.reads[of(name)])
			}
		}
	}
}
