// Command demo shows the main job on real servers: a commit becomes running
// workloads and their Secrets; what changes in Vault, in Git or by hand is
// followed; and a controller that is killed leaves nothing wrong.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/lockstep-dev/lockstep/test/stage"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Getenv("KEEP") == "1")
	stop()
	switch {
	case errors.Is(err, context.Canceled):
		fmt.Println("\nStopped; everything is cleaned up.")
		os.Exit(130) // what a shell expects after Ctrl-C
	case err != nil:
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, keep bool) error {
	begin := time.Now()
	fmt.Println("Lockstep: secrets and workloads, in lockstep with Git.")
	fmt.Println("\nFirst the real servers, all on loopback. The first time they are compiled; after that they are cached.")
	s, err := stage.Start(ctx, stage.Options{Progress: os.Stdout, Started: func(what string, took time.Duration) {
		fmt.Printf("  %8s  %s\n", seconds(took), what)
	}})
	if err != nil {
		return ended(ctx, err)
	}
	defer s.Stop()

	d := &demo{Stage: s}
	if err := d.play(ctx); err != nil {
		err = ended(ctx, err)
		if !errors.Is(err, context.Canceled) {
			s.Keep()
			fmt.Fprint(os.Stderr, s.Tail(15))
		}
		return err
	}
	fmt.Printf("\nDone, in %s.\n", time.Since(begin).Round(time.Second))
	if !keep {
		fmt.Println("Everything is stopped and removed. KEEP=1 make demo stays up, to look around in.")
		return nil
	}
	if err := d.allowPush(ctx); err != nil {
		return err
	}
	fmt.Printf("\nStill running, to look around in:\n\n  export KUBECONFIG=%s\n  go run ./cmd/lockstep get -A\n\n", s.Cluster.Kubeconfig())
	fmt.Printf("The Git repository's clone is %s; push to it and see. Ctrl-C ends everything.\n", d.repo.Folder())
	<-ctx.Done()
	return ctx.Err()
}

// allowPush lets git in the clone push without asking for anything.
func (d *demo) allowPush(ctx context.Context) error {
	for key, value := range map[string]string{
		"http.extraHeader": "Authorization: Bearer " + d.Git.Token, "http.sslVerify": "false",
		"user.name": "You", "user.email": "you@example.com",
	} {
		if _, err := d.repo.Git(ctx, "config", key, value); err != nil {
			return err
		}
	}
	return nil
}

// ended prefers the news that the user stopped the demo to what broke by it.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f s", d.Seconds()) }
