package testenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// process is a running child whose output goes to a file.
type process struct {
	name string
	log  string // path of the file
	cmd  *exec.Cmd
	in   io.Closer // its standard input, held open: the test servers end with it
	done chan struct{}
	err  error // how it ended; read after done
}

// launch describes a child to start.
type launch struct {
	name string
	path string
	args []string
	env  []string // added to this process's
	dir  string   // its working folder
	logs string   // folder for NAME.log
	out  io.Writer
}

// start starts the child. Its standard error goes to the log, and its standard
// output too unless l.out takes it.
func (l launch) start() (*process, error) {
	path := filepath.Join(l.logs, l.name+".log")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", l.name, err)
	}
	defer log.Close()
	cmd := &exec.Cmd{Path: l.path, Args: append([]string{l.path}, l.args...), Dir: l.dir,
		Env: append(os.Environ(), l.env...), Stdout: log, Stderr: log, SysProcAttr: dieWithParent()}
	if l.out != nil {
		cmd.Stdout = l.out
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", l.name, err)
	}
	p := &process{name: l.name, log: path, cmd: cmd, in: in, done: make(chan struct{})}
	started := make(chan error)
	go p.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", l.name, err)
	}
	return p, nil
}

// run starts the child and waits for it on one thread that lives as long as
// the child: the signal that ends a child with its parent really comes when
// the parent's thread ends (prctl(2), PR_SET_PDEATHSIG).
func (p *process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	p.err = p.cmd.Wait()
	close(p.done)
}

// ended returns nil while the child runs, and why it ended after that.
func (p *process) ended() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s ended: %w\n%s", p.name, orExit(p.err), p.tail(15))
	default:
		return nil
	}
}

func orExit(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// stop asks the child to end, and ends it if it does not within grace.
func (p *process) stop(grace time.Duration) {
	_ = p.in.Close()
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // an error means that it is gone
	select {
	case <-p.done:
	case <-time.After(grace):
		p.kill()
	}
}

// kill ends the child at once: right for what keeps nothing worth keeping.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // an error means that it is gone
	<-p.done
}

// tail returns the last n lines of the log.
func (p *process) tail(n int) string {
	data, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return tail(string(data), n)
}

func tail(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// poll calls check every interval until it returns true, and gives up when
// ctx ends or check returns an error. what completes "waiting for ...".
func poll(ctx context.Context, interval time.Duration, what string, check func(context.Context) (bool, error)) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		ok, err := check(ctx)
		if err != nil {
			return err
		}
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, ctx.Err())
		case <-ticker.C:
		}
	}
}
