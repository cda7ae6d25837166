package seal

import (
	"bytes"
	"context"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/lockstep-dev/lockstep/sealer"
)

// target is what to seal with: the keys of envelope 2, or, where there is none,
// that of envelope 1.
type target struct {
	recipients []sealer.Recipient
	public     *rsa.PublicKey
}

// seal returns a value sealed for a place.
func (t target) seal(value []byte, at sealer.Place) (string, error) {
	if len(t.recipients) > 0 {
		return sealer.SealItem(value, at, t.recipients...)
	}
	sealed, err := sealer.Seal(t.public, value, at.Label())
	return base64.StdEncoding.EncodeToString(sealed), err
}

// resolve returns the target that the flags name.
func (t *trust) resolve(ctx context.Context) (target, error) {
	if err := t.check(); err != nil {
		return target{}, err
	}
	text, server, err := t.published(ctx)
	if err != nil {
		return target{}, err
	}
	to, err := t.target(text, server)
	if err != nil {
		return target{}, err
	}
	if len(t.recipients) > 0 && len(to.recipients) == 0 {
		return target{}, fmt.Errorf("%w: --recipient needs a controller that publishes keys of envelope 2, and this one has a certificate only", errFlags)
	}
	for _, r := range t.recipients {
		more, err := t.recipient(r)
		if err != nil {
			return target{}, fmt.Errorf("--recipient %.40s: %w", r, err)
		}
		to.recipients = append(to.recipients, more)
	}
	return to, nil
}

// published returns the keys of the cluster: of a file, or of the controller.
// One that does not know envelope 2, as that of Sealed Secrets, has a
// certificate.
func (t *trust) published(ctx context.Context) (text []byte, server string, err error) {
	if t.cert != "" {
		text, err := readLimited(t.cert)
		if err != nil {
			return nil, "", fmt.Errorf("--cert: %w", err)
		}
		return text, "", nil
	}
	c, err := t.Controller(ctx)
	if err != nil {
		return nil, "", fmt.Errorf("%w; or name the published keys with --cert", err)
	}
	text, found, err := c.Get(ctx, "/v1/keys")
	if err == nil && !found {
		if text, found, err = c.Get(ctx, "/v1/cert.pem"); err == nil && !found {
			err = errors.New("the controller publishes no keys")
		}
	}
	return text, c.Server, err
}

// target reads what was published, and sees that it can be trusted.
func (t *trust) target(text []byte, server string) (target, error) {
	trimmed := bytes.TrimSpace(text)
	switch {
	case bytes.HasPrefix(trimmed, []byte("{")):
		b, err := sealer.ParseBundle(trimmed)
		if err != nil {
			return target{}, err
		}
		if err := t.believe(b, server); err != nil {
			return target{}, err
		}
		if !t.compat {
			return target{recipients: []sealer.Recipient{b.Newest()}}, nil
		}
		_, public := b.Certificate()
		return target{public: public}, nil
	case bytes.HasPrefix(trimmed, []byte("ls2pub.")) && !t.compat:
		r, err := sealer.ParseRecipient(string(trimmed), sealer.ClusterID{})
		return target{recipients: []sealer.Recipient{r}}, err
	default:
		return t.certificateTarget(trimmed, server)
	}
}

// certificateTarget reads a certificate, for envelope 1. One of a file is
// trusted as it was named.
func (t *trust) certificateTarget(text []byte, server string) (target, error) {
	cert, err := sealer.ParseCertificate(text)
	if err != nil {
		return target{}, fmt.Errorf("%w: %w", errEmpty, err)
	}
	if t.now().After(cert.NotAfter) {
		return target{}, fmt.Errorf("the certificate expired on %s", cert.NotAfter.Format("January 2, 2006"))
	}
	if server != "" {
		if err := t.believeCertificate(cert, server); err != nil {
			return target{}, err
		}
	}
	public, _ := cert.PublicKey.(*rsa.PublicKey) // ParseCertificate takes no other
	return target{public: public}, nil
}

// recipient reads what --recipient names. A file of published keys is trusted
// as --cert is.
func (t *trust) recipient(text string) (sealer.Recipient, error) {
	if !strings.HasPrefix(text, "ls2pub.") {
		content, err := readLimited(text)
		if err != nil {
			return sealer.Recipient{}, err
		}
		text = string(bytes.TrimSpace(content))
	}
	if !strings.HasPrefix(text, "{") {
		return sealer.ParseRecipient(text, sealer.ClusterID{})
	}
	b, err := sealer.ParseBundle([]byte(text))
	if err != nil {
		return sealer.Recipient{}, err
	}
	other := *t
	other.accept = ""
	return b.Newest(), other.believe(b, "")
}
