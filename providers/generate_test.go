package providers

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestObject(t *testing.T) {
	got, err := Object([]byte(`{"text":"a\"b","number":1.50,"yes":true,"none":null,"list":[1, 2],"object":{"a":"b"}}`))
	if err != nil {
		t.Fatal(err)
	}
	plain := map[string]string{}
	for key, v := range got {
		plain[key] = string(v.Bytes())
	}
	want := map[string]string{"text": `a"b`, "number": "1.50", "yes": "true", "none": "", "list": "[1, 2]", "object": `{"a":"b"}`}
	if diff := cmp.Diff(want, plain); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	for _, text := range []string{"", "null", "[]", `"hunter2"`, `{"a":hunter2}`, "<html>hunter2</html>"} {
		if _, err := Object([]byte(text)); !errors.Is(err, ErrInvalid) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Object(%q): got %v, want ErrInvalid without the text", text, err)
		}
	}
}
