package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/lockstep-dev/lockstep/test/stage"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// besideScenario is played on two stages, one after the other.
const besideScenario = "sync-beside"

// fluxModule pins the controllers of Flux.
const fluxModule = "tools/fluxcontrollers"

// beside runs sync-create with this repository's controller, and then with
// Flux's source-controller and kustomize-controller, with the flags of their
// own manifests, each on a control plane of its own. Its result is ours, with
// that of Flux below "flux".
func beside(ctx context.Context, out io.Writer, o options) error {
	ours, err := measure(ctx, "sync-create", o)
	if err != nil {
		return err
	}
	theirs, err := measureFlux(ctx, o)
	if err != nil {
		return err
	}
	ours.Scenario = besideScenario
	ours.More["flux"] = theirs
	ours.More["times_faster"] = round(theirs.ReadyAll / ours.ReadyAll)
	return json.NewEncoder(out).Encode(ours)
}

func measureFlux(ctx context.Context, o options) (result, error) {
	o.controller = "exec sleep infinity" // those of Flux start when the kinds that they wait for are there
	s, err := start(ctx, "sync-create", o)
	if err != nil {
		return result{}, err
	}
	defer s.Stop()
	b := newBench(s, "sync-create", o)
	if err := b.helmKinds(ctx); err != nil {
		return result{}, err
	}
	ports, err := freePorts(1)
	if err != nil {
		return result{}, err
	}
	err = errors.Join(
		b.startFlux(ctx, "source-controller", fmt.Sprintf("--storage-path=. --storage-addr=127.0.0.1:%d --storage-adv-addr=127.0.0.1:%d", ports[0], ports[0])),
		b.startFlux(ctx, "kustomize-controller", ""),
	)
	if err == nil {
		err = syncCreate(ctx, b)
	}
	for _, c := range b.besides {
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, c.Tail(20))
		}
		c.Stop()
	}
	return b.result, err
}

// startFlux starts one of Flux's controllers with the flags of its manifest and
// args, and waits until it works. Where it listens is another place, no
// notification-controller is told of events, and there is no election, which
// only works in a pod.
//
// Source: config/manager/deployment.yaml of each module.
func (b *bench) startFlux(ctx context.Context, name, args string) error {
	path, err := testenv.Binary(ctx, name, os.Stderr)
	if err != nil {
		return err
	}
	ports, err := freePorts(2)
	if err != nil {
		return err
	}
	c, err := testenv.StartController(ctx, testenv.ControllerOptions{
		Kubeconfig: filepath.Join(filepath.Dir(b.Cluster.Kubeconfig()), "controller.kubeconfig"), // the same user's, so that the requests of both count
		Namespace:  stage.SystemNamespace,
		Shell: fmt.Sprintf("export RUNTIME_NAMESPACE=$POD_NAMESPACE; exec %s --watch-all-namespaces --log-level=info --log-encoding=json"+
			" --metrics-addr=127.0.0.1:%d --health-addr=127.0.0.1:%d %s", path, ports[0], ports[1], args),
	})
	if err != nil {
		return err
	}
	b.besides = append(b.besides, c)
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return stage.Until(ctx, 100*time.Millisecond, name+" to work", func() (bool, error) {
		log, err := c.Log()
		return bytes.Contains(log, []byte("Starting workers")), err
	})
}

// helmKinds creates the definitions that the source-controller waits for, and
// that this repository's chart does not have.
func (b *bench) helmKinds(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/fluxcd/source-controller")
	cmd.Dir, cmd.Env, cmd.Stderr = filepath.Join(b.Root, fluxModule), append(os.Environ(), "GOWORK=off"), os.Stderr
	dir, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("find the source-controller's definitions: %w", err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "config", "crd", "bases", "*.yaml"))
	if err != nil {
		return err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		crd := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(text, crd); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		crd.SetGroupVersionKind(apiextensionsv1.SchemeGroupVersion.WithKind("CustomResourceDefinition"))
		if err := b.Ensure(ctx, crd); err != nil {
			return err
		}
	}
	return nil
}

func freePorts(n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // all at the end, so that no two are the same
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}
