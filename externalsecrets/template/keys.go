package template

import (
	"context"
	"fmt"
)

// Keys makes new keys of Secrets by a template of which .value is the old one.
type Keys struct{ field, text string }

// NewKeys checks a template, whose path is field.
func NewKeys(field, text string) (*Keys, error) {
	e := newEngine(context.Background(), nil) //nolint:forbidigo // only parsed
	if _, err := e.parse(field, text); err != nil {
		return nil, err
	}
	return &Keys{field: field, text: text}, nil
}

// Key returns the new key for an old one.
func (k *Keys) Key(old string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeLimit) //nolint:forbidigo // it is pure, and ends by itself
	defer cancel()
	key, err := newEngine(ctx, map[string][]byte{"value": []byte(old)}).render(k.field, k.text)
	if err != nil {
		return "", fmt.Errorf("key %q: %w", old, err)
	}
	return key, nil
}
