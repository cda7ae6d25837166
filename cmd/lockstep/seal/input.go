package seal

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/lockstep-dev/lockstep/cmd/internal/manifest"
	"github.com/lockstep-dev/lockstep/sealer"
)

// sources are where values come from, other than from a manifest.
type sources struct {
	literals, files, envFiles []string
}

func (s *sources) any() bool { return len(s.literals)+len(s.files)+len(s.envFiles) > 0 }

// read returns the values by item, as kubectl create secret generic does.
func (s *sources) read(stdin io.Reader) (map[string][]byte, error) {
	data := values{}
	for _, l := range s.literals {
		item, value, ok := strings.Cut(l, "=")
		if !ok {
			return nil, errors.New("--from-literal wants ITEM=VALUE") // what it got may be the value
		}
		if err := data.add(item, []byte(value)); err != nil {
			return nil, fmt.Errorf("--from-literal: %w", err)
		}
	}
	for _, f := range s.files {
		item, path, ok := strings.Cut(f, "=")
		if !ok {
			item, path = filepath.Base(f), f
		}
		value, err := readValue(path, stdin)
		if err == nil {
			err = data.add(item, value)
		}
		if err != nil {
			return nil, fmt.Errorf("--from-file: %w", err)
		}
	}
	for _, path := range s.envFiles {
		if err := readEnv(path, stdin, data.add); err != nil {
			return nil, fmt.Errorf("--from-env-file %s: %w", path, err)
		}
	}
	return data, nil
}

// values are what is to be sealed, by item.
type values map[string][]byte

// add takes a value; an item is given once.
func (v values) add(item string, value []byte) error {
	if problems := validation.IsConfigMapKey(item); len(problems) > 0 {
		return fmt.Errorf("%q is no name for an item: %s", item, strings.Join(problems, "; "))
	}
	if _, ok := v[item]; ok {
		return fmt.Errorf("item %q is given twice", item)
	}
	if len(value) > sealer.MaxValue {
		return fmt.Errorf("item %q: %w", item, sealer.ErrTooLarge)
	}
	v[item] = value
	return nil
}

// readValue reads a file; "-" is the standard input.
func readValue(path string, stdin io.Reader) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(io.LimitReader(stdin, sealer.MaxValue+1))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, sealer.MaxValue+1))
}

// readEnv reads lines of NAME=VALUE; those that are empty or begin with # are
// comments, as in kubectl.
func readEnv(path string, stdin io.Reader, add func(string, []byte) error) error {
	text, err := readValue(path, stdin)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(bytes.NewReader(bytes.TrimPrefix(text, []byte("\ufeff"))))
	lines.Buffer(nil, sealer.MaxValue+1)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimLeft(lines.Text(), " \t")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		item, value, ok := strings.Cut(line, "=")
		if !ok {
			return fmt.Errorf("line %d is not NAME=VALUE", n)
		}
		if err := add(item, []byte(value)); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return lines.Err()
}

// readSecrets reads Secrets in YAML or JSON. Its errors hold nothing of them.
func readSecrets(in io.Reader) ([]*corev1.Secret, error) {
	secrets, err := manifest.Secrets(in)
	if err != nil {
		return nil, err
	}
	for n, s := range secrets {
		if s.Kind != "" && s.Kind != "Secret" {
			return nil, fmt.Errorf("document %d of the input is a %s, not a Secret", n+1, s.Kind)
		}
	}
	if len(secrets) == 0 {
		return nil, errors.New("the input holds no Secret")
	}
	return secrets, nil
}
