// SPDX-License-Identifier: GPL-3.0-or-later

package writer_test

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"winery/internal/config"
	"winery/internal/httpapi/rpc/client"
	"winery/internal/writer"
	"winery/sharedbase"
	"winery/test/certtest"
	"winery/test/expect"
)

// protected is a server with TLS and an access file.
type protected struct {
	*running
	o          writer.Options
	ca         *certtest.Authority
	winery     config.Winery
	protection writer.Protection
}

const accessList = `
clients:
  - {name: loader, token_sha256: %x, rights: [read, write]}
  - {name: cleaner, token_sha256: %x, rights: [delete]}
  - {name: vault, certificate: vault.example.org, rights: [read]}
`

func startProtected(t *testing.T) *protected {
	t.Helper()
	dir := t.TempDir()
	p := &protected{o: options(t), ca: certtest.New(t)}
	p.o.Config.AllowDelete = true
	p.winery = config.Winery{
		Listen: "127.0.0.1:0", Access: filepath.Join(dir, "access.yml"),
		TLS: config.TLS{Certificate: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), ClientCA: p.ca.Path},
	}
	p.ca.Server(p.winery.TLS.Certificate, p.winery.TLS.Key)
	p.permit(accessList, "loader's token", "cleaner's token")
	var err error
	p.protection, err = writer.NewProtection(p.winery)
	expect.NoError(t, err)
	p.running = starting(t, p.o, func(ctx context.Context, o writer.Options) error {
		return writer.Run(ctx, writer.Settings{Winery: p.winery, Protection: p.protection, Log: quiet}, func(context.Context) (writer.Options, error) { return o, nil })
	})
	t.Cleanup(p.end)
	return p
}

// permit writes the access file.
func (p *protected) permit(list string, tokens ...string) {
	sums := make([]any, len(tokens))
	for i, token := range tokens {
		sums[i] = sha256.Sum256([]byte(token))
	}
	_ = os.WriteFile(p.winery.Access, fmt.Appendf(nil, list, sums...), 0o600)
}

// reload reads all files again.
func (p *protected) reload() error {
	var errs []error
	for _, part := range p.protection.Reloads() {
		errs = append(errs, part.Read())
	}
	return errors.Join(errs...)
}

func (p *protected) connect(token string) *client.Client {
	p.t.Helper()
	c, err := client.New("https://"+p.address, client.RetryFor(0), client.Authorities(p.ca.Pool()), client.Token(token))
	expect.NoError(p.t, err)
	p.t.Cleanup(c.Close)
	return c
}

// TestProtected: each client may do what the access file says, and the record of a
// deletion names the client.
func TestProtected(t *testing.T) {
	p := startProtected(t)
	content := []byte("protected")
	id := sha256.Sum256(content)
	loader, cleaner, stranger := p.connect("loader's token"), p.connect("cleaner's token"), p.connect("guessed")
	expect.NoError(t, loader.Add(t.Context(), id, content))
	if got, err := loader.Get(t.Context(), id); err != nil || string(got) != string(content) {
		t.Errorf("%q, %v", got, err)
	}
	for says, err := range map[string]error{
		`client loader does not have the right "delete"`: loader.Delete(t.Context(), id),
		`client cleaner does not have the right "read"`:  second(cleaner.Get(t.Context(), id)),
		"the token is not known":                         second(stranger.Get(t.Context(), id)),
		"this request needs a token":                     second(p.connect("").Get(t.Context(), id)),
	} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("error %v, want %s", err, says)
		}
	}
	expect.NoError(t, cleaner.Delete(t.Context(), id))
	var deletions []sharedbase.Deletion
	expect.NoError(t, p.o.Base.Deletions(t.Context(), time.Time{}, nil, func(d sharedbase.Deletion) error {
		deletions = append(deletions, d)
		return nil
	}))
	if len(deletions) != 1 || deletions[0].ID != id || deletions[0].Client != "cleaner" || deletions[0].RequestID == "" ||
		!strings.HasPrefix(deletions[0].Address, "127.0.0.1:") {
		t.Errorf("recorded %+v", deletions)
	}
	select {
	case <-p.alive: // the server reaches itself, with TLS and without a token
	case <-time.After(time.Minute):
		t.Error("the self-check fails")
	}
}

func second[T any](_ T, err error) error { return err }

// TestReloadUnderLoad: certificates and tokens are replaced while requests are
// served, and none fails.
func TestReloadUnderLoad(t *testing.T) {
	p := startProtected(t)
	id := sha256.Sum256([]byte("reloaded"))
	expect.NoError(t, p.connect("loader's token").Add(t.Context(), id, []byte("reloaded")))
	ctx, cancel := context.WithCancel(t.Context())
	var reading sync.WaitGroup
	for range 4 {
		reading.Go(func() {
			for ctx.Err() == nil {
				c := p.connect("loader's token") // a connection of its own
				if _, err := c.Get(t.Context(), id); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range 20 {
		p.ca.Server(p.winery.TLS.Certificate, p.winery.TLS.Key)
		p.permit(accessList, "loader's token", fmt.Sprint("cleaner's token, ", i))
		expect.NoError(t, p.reload())
		if err := p.connect(fmt.Sprint("cleaner's token, ", i-1)).Delete(t.Context(), id); err == nil || !strings.Contains(err.Error(), "the token is not known") {
			t.Errorf("with a revoked token: %v", err)
		}
	}
	cancel()
	reading.Wait()
	p.permit("clients: [", "")
	if err := p.reload(); err == nil || !strings.Contains(err.Error(), p.winery.Access) {
		t.Errorf("a broken access file: %v", err)
	}
}

// TestPythonClientIsProtected: the client in Python sends a token, or a certificate.
func TestPythonClientIsProtected(t *testing.T) {
	python := os.Getenv("WINERY_PYTHON")
	if python == "" {
		t.Fatal("WINERY_PYTHON is not set: run `make test`, or `make interop`")
	}
	p := startProtected(t)
	certificate, key := p.ca.Client(&x509.Certificate{DNSNames: []string{"vault.example.org"}})
	private, err := os.ReadFile(key)
	expect.NoError(t, err)
	both, err := os.OpenFile(certificate, os.O_APPEND|os.O_WRONLY, 0) // a list of two files fails in Python's client
	expect.NoError(t, err)
	_, err = both.Write(private)
	expect.NoError(t, err)
	expect.NoError(t, both.Close())
	cmd := exec.CommandContext(t.Context(), python, "testdata/protected.py", "https://"+p.address, p.ca.Path, "loader's token", certificate)
	cmd.Env = append(os.Environ(), "REQUESTS_CA_BUNDLE=", "CURL_CA_BUNDLE=") // they count more than the session's verify
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("interop: HTTP: Python RemoteObjStorage → winery-writer, with TLS, a token, and a certificate: %s", strings.TrimSpace(string(out)))
}

// TestUnprotectedNetwork: a server does not listen on an address that other hosts
// can reach, unless it is protected, or the configuration says that it may.
func TestUnprotectedNetwork(t *testing.T) {
	open := func(context.Context) (writer.Options, error) {
		t.Error("it serves")
		return writer.Options{}, net.ErrClosed
	}
	err := writer.Run(t.Context(), writer.Settings{Winery: config.Winery{Listen: "0.0.0.0:0"}, Log: quiet}, open)
	if err == nil || !strings.Contains(err.Error(), "which other hosts can reach") {
		t.Errorf("error %v", err)
	}
}
