// SPDX-License-Identifier: GPL-3.0-or-later

package s3_test

import (
	"os"
	"path/filepath"
	"testing"

	"winery/pool/pooltest"
	"winery/pool/s3"
	"winery/test/expect"
	"winery/test/s3test"
)

// TestReadOnly: with read_only nothing is changed, and no tmp_directory is needed.
func TestReadOnly(t *testing.T) {
	s := on(t, s3test.Moto(t), nil)
	want := content(1, 1000)
	finished(t, s.pool, "one", want)
	for key, change := range map[string]func(s *s3.Settings){
		"read_only": func(s *s3.Settings) { s.ReadOnly, s.TmpDirectory = true, "" },
		"anonymous": func(s *s3.Settings) { s.Anonymous = true },
	} {
		other := s.settings
		change(&other)
		p := newPool(t, other)
		wantContent(t, p, "one", want)
		expect.NoError(t, p.CheckAccess(t.Context(), false))
		wantDenied(t, "CheckAccess", p.CheckAccess(t.Context(), true), key)
		_, err := p.Create(t.Context(), "two", 0, pooltest.Anything{})
		wantDenied(t, "Create", err, key)
		_, err = p.Edit(t.Context(), "one", pooltest.Anything{})
		wantDenied(t, "Edit", err, key)
		wantDenied(t, "Remove", p.Remove(t.Context(), "one", pooltest.Anything{}), key)
		wantDenied(t, "SetMarker", p.SetMarker(t.Context(), nil, true), key)
		_, err = p.Space(t.Context())
		expect.NoError(t, err)
	}
}

// TestCredentials: what the real server says to wrong keys, and the SDK to none.
func TestCredentials(t *testing.T) {
	server := s3test.Versity(t)
	for name, tt := range map[string]struct {
		change func(s *s3.Settings)
		says   string
	}{
		"key":    {func(s *s3.Settings) { s.AccessKey = "another" }, "does not know the access key"},
		"secret": {func(s *s3.Settings) { s.SecretKey = "another" }, "secret key is wrong"},
		"none":   {func(s *s3.Settings) { s.AccessKey, s.SecretKey = "", "" }, "AWS_ACCESS_KEY_ID"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, variable := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"} {
				t.Setenv(variable, "")
			}
			t.Setenv("HOME", t.TempDir())
			t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
			s := on(t, server, tt.change)
			for name, call := range calls(t, s.pool) {
				wantDenied(t, name, call(), tt.says)
			}
		})
	}
}

// TestEnvironment: endpoint and credentials come from the environment of the AWS SDKs.
func TestEnvironment(t *testing.T) {
	server := s3test.Versity(t)
	t.Setenv("AWS_ENDPOINT_URL", server.Endpoint)
	t.Setenv("AWS_ACCESS_KEY_ID", s3test.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", s3test.SecretKey)
	s := settings("", server.Bucket(t), t.TempDir())
	s.AccessKey, s.SecretKey = "", ""
	expect.NoError(t, newPool(t, s).CheckAccess(t.Context(), true))
}

// TestTLS: the certificate of the store is checked against the authorities that verify
// names, unless verify is false.
func TestTLS(t *testing.T) {
	server := s3test.Versity(t)
	tls := s3test.BeforeTLS(t, server)
	authority := filepath.Join(t.TempDir(), "authority.pem")
	expect.NoError(t, os.WriteFile(authority, tls.Authority, 0o600))
	s := settings(tls.Endpoint, server.Bucket(t), t.TempDir())
	wantDenied(t, "CheckAccess", newPool(t, s).CheckAccess(t.Context(), true), "certificate", "AWS_CA_BUNDLE")
	s.CABundle = authority
	finished(t, newPool(t, s), "one", content(1, 1000))
	s.CABundle, s.Insecure = "", true
	finished(t, newPool(t, s), "two", content(1, 1000))
}
