// SPDX-License-Identifier: GPL-3.0-or-later

package access_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"winery/internal/httpapi"
	"winery/internal/httpapi/access"
	"winery/test/certtest"
	"winery/test/expect"
)

// server is one with TLS that tells a client its name.
func server(t *testing.T, c *access.Certificates, g *access.Guard) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a listener of a test
	expect.NoError(t, err)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		client, err := g.Admit(w, r, httpapi.Read)
		if err != nil {
			http.Error(w, err.Error(), httpapi.Classify(err).Plain)
			return
		}
		_, _ = io.WriteString(w, client)
	})
	s := httpapi.NewServer(t.Context(), handler, httpapi.MaxConnections, slog.New(slog.DiscardHandler))
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.Serve(tls.NewListener(l, c.Config())) })
	t.Cleanup(func() {
		_ = s.Close()
		serving.Wait()
	})
	return "https://" + l.Addr().String()
}

// ask sends a request with a client certificate, unless that is nil.
func ask(t *testing.T, address string, ca *certtest.Authority, own *tls.Certificate) (string, error) {
	t.Helper()
	config := &tls.Config{RootCAs: ca.Pool(), MinVersion: tls.VersionTLS12}
	if own != nil {
		config.Certificates = []tls.Certificate{*own}
	}
	client := http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	expect.NoError(t, err)
	answer, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.Status + ": " + string(text), err
}

func TestCertificates(t *testing.T) {
	ca, other := certtest.New(t), certtest.New(t)
	dir := t.TempDir()
	files := access.Files{Certificate: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), ClientCA: ca.Path}
	ca.Server(files.Certificate, files.Key)
	certificates, err := access.NewCertificates(files)
	expect.NoError(t, err)
	g := guard(t, `
clients:
  - {name: vault, certificate: vault.example.org, rights: [read]}
  - {name: loader, certificate: "spiffe://example.org/loader", rights: [read]}
  - {name: writer, certificate: write@example.org, rights: [write]}
`)
	address := server(t, certificates, g)
	if left := time.Until(certificates.Expiry()); left < 0 || left > time.Hour {
		t.Errorf("the certificate expires in %v", left)
	}
	issued := func(a *certtest.Authority, template *x509.Certificate) *tls.Certificate {
		pair := a.ClientPair(template)
		return &pair
	}
	uri, err := url.Parse("spiffe://example.org/loader")
	expect.NoError(t, err)
	for _, c := range []struct {
		what string
		own  *tls.Certificate
		want string
	}{
		{"DNS name", issued(ca, &x509.Certificate{DNSNames: []string{"other", "vault.example.org"}}), "200 OK: vault"},
		{"URI", issued(ca, &x509.Certificate{URIs: []*url.URL{uri}}), "200 OK: loader"},
		{"without the right", issued(ca, &x509.Certificate{EmailAddresses: []string{"write@example.org"}}), `403 Forbidden: client writer does not have the right "read"`},
		{"common name", issued(ca, &x509.Certificate{Subject: pkix.Name{CommonName: "vault.example.org"}}), "401 Unauthorized: no client has a certificate"},
		{"another name", issued(ca, &x509.Certificate{DNSNames: []string{"vault.example.com"}}), `401 Unauthorized: no client has a certificate with one of these subject alternative names: ["vault.example.com"]`},
		{"no certificate", nil, "401 Unauthorized: this request needs a token"},
		{"another authority", issued(other, &x509.Certificate{DNSNames: []string{"vault.example.org"}}), ""},
	} {
		got, err := ask(t, address, ca, c.own)
		if c.want == "" && err == nil || c.want != "" && (err != nil || !strings.HasPrefix(got, c.want)) {
			t.Errorf("%s: %q, %v; want %q", c.what, got, err, c.want)
		}
	}

	// Another certificate of the server, while it serves.
	expect.NoError(t, os.WriteFile(files.Key, nil, 0o600))
	if err := certificates.Reload(); err == nil || !strings.Contains(err.Error(), files.Key) {
		t.Errorf("without a key: %v", err)
	}
	if _, err := ask(t, address, ca, nil); err != nil {
		t.Errorf("after a failed reload: %v", err)
	}
	files.ClientCA = ""
	other.Server(files.Certificate, files.Key)
	expect.NoError(t, certificates.Reload())
	if _, err := ask(t, address, ca, nil); err == nil {
		t.Error("the old certificate is still used")
	}
	if _, err := ask(t, address, other, nil); err != nil {
		t.Errorf("the new certificate: %v", err)
	}
}
