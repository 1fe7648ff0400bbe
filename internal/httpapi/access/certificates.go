// SPDX-License-Identifier: GPL-3.0-or-later

package access

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// Files are those of a TLS server, in PEM. ClientCA may be "": then no client
// certificate is asked for.
type Files struct {
	Certificate, Key string // the server's own, with its intermediates
	ClientCA         string // the authorities that sign clients' certificates
}

// Certificates are a TLS server's. Its methods may be called concurrently.
type Certificates struct {
	files   Files
	current atomic.Pointer[tls.Config]
}

// NewCertificates reads the files.
func NewCertificates(f Files) (*Certificates, error) {
	c := &Certificates{files: f}
	return c, c.Reload()
}

// Reload reads the files again. After an error the server continues with those that
// it has. Connections that exist keep theirs.
func (c *Certificates) Reload() error {
	own, err := tls.LoadX509KeyPair(c.files.Certificate, c.files.Key)
	if err != nil {
		return fmt.Errorf("TLS certificate %s with key %s: %w", c.files.Certificate, c.files.Key, err)
	}
	// HTTP/2 is left out: the limits of a connection are those of one request.
	config := &tls.Config{Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if c.files.ClientCA != "" {
		if config.ClientCAs, err = Authorities(c.files.ClientCA); err != nil {
			return err
		}
		config.ClientAuth = tls.VerifyClientCertIfGiven
	}
	c.current.Store(config)
	return nil
}

// Expiry returns when the first certificate of the server's chain expires.
func (c *Certificates) Expiry() (first time.Time) {
	for _, der := range c.current.Load().Certificates[0].Certificate {
		if parsed, err := x509.ParseCertificate(der); err == nil && (first.IsZero() || parsed.NotAfter.Before(first)) {
			first = parsed.NotAfter
		}
	}
	return first
}

// Authorities reads certificates of authorities, in PEM.
func Authorities(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("certificate authorities: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("certificate authorities: %s has no certificate in PEM", path)
	}
	return pool, nil
}

// Config returns the configuration of a server. Each new connection gets the files
// that were read last.
func (c *Certificates) Config() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.current.Load(), nil },
	}
}
