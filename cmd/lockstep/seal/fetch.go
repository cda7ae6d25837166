package seal

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/lockstep-dev/lockstep/cmd/internal/cluster"
)

// verified asks the controller whether it opens a SealedSecret.
func verified(ctx context.Context, c *cluster.Controller, manifest []byte) (bool, error) {
	_, err := c.Post(ctx, "/v1/verify", "application/yaml", manifest)
	var status apierrors.APIStatus
	switch {
	case err == nil:
		return true, nil
	case errors.As(err, &status) && status.Status().Code == http.StatusConflict:
		return false, nil
	default:
		return false, fmt.Errorf("ask the controller: %w", err)
	}
}

func readLimited(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return cluster.Limited(f)
}

// errEmpty says that a file that should hold keys holds none.
var errEmpty = errors.New("it holds neither published keys, nor a public key, nor a certificate")
