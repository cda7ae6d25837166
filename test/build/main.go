// Command build builds the programs that the tests and the demo start, those
// that are named or all of them, into the user's cache folder. What is there
// already is left alone.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/lockstep-dev/lockstep/test/testenv"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
}

func run(names []string, out io.Writer) error {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if len(names) == 0 {
		names = testenv.Programs()
	}
	start := time.Now()
	for i, name := range names {
		fmt.Fprintf(out, "[%d/%d] %s\n", i+1, len(names), name)
		path, err := testenv.Binary(ctx, name, out)
		if errors.Is(err, testenv.ErrNoCompiler) {
			fmt.Fprintf(out, "[%d/%d] %s is left out, and the tests with it: %v\n", i+1, len(names), name, testenv.ErrNoCompiler)
			continue
		}
		if err != nil {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "[%d/%d] %s is ready (%d MB)\n", i+1, len(names), name, info.Size()>>20)
	}
	fmt.Fprintf(out, "everything is built; %s\n", time.Since(start).Round(time.Second))
	return nil
}
