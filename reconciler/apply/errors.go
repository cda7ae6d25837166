package apply

import (
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// explain makes the API server's refusal fit to be shown. The server repeats
// rejected values in its messages, so that of a Secret is replaced by the
// fields it speaks of.
func explain(gk schema.GroupKind, err error) error {
	if err == nil || gk != (schema.GroupKind{Kind: "Secret"}) {
		return err
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return err // no answer of the server: a connection that failed
	}
	s := status.Status()
	var fields []string
	if s.Details != nil {
		for _, cause := range s.Details.Causes {
			if cause.Field != "" {
				fields = append(fields, cause.Field)
			}
		}
	}
	if len(fields) == 0 {
		return refusal{reason: string(s.Reason), err: err}
	}
	return refusal{reason: fmt.Sprintf("%s: see %s", s.Reason, strings.Join(fields, ", ")), err: err}
}

// refusal keeps the class of an API error but not its text.
type refusal struct {
	reason string
	err    error
}

func (r refusal) Error() string { return "the API server refuses the Secret: " + r.reason }

// As lets apierrors.IsInvalid and its like see the class. The text stays
// behind: there is no Unwrap.
func (r refusal) As(target any) bool { return errors.As(r.err, target) }
