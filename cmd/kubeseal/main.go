// Command kubeseal is a drop-in for the kubeseal of Sealed Secrets: the same
// flags, the same output.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/spf13/pflag"
)

// version is set by the linker.
var version = "v0.0.0-dev" //nolint:gochecknoglobals // -ldflags -X needs a variable

func main() {
	os.Exit(exit())
}

// exit returns the exit code, so that what is deferred runs before.
func exit() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, os.Args, streams{in: os.Stdin, out: os.Stdout, err: os.Stderr})
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		return 2 // as the genuine one: pflag's way of exiting
	default:
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		return 1
	}
}

// streams are where a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// errUsage says that the flags could not be understood, and that this was said.
var errUsage = errors.New("usage")

// run does what args say, of which the first is the program's name.
func run(ctx context.Context, args []string, s streams) error {
	o := newOptions()
	o.program = args[0]
	err := o.parse(args[1:], s)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return nil
	case err != nil:
		return err
	case o.version:
		fmt.Fprintf(s.out, "kubeseal version: %s\n", version)
		return nil
	case o.help:
		o.usage(s.out)
		return nil
	case o.completion != "":
		return o.complete(s.out)
	}
	return o.run(ctx, s)
}
