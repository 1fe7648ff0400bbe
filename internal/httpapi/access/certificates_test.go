// SPDX-License-Identifier: GPL-3.0-or-later

package access_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"winery/internal/httpapi"
	"winery/internal/httpapi/access"
	"winery/test/expect"
)

// authority signs certificates.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	path string // of its certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, path: filepath.Join(t.TempDir(), "ca.pem")}
	template := &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, Subject: pkix.Name{CommonName: "ca"}}
	var der []byte
	a.key, der = a.sign(template)
	var err error
	a.cert, err = x509.ParseCertificate(der)
	expect.NoError(t, err)
	writePEM(t, a.path, "CERTIFICATE", der)
	return a
}

// sign signs a certificate, by itself where the authority has none.
func (a *authority) sign(template *x509.Certificate) (*ecdsa.PrivateKey, []byte) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	expect.NoError(a.t, err)
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	expect.NoError(a.t, err)
	return key, der
}

// issue writes a certificate and its key to files.
func (a *authority) issue(template *x509.Certificate, files access.Files) {
	key, der := a.sign(template)
	writePEM(a.t, files.Certificate, "CERTIFICATE", der)
	private, err := x509.MarshalECPrivateKey(key)
	expect.NoError(a.t, err)
	writePEM(a.t, files.Key, "EC PRIVATE KEY", private)
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	expect.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}

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
	s := httpapi.NewServer(t.Context(), handler, slog.New(slog.DiscardHandler))
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(tls.NewListener(l, c.Config())) }()
	t.Cleanup(func() {
		_ = s.Close()
		<-ended
	})
	return "https://" + l.Addr().String()
}

// ask sends a request with a client certificate, unless that is nil.
func ask(t *testing.T, url string, ca *authority, own *tls.Certificate) (string, error) {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	config := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	if own != nil {
		config.Certificates = []tls.Certificate{*own}
	}
	client := http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
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
	ca, other := newAuthority(t), newAuthority(t)
	dir := t.TempDir()
	files := access.Files{Certificate: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), Clients: ca.path}
	own := &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	ca.issue(own, files)
	certificates, err := access.NewCertificates(files)
	expect.NoError(t, err)
	g := guard(t, `
clients:
  - {name: vault, certificate: vault.example.org, rights: [read]}
  - {name: loader, certificate: "spiffe://example.org/loader", rights: [read]}
  - {name: writer, certificate: write@example.org, rights: [write]}
`)
	address := server(t, certificates, g)
	issued := func(a *authority, template *x509.Certificate) *tls.Certificate {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		key, der := a.sign(template)
		return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
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
	files.Clients = ""
	other.issue(own, files)
	expect.NoError(t, certificates.Reload())
	if _, err := ask(t, address, ca, nil); err == nil {
		t.Error("the old certificate is still used")
	}
	if _, err := ask(t, address, other, nil); err != nil {
		t.Errorf("the new certificate: %v", err)
	}
}
