// Command kwok simulates nodes and the pods on them: it is kwok's own command
// with the stages that make a node ready, a pod run at once, and a Job's pod
// complete. The stages are those that its module ships.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"
	nodefast "sigs.k8s.io/kwok/kustomize/stage/node/fast"
	nodelease "sigs.k8s.io/kwok/kustomize/stage/node/heartbeat-with-lease"
	podfast "sigs.k8s.io/kwok/kustomize/stage/pod/fast"
	"sigs.k8s.io/kwok/pkg/config"
	"sigs.k8s.io/kwok/pkg/kwok/cmd"
	"sigs.k8s.io/kwok/pkg/log"
	"sigs.k8s.io/kwok/pkg/utils/signals"
)

func main() {
	if err := run(signals.SetupSignalContext()); err != nil {
		fmt.Fprintln(os.Stderr, "kwok:", err)
		os.Exit(1)
	}
}

// run does what kwok's main does, with the stages as one more --config.
func run(ctx context.Context) error {
	stages, err := writeStages()
	if err != nil {
		return err
	}
	os.Args = append(os.Args, "--config="+stages)

	flags := pflag.NewFlagSet("global", pflag.ContinueOnError)
	flags.ParseErrorsAllowlist.UnknownFlags = true
	flags.Usage = func() {}
	ctx, _ = log.InitFlags(ctx, flags)
	ctx, err = config.InitFlags(ctx, flags)
	if removed := os.Remove(stages); err == nil {
		err = removed
	}
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	command := cmd.NewCommand(ctx)
	command.PersistentFlags().AddFlagSet(flags)
	return command.ExecuteContext(ctx)
}

func writeStages() (path string, err error) {
	f, err := os.CreateTemp("", "kwok-*.yaml")
	if err != nil {
		return "", err
	}
	stages := []string{
		nodefast.DefaultNodeInit, nodelease.DefaultNodeHeartbeatWithLease,
		podfast.DefaultPodReady, podfast.DefaultPodComplete, podfast.DefaultPodDelete,
	}
	if _, err := f.WriteString(strings.Join(stages, "\n---\n")); err != nil {
		_ = f.Close()
		return "", err
	}
	return f.Name(), f.Close()
}
