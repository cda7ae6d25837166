// Package seal holds the commands of lockstep that seal, open and verify
// values.
package seal

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockstep-dev/lockstep/cmd/internal/cluster"
)

// Commands returns seal, open and verify.
func Commands() []*cobra.Command {
	return []*cobra.Command{sealCmd(), openCmd(), verifyCmd()}
}

// trust says which keys to seal with, and why.
type trust struct {
	cluster.Flags
	cert       string
	pins       string
	accept     string
	recipients []string
	compat     bool

	errs io.Writer // gets what a person should know
	now  func() time.Time
}

func (t *trust) bind(cmd *cobra.Command) {
	t.Bind(cmd.Flags())
	t.now = time.Now
	flags := cmd.Flags()
	flags.StringVar(&t.cert, "cert", "", "file with the published keys (lockstep seal fetch) or a certificate (kubeseal --fetch-cert), instead of asking the controller")
	flags.StringVar(&t.pins, "pins", "", "file that remembers the key of each cluster (default .lockstep-pins.json of the repository)")
	flags.StringVar(&t.accept, "accept-key", "", "id of a key to trust from now on, though the key that was trusted did not sign it")
	flags.StringArrayVar(&t.recipients, "recipient", nil, "another key that opens too: a file of published keys, or a public key ls2pub...; may be given several times")
	flags.BoolVar(&t.compat, "compat", false, "seal as kubeseal does (envelope 1)")
}

// errFlags says that two flags do not go together.
var errFlags = errors.New("these flags do not go together")

func (t *trust) check() error {
	if t.compat && len(t.recipients) > 0 {
		return fmt.Errorf("%w: --compat seals for one key, and --recipient names others", errFlags)
	}
	return nil
}
