// SPDX-License-Identifier: GPL-3.0-or-later

// Package certtest makes certificate authorities and certificates for tests.
package certtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"winery/test/expect"
)

// Authority signs certificates that are valid for an hour, unless a call says otherwise.
type Authority struct {
	Path string // of its certificate, in PEM
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

// New makes an authority.
func New(t *testing.T) *Authority {
	t.Helper()
	a := &Authority{t: t, Path: filepath.Join(t.TempDir(), "ca.pem")}
	var der []byte
	a.key, der = a.sign(&x509.Certificate{
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, Subject: pkix.Name{CommonName: "a test's authority"},
	})
	var err error
	a.cert, err = x509.ParseCertificate(der)
	expect.NoError(t, err)
	a.write(a.Path, "CERTIFICATE", der)
	return a
}

// Pool has the authority alone.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// Server writes the certificate of a server at 127.0.0.1, and its key, to files.
func (a *Authority) Server(certificate, key string) {
	a.t.Helper()
	a.ServerUntil(certificate, key, time.Time{})
}

// ServerUntil is Server for a certificate that expires at another time.
func (a *Authority) ServerUntil(certificate, key string, expires time.Time) {
	a.t.Helper()
	a.issue(&x509.Certificate{
		NotAfter: expires, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, certificate, key)
}

// Client writes the certificate of a client, with the names that template has, and
// its key, to files in a folder of the test.
func (a *Authority) Client(template *x509.Certificate) (certificate, key string) {
	a.t.Helper()
	dir := a.t.TempDir()
	certificate, key = filepath.Join(dir, "client.pem"), filepath.Join(dir, "client.key")
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	a.issue(template, certificate, key)
	return certificate, key
}

// ClientPair is Client for a client in Go.
func (a *Authority) ClientPair(template *x509.Certificate) tls.Certificate {
	a.t.Helper()
	pair, err := tls.LoadX509KeyPair(a.Client(template))
	expect.NoError(a.t, err)
	return pair
}

func (a *Authority) issue(template *x509.Certificate, certificate, key string) {
	a.t.Helper()
	private, der := a.sign(template)
	text, err := x509.MarshalECPrivateKey(private)
	expect.NoError(a.t, err)
	a.write(certificate, "CERTIFICATE", der)
	a.write(key, "EC PRIVATE KEY", text)
}

// sign signs a certificate, by itself where the authority has none yet.
func (a *Authority) sign(template *x509.Certificate) (*ecdsa.PrivateKey, []byte) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	expect.NoError(a.t, err)
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore = time.Now().Add(-time.Hour)
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	expect.NoError(a.t, err)
	return key, der
}

func (a *Authority) write(path, kind string, der []byte) {
	a.t.Helper()
	expect.NoError(a.t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}
