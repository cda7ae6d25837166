// Package decrypt opens what SOPS has encrypted: whole files, documents of a
// manifest, and values of a Secret. It works in memory, verifies the MAC, and
// runs nothing and reads no file and no environment variable of the process.
//
// SOPS' own library reads and writes the formats and opens the values; the
// keys that a file names are opened here, as that library would look for them
// in the environment, ask a gpg program, and send tokens to whatever address a
// file names.
package decrypt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
	"github.com/getsops/sops/v3/keyservice"
	"github.com/getsops/sops/v3/logging"
)

// maxFile bounds an encrypted file in bytes: what it becomes has to fit into
// objects of 1.5 MiB. It is Flux's limit.
const maxFile = 5 << 20

// maxKeys bounds how many keys one file may be encrypted for: each may cost a
// request.
const maxKeys = 100

// ErrNoKeys says that something is encrypted, and nothing is given to open it.
var ErrNoKeys = errors.New("is encrypted with SOPS")

// An Opener opens the files of one run, and remembers what it opened.
type Opener struct {
	// Keys open the files.
	Keys *Keys
	// Settings are those of who runs this process.
	Settings *Settings
	// SkipMAC opens files that were changed after they were encrypted, too.
	SkipMAC bool

	//nolint:containedctx // kustomize reads files without a context
	ctx  context.Context
	mu   sync.Mutex
	seen map[string]bool  // the values that were opened
	down map[string]error // servers that did not answer in this run
}

// New returns an Opener for one run, which ends with ctx.
func New(ctx context.Context, keys *Keys, settings *Settings) *Opener {
	silence()
	return &Opener{Keys: keys, Settings: settings, ctx: ctx, seen: map[string]bool{}, down: map[string]error{}}
}

// silence keeps SOPS' library from writing to standard error: it repeats
// comments, which may be encrypted ones.
var silence = sync.OnceFunc(func() {
	for _, l := range logging.Loggers {
		l.SetOutput(io.Discard)
	}
})

// Open returns what a file holds: opened if it is encrypted, and otherwise as
// it is. Of a YAML file with several documents each is looked at. Its errors
// hold nothing of the content.
func (o *Opener) Open(name string, data []byte) (opened []byte, err error) {
	format := detect(name, data)
	if format == plain {
		return data, nil
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s: %d bytes are more than the %d that an encrypted file may have", name, len(data), maxFile)
	}
	defer func() {
		// The library panics on some malformed input.
		if p := recover(); p != nil {
			opened, err = nil, fmt.Errorf("%s: %w", name, errMalformed)
		}
	}()
	if format == yamlFormat {
		opened, err = o.documents(data)
	} else {
		opened, err = o.file(format, data)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return opened, nil
}

// Opened reports whether text is a value that was opened, or holds one that is
// long enough not to be there by chance.
func (o *Opener) Opened(text string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.seen[text] {
		return true
	}
	for v := range o.seen {
		if len(v) >= 8 && strings.Contains(text, v) {
			return true
		}
	}
	return false
}

// Values are all values that were opened. They are not to be shown.
func (o *Opener) Values() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	values := make([]string, 0, len(o.seen))
	for v := range o.seen {
		values = append(values, v)
	}
	return values
}

func (o *Opener) remember(value string) {
	if value == "" {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen[value] = true
}

// Errors about a file. SOPS' own repeat what they could not read.
var (
	errMalformed = errors.New("says that it is encrypted with SOPS, but cannot be read as such: encrypt it anew")
	errChanged   = errors.New("was changed after it was encrypted (its MAC does not fit): edit it with sops, or take the last version that was")
	errValue     = errors.New("a value in it cannot be opened: it was changed or moved after it was encrypted, or stands in clear where the file says that it is encrypted; edit it with sops")
)

// file opens one file.
func (o *Opener) file(f format, data []byte) ([]byte, error) {
	tree, err := o.tree(f, data)
	if err != nil {
		return nil, err
	}
	out, err := stores[f].EmitPlainFile(tree.Branches)
	if err != nil {
		return nil, errMalformed
	}
	o.remember(string(out))
	return out, nil
}

// tree opens all values of a file and verifies its MAC.
func (o *Opener) tree(f format, data []byte) (*sops.Tree, error) {
	tree, err := stores[f].LoadEncryptedFile(data)
	if err != nil {
		return nil, errMalformed
	}
	if tree.Metadata.MasterKeyCount() > maxKeys {
		return nil, fmt.Errorf("it is encrypted for more than %d keys", maxKeys)
	}
	s := &service{Opener: o}
	key, err := tree.Metadata.GetDataKeyWithKeyServices([]keyservice.KeyServiceClient{keyservice.NewCustomLocalClient(s)}, sops.DefaultDecryptionOrder)
	if err != nil || len(key) == 0 {
		return nil, s.failure()
	}
	defer clear(key)
	cipher := recorder{aes.NewCipher(), o}
	mac, err := tree.Decrypt(key, cipher)
	if err != nil {
		return nil, errValue
	}
	if o.SkipMAC {
		return &tree, nil
	}
	want, err := cipher.Cipher.Decrypt(tree.Metadata.MessageAuthenticationCode, key, tree.Metadata.LastModified.Format(time.RFC3339))
	if err != nil || want != mac {
		return nil, errChanged
	}
	return &tree, nil
}

// recorder remembers what it opens.
type recorder struct {
	sops.Cipher
	into *Opener
}

// Decrypt implements sops.Cipher.
func (r recorder) Decrypt(ciphertext string, key []byte, additionalData string) (any, error) {
	plaintext, err := r.Cipher.Decrypt(ciphertext, key, additionalData)
	if err != nil {
		return nil, errValue
	}
	switch v := plaintext.(type) {
	case string:
		r.into.remember(v)
	case []byte:
		r.into.remember(string(v))
	case sops.Comment:
		r.into.remember(v.Value)
	default:
		r.into.remember(fmt.Sprint(v))
	}
	return plaintext, nil
}

// documents opens the documents of a YAML file. Those that were encrypted as
// one file have one MAC; others stand for themselves.
func (o *Opener) documents(data []byte) ([]byte, error) {
	docs := split(data)
	if !slices.ContainsFunc(docs, func(d document) bool { return d.mac != "" }) {
		return data, nil
	}
	var out [][]byte
	for len(docs) > 0 {
		n := 1
		for n < len(docs) && docs[0].mac != "" && docs[n].mac == docs[0].mac {
			n++
		}
		opened, err := o.group(docs[:n])
		if err != nil {
			return nil, err
		}
		out = append(out, opened...)
		docs = docs[n:]
	}
	return bytes.Join(out, []byte("---\n")), nil
}

// group opens documents that were encrypted as one file, but leaves those that
// ask for it as they are.
func (o *Opener) group(docs []document) ([][]byte, error) {
	texts := make([][]byte, 0, len(docs))
	for _, d := range docs {
		texts = append(texts, d.text)
	}
	if docs[0].mac == "" || !slices.ContainsFunc(docs, func(d document) bool { return !d.disabled }) {
		return texts, nil
	}
	tree, err := o.tree(yamlFormat, bytes.Join(texts, []byte("---\n")))
	if err != nil {
		return nil, err
	}
	if len(tree.Branches) != len(docs) {
		return nil, errMalformed
	}
	for i, branch := range tree.Branches {
		if docs[i].disabled {
			continue
		}
		if texts[i], err = stores[yamlFormat].EmitPlainFile(sops.TreeBranches{branch}); err != nil {
			return nil, errMalformed
		}
	}
	return texts, nil
}
