package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/term"

	"github.com/lockstep-dev/lockstep/cmd/internal/manifest"
	"github.com/lockstep-dev/lockstep/sealer"
)

// run does what the flags say.
func (o *options) run(ctx context.Context, s streams) error {
	if len(o.fromFile) > 0 && !o.raw {
		return errors.New("--from-file requires --raw")
	}
	if o.reEncrypt && o.outputFile == "" {
		o.outputFile = o.inputFile
	}
	if ext := filepath.Ext(o.outputFile); ext == ".yaml" || ext == ".yml" {
		o.format = "yaml"
	}
	var out bytes.Buffer
	if err := o.work(ctx, s, &out); err != nil {
		return err
	}
	if o.outputFile != "" {
		return manifest.ReplaceFile(o.outputFile, out.Bytes(), 0o644)
	}
	_, err := s.out.Write(out.Bytes())
	return err
}

func (o *options) work(ctx context.Context, s streams, out *bytes.Buffer) error {
	in, closeIn, err := o.input(s)
	if err != nil {
		return err
	}
	defer closeIn()
	switch {
	case o.recoveryUnseal:
		return o.unseal(ctx, in, out)
	case o.validate:
		return o.validateAll(ctx, in)
	case o.reEncrypt:
		return o.reEncryptAll(ctx, in, out)
	}
	cert, err := o.certificate(ctx)
	if err != nil {
		return err
	}
	if o.fetchCert {
		out.Write(cert)
		return nil
	}
	seal := sealing{options: o}
	if seal.key, err = publicKey(cert); err != nil {
		return err
	}
	switch {
	case o.mergeInto != "":
		return seal.mergeInto(in)
	case o.raw:
		return seal.rawValue(in, out)
	default:
		return seal.secrets(in, out, o.name, "")
	}
}

// input opens what to seal.
func (o *options) input(s streams) (in io.Reader, done func(), err error) {
	if o.inputFile != "" {
		f, err := os.Open(o.inputFile)
		if err != nil {
			return nil, nil, errors.New("Could not read file specified with --secret-file") //nolint:staticcheck // ST1005: the genuine words
		}
		return f, func() { _ = f.Close() }, nil // it was only read
	}
	if f, ok := s.in.(*os.File); ok && !o.fetchCert && len(o.fromFile) == 0 && term.IsTerminal(int(f.Fd())) {
		what := "json/yaml k8s resource"
		if o.raw {
			what = "a secret to encrypt"
		}
		fmt.Fprintf(s.err, "(tty detected: expecting %s in stdin)\n", what)
	}
	return s.in, func() {}, nil
}

// rawValue seals one value, as it is.
func (s *sealing) rawValue(in io.Reader, out io.Writer) error {
	at := sealer.Binding{Name: s.name, Scope: s.scope.Scope}
	if at.Scope != sealer.ClusterWide {
		namespace, _, err := s.client().Namespace()
		if err != nil {
			return err
		}
		if namespace == "" {
			return fmt.Errorf("must provide the --namespace flag with --raw and --scope %s", at.Scope)
		}
		at.Namespace = namespace
	}
	if at.Scope == sealer.Strict && at.Name == "" {
		return fmt.Errorf("must provide the --name flag with --raw and --scope %s", at.Scope)
	}
	value, err := s.rawInput(in)
	if err != nil {
		return err
	}
	sealed, err := sealer.Seal(s.key, value, at.Label())
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, base64.StdEncoding.EncodeToString(sealed))
	return err
}

func (s *sealing) rawInput(in io.Reader) ([]byte, error) {
	switch len(s.fromFile) {
	case 0:
		return io.ReadAll(io.LimitReader(in, sealer.MaxValue+1)) // Seal refuses what is larger
	case 1:
		path := s.fromFile[0]
		if _, after, ok := strings.Cut(path, "="); ok {
			path = after
		}
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return io.ReadAll(io.LimitReader(f, sealer.MaxValue+1))
	default:
		return nil, errors.New("must provide only one --from-file when encrypting a single item with --raw")
	}
}
