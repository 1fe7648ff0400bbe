// SPDX-License-Identifier: GPL-3.0-or-later

package writer_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"winery/internal/config"
	"winery/internal/writer"
	"winery/test/certtest"
	"winery/test/expect"
)

// TestProtectionErrors: a file that may be right at the next start does not end the
// writer for good, as an error of the configuration does.
func TestProtectionErrors(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	place := func(name, text string) string {
		expect.NoError(t, os.WriteFile(path(name), []byte(text), 0o600))
		return path(name)
	}
	certtest.New(t).Server(path("cert.pem"), path("key.pem"))
	certtest.New(t).Server(path("renewed.pem"), path("renewed-key.pem"))
	tls := func(certificate, key, ca string) config.Winery {
		return config.Winery{TLS: config.TLS{Certificate: certificate, Key: key, ClientCA: ca}}
	}
	for name, c := range map[string]struct {
		winery  config.Winery
		forGood bool
		says    string
	}{
		"a renewal without the key yet": {tls(path("renewed.pem"), path("key.pem"), ""), false, "winery.tls: TLS certificate " + path("renewed.pem")},
		"no certificate":                {tls(path("absent.pem"), path("key.pem"), ""), false, path("absent.pem")},
		"no key":                        {tls(path("cert.pem"), path("absent.pem"), ""), false, path("absent.pem")},
		"a key that cannot be read":     {tls(path("cert.pem"), dir, ""), false, dir},
		"no authorities":                {tls(path("cert.pem"), path("key.pem"), path("absent.pem")), false, path("absent.pem")},
		"no access file":                {config.Winery{Access: path("absent.yml")}, false, "winery.access: access file: open " + path("absent.yml")},
		"an access file that is none":   {config.Winery{Access: dir}, false, "winery.access: access file: read " + dir},
		"a malformed certificate":       {tls(place("wrong.pem", "-----"), path("key.pem"), ""), true, "winery.tls: TLS certificate " + path("wrong.pem")},
		"a malformed key":               {tls(path("cert.pem"), path("wrong.pem"), ""), true, "winery.tls: "},
		"malformed authorities":         {tls(path("cert.pem"), path("key.pem"), path("wrong.pem")), true, "winery.tls: certificate authorities"},
		"a malformed access file":       {config.Winery{Access: place("wrong.yml", "clients: [")}, true, "winery.access: access file " + path("wrong.yml")},
	} {
		_, err := writer.NewProtection(c.winery)
		if err == nil || errors.As(err, new(*config.Error)) != c.forGood || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %T: %v, want %s", name, err, err, c.says)
		}
	}
}
