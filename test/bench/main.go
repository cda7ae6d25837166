// Command bench measures the controller, or another one, on real servers:
//
//	go run ./test/bench run push-to-ready --size 20
//
// Its last line on standard output is one JSON object; docs/benchmarks.md says
// what is in it.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockstep-dev/lockstep/test/stage"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// scenarios are what can be measured.
var scenarios = map[string]func(ctx context.Context, b *bench) error{
	"push-to-ready": pushToReady,
	"sync-noop":     syncNoop,
	"es-create":     esCreate,
	"es-distinct":   esDistinct,
	"es-down":       esDown,
	"es-hang":       esHang,
	"es-memory":     esMemory,
	"es-queue":      esQueue,
	"es-refresh":    esRefresh,
	"es-same":       esSame,
	"es-throttled":  esThrottled,
	"sync-create":   syncCreate,
	"sync-drift":    syncDrift,
	"sync-depends":  syncDepends,
	"sync-large":    syncLarge,
	"sync-memory":   syncMemory,
	"sync-monorepo": syncMonorepo,
	"render":        syncRender,
	"reseal":        resealFiles,

	"seal-create":  sealCreate,
	"seal-floor":   sealFloor,
	"seal-memory":  sealMemory,
	"seal-open":    sealOpen,
	"seal-restart": sealRestart,
}

// inAWS are the scenarios that need AWS.
var inAWS = map[string]bool{"es-distinct": true, "es-refresh": true}

// pure are the scenarios that need no servers.
var pure = map[string]bool{"seal-open": true}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := root().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func root() *cobra.Command {
	cmd := &cobra.Command{Use: "bench", Short: "Measure a controller on real servers", SilenceUsage: true, SilenceErrors: true}
	var o options
	run := &cobra.Command{
		Use:       "run SCENARIO",
		Short:     "Run a scenario: " + strings.Join(names(), ", "),
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: names(),
		RunE: func(cmd *cobra.Command, args []string) error {
			return run(cmd.Context(), cmd.OutOrStdout(), args[0], o)
		},
	}
	run.Flags().IntVar(&o.size, "size", 20, "apps: each a Deployment, a Service, a SealedSecret and an ExternalSecret")
	run.Flags().IntVar(&o.runs, "runs", 20, "how often to measure")
	run.Flags().DurationVar(&o.interval, "interval", 0, "refresh interval of ExternalSecrets; default: that of the scenario")
	run.Flags().DurationVar(&o.latency, "latency", 0, "how long the provider takes to answer; default: that of the scenario")
	run.Flags().StringVar(&o.controller, "controller", "", "a shell command that runs another controller, with KUBECONFIG and POD_NAMESPACE in its environment; default: ours")
	cmd.AddCommand(run)
	return cmd
}

func names() []string {
	return slices.Sorted(slices.Values(append(slices.Collect(maps.Keys(scenarios)), besideScenario)))
}

type options struct {
	size, runs        int
	interval, latency time.Duration
	controller        string
}

// bench is a stage and what was measured on it.
type bench struct {
	*stage.Stage
	options
	result  result
	besides []*testenv.Controller // that work with the stage's
}

// result is the JSON object. Times are in seconds.
type result struct {
	Scenario string `json:"scenario"`
	Size     int    `json:"size"`
	Runs     int    `json:"runs"`

	// From the push to the workload Available, per app; All: to the last app of
	// a run, the median of the runs.
	ReadyP50 float64 `json:"ready_p50_s"`
	ReadyP99 float64 `json:"ready_p99_s"`
	ReadyAll float64 `json:"ready_all_s"`

	// Requests of the controller, from the audit log; watches and the lease
	// are told apart.
	APIServer       map[string]int `json:"apiserver"`
	APIServerTotal  map[string]int `json:"apiserver_request_total"` // of all clients
	WritesPerObject float64        `json:"apiserver_writes_per_object"`

	ProviderCalls map[string]int `json:"provider_calls"`
	CPU           float64        `json:"cpu_s"`
	RSSPeak       float64        `json:"rss_peak_mib"`

	More map[string]any `json:"-"` // what the scenario adds, beside the others
}

// MarshalJSON writes what the scenario adds next to the rest.
func (r result) MarshalJSON() ([]byte, error) {
	type plain result
	text, err := json.Marshal(plain(r))
	if err != nil {
		return nil, err
	}
	all := map[string]any{}
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, err
	}
	maps.Copy(all, r.More)
	return json.Marshal(all)
}

func run(ctx context.Context, out io.Writer, scenario string, o options) error {
	if scenario == besideScenario {
		return beside(ctx, out, o)
	}
	measured, err := measure(ctx, scenario, o)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(measured)
}

// measure plays a scenario on a stage of its own.
func measure(ctx context.Context, scenario string, o options) (result, error) {
	if pure[scenario] {
		b := newBench(nil, scenario, o)
		err := scenarios[scenario](ctx, b)
		return b.result, err
	}
	s, err := start(ctx, scenario, o)
	if err != nil {
		return result{}, err
	}
	defer s.Stop()
	b := newBench(s, scenario, o)
	if err := scenarios[scenario](ctx, b); err != nil {
		fmt.Fprint(os.Stderr, s.Controller.Tail(20))
		return result{}, err
	}
	return b.result, nil
}

func newBench(s *stage.Stage, scenario string, o options) *bench {
	return &bench{Stage: s, options: o, result: result{Scenario: scenario, Size: o.size, Runs: o.runs, More: map[string]any{}}}
}

func start(ctx context.Context, scenario string, o options) (*stage.Stage, error) {
	return stage.Start(ctx, stage.Options{WithoutAWS: !inAWS[scenario], Audit: true, Shell: o.controller, Progress: os.Stderr,
		Started: func(what string, took time.Duration) {
			fmt.Fprintf(os.Stderr, "%6.1f s  %s\n", took.Seconds(), what)
		}})
}
