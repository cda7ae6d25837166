package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/duration"
)

// row is one object of the table.
type row struct {
	kind, name, ready, detail, age, message string
}

// inert is the readiness of what has none.
const inert = "-"

// maxMessage is how much of a message the table shows, in characters: about
// what is left of a wide terminal's line.
const maxMessage = 110

func toRow(k kind, o unstructured.Unstructured, now time.Time) row {
	r := row{kind: k.name, name: o.GetName(), age: duration.HumanDuration(now.Sub(o.GetCreationTimestamp().Time))}
	if k.detail != nil {
		r.detail = k.detail(o.Object)
	}
	if ns := o.GetNamespace(); ns != "" {
		r.name = ns + "/" + r.name
	}
	if k.inert {
		r.ready = inert
		return r
	}
	r.ready, r.message = state(o.Object)
	if suspended, _, _ := unstructured.NestedBool(o.Object, "spec", "suspend"); suspended {
		r.message = "suspended"
	}
	return r
}

// state returns the Ready condition, or, of a SealedSecret that another
// controller wrote, Synced, and what there is to say about it.
func state(o map[string]any) (ready, message string) {
	conditions, _, _ := unstructured.NestedSlice(o, "status", "conditions")
	for _, name := range []string{"Ready", "Synced"} {
		for _, c := range conditions {
			m, _ := c.(map[string]any)
			if m["type"] != name {
				continue
			}
			ready, message = fmt.Sprint(m["status"]), fmt.Sprint(m["message"])
			if m["message"] == nil || m["message"] == "" {
				message = fmt.Sprint(m["reason"])
			} else if ready != "True" {
				message = fmt.Sprintf("%v: %s", m["reason"], message)
			}
			return ready, message
		}
	}
	return "Unknown", "not looked at by a controller yet"
}

func write(out io.Writer, rows []row) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KIND\tNAME\tREADY\tWHAT\tAGE\tMESSAGE")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", r.kind, r.name, r.ready, r.detail, r.age, cut(r.message))
	}
	return w.Flush()
}

// cut keeps a message on one line.
func cut(message string) string {
	runes := []rune(strings.Join(strings.Fields(message), " "))
	if len(runes) <= maxMessage {
		return string(runes)
	}
	return string(runes[:maxMessage-1]) + "…"
}
