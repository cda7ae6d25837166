package providers

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Made is what a generator made.
type Made struct {
	Values map[string]Value
	// Until is when the values end, so that others are needed; zero is never.
	Until time.Time
	// Warnings are what the backend has to say of settings, as Warn has it.
	Warnings []string
}

// minRenewal is how soon values are made anew at the earliest, however short
// they live: a service that makes them is not to be asked again and again.
const minRenewal = 5 * time.Second

// Renewal returns when values that end at until are to be made anew: when a
// third of their time is left, so that there is time to try again.
func Renewal(now, until time.Time) time.Time {
	return now.Add(max(until.Sub(now)*2/3, minRenewal))
}

// Generate makes values as spec says, which points to the spec of a kind of
// generators.external-secrets.io. config.Provider is nil: what there is to know
// stands in spec. The errors are those of this package, but never an
// ErrNotFound: that there is nothing to make says of no secret that it is gone.
type Generate func(ctx context.Context, spec any, config Config) (Made, error)

// Generators maps a kind of generators.external-secrets.io to the backend that
// makes its values.
type Generators map[string]Generate

// Generate returns generate with tries.
func (t Retries) Generate(generate Generate) Generate {
	return func(ctx context.Context, spec any, config Config) (Made, error) {
		var made Made
		err := t.do(ctx, func() (err error) {
			made, err = generate(ctx, spec, config)
			return err
		})
		return made, err
	}
}

// Object takes a JSON object apart: strings without their quotes, null as
// nothing, anything else as it is spelled. It returns ErrInvalid, without a
// word of the text, if that is something else.
func Object(text []byte) (map[string]Value, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil || fields == nil {
		return nil, fmt.Errorf("%w: it is no JSON object", ErrInvalid)
	}
	values := make(map[string]Value, len(fields))
	for key, raw := range fields {
		var plain string
		switch {
		case string(raw) == "null":
		case json.Unmarshal(raw, &plain) != nil:
			plain = string(raw)
		}
		values[key] = NewValue([]byte(plain))
	}
	return values, nil
}
