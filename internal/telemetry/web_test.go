// SPDX-License-Identifier: GPL-3.0-or-later

package telemetry

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"winery/test/expect"
)

// With a web configuration file the server speaks TLS and asks for a password, for
// every path.
func TestWebConfig(t *testing.T) {
	dir := t.TempDir()
	place := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		expect.NoError(t, os.WriteFile(path, text, 0o600))
		return path
	}
	// The certificate of httptest is valid for 127.0.0.1.
	borrowed := httptest.NewTLSServer(nil)
	borrowed.Close()
	certificate := borrowed.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	expect.NoError(t, err)
	place("cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}))
	place("key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	hash, err := bcrypt.GenerateFromPassword([]byte("open sesame"), bcrypt.MinCost)
	expect.NoError(t, err)
	config := place("web.yml", fmt.Appendf(nil, "tls_server_config: {cert_file: cert.pem, key_file: key.pem}\nbasic_auth_users: {prometheus: %q}\n", hash))
	expect.NoError(t, CheckWebConfig(config))

	s := serving(t, config)
	roots := x509.NewCertPool()
	roots.AddCert(borrowed.Certificate())
	s.client.Transport = &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots}}
	plain := s.url
	s.url = "https" + plain[len("http"):]
	for _, path := range []string{"/metrics", "/livez", "/readyz", "/debug/pprof/"} {
		s.want(path, http.StatusUnauthorized)
	}
	s.url = "https://prometheus:open%20sesame@" + plain[len("http://"):]
	s.want("/livez", 200, "ok")
	s.want("/metrics", 200, "winery_database_up 0")

	if err := CheckWebConfig(place("wrong.yml", []byte("tls_server_config: {cert_file: absent.pem, key_file: key.pem}\n"))); err == nil {
		t.Error("a certificate that does not exist was accepted")
	}
}
