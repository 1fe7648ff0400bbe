// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"winery/test/certtest"
	"winery/test/expect"
	"winery/test/pgtest"
)

// TestServer: a server says what it is, and how the connection to it is protected.
func TestServer(t *testing.T) {
	server := pgtest.Start(t)
	s := must(open(t, server.DSN).Server(t.Context()))(t)
	if s.Version == "" || s.Database != "postgres" || s.User != "winery" || s.IsStandby || s.Pooled {
		t.Errorf("%+v", s)
	}
	if s.MaxConnections != 997 || s.Connections < 1 || s.Connections > 20 {
		t.Errorf("%d of %d connections", s.Connections, s.MaxConnections)
	}
	if bounced := must(open(t, pgtest.Bouncer(t, server.DSN)).Server(t.Context()))(t); !bounced.Pooled || !bounced.Local {
		t.Errorf("through a pooler: %+v", bounced)
	}

	authority := certtest.New(t)
	folder, owner := server.Folder("tls")
	certificate, key := filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")
	authority.Server(certificate, key)
	for _, path := range []string{certificate, key} {
		expect.NoError(t, os.Chown(path, int(owner), -1))
		expect.NoError(t, os.Chmod(path, 0o600))
	}
	server.Exec("ALTER SYSTEM SET ssl_cert_file = '" + certificate + "'")
	server.Exec("ALTER SYSTEM SET ssl_key_file = '" + key + "'")
	server.Exec("ALTER SYSTEM SET ssl = on")
	server.Exec("SELECT pg_reload_conf()")
	expect.Eventually(t, "the server to have TLS", func() bool { return server.Holds("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") })
	root := "&sslrootcert=" + url.QueryEscape(authority.Path)
	for mode, want := range map[string]struct{ encrypted, verified bool }{
		"disable": {false, false}, "require": {true, false}, "verify-ca" + root: {true, true}, "verify-full" + root: {true, true},
	} {
		s := must(open(t, server.DSN+"?sslmode="+mode).Server(t.Context()))(t)
		if !s.Local || s.Encrypted != want.encrypted || s.Verified != want.verified {
			t.Errorf("sslmode=%s: %+v", mode, s)
		}
	}
}
