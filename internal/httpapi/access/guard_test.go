// SPDX-License-Identifier: GPL-3.0-or-later

package access_test

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"winery/internal/httpapi"
	"winery/internal/httpapi/access"
	"winery/test/expect"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// accessFile writes an access file.
func accessFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "access.yml")
	expect.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func guard(t *testing.T, text string) *access.Guard {
	t.Helper()
	g, err := access.NewGuard(accessFile(t, text))
	expect.NoError(t, err)
	return g
}

func hash(token string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(token))) }

// admit asks a guard about a request with a header Authorization.
func admit(t *testing.T, g *access.Guard, authorization string, needed httpapi.Right) (client string, answer *httptest.ResponseRecorder, err error) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/objects", nil)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	answer = httptest.NewRecorder()
	client, err = g.Admit(answer, r, needed)
	return client, answer, err
}

func TestTokens(t *testing.T) {
	today := time.Now().UTC()
	g := guard(t, fmt.Sprintf(`
clients:
  - {name: loader, token_sha256: %s, rights: [read, write]}
  - {name: today, token_sha256: %s, rights: [delete], expires: %s}
  - {name: yesterday, token_sha256: %s, rights: [read], expires: %s}
`, hash("secret"), strings.ToUpper(hash("until tonight")), today.Format(time.DateOnly), hash("past"), today.AddDate(0, 0, -1).Format(time.DateOnly)))
	day := today.Truncate(24 * time.Hour)
	if got, want := g.Expiries(), map[string]time.Time{"today": day.AddDate(0, 0, 1), "yesterday": day}; !maps.Equal(got, want) {
		t.Errorf("access expires %v, want %v", got, want)
	}
	for _, c := range []struct {
		authorization string
		needed        httpapi.Right
		client        string
		status        int
		says          string
	}{
		{"Bearer secret", httpapi.Read, "loader", 0, ""},
		{"bearer  secret ", httpapi.Write, "loader", 0, ""},
		{"Bearer secret", httpapi.Delete, "loader", 403, `client loader does not have the right "delete": an operator grants it`},
		{"Bearer until tonight", httpapi.Delete, "today", 0, ""},
		{"Bearer until tonight", httpapi.Read, "today", 403, `the right "read"`},
		{"Bearer past", httpapi.Read, "", 401, "the access of client yesterday expired on " + today.AddDate(0, 0, -1).Format(time.DateOnly)},
		{"Bearer Secret", httpapi.Read, "", 401, "the token is not known"},
		{"Bearer " + hash("secret"), httpapi.Read, "", 401, "the token is not known"},
		{"Bearer ", httpapi.Read, "", 401, "the token is not known"},
		{"Basic c2VjcmV0", httpapi.Read, "", 401, "must be of the form: Bearer TOKEN"},
		{"", httpapi.Read, "", 401, "needs a token"},
	} {
		client, answer, err := admit(t, g, c.authorization, c.needed)
		status, text := 0, ""
		if err != nil {
			p := httpapi.Classify(err)
			status, text = p.Plain, p.Text
		}
		if client != c.client || status != c.status || !strings.Contains(text, c.says) || (status == 401) != (answer.Header().Get("WWW-Authenticate") != "") {
			t.Errorf("%q %s: client %q, status %d, %q, %v", c.authorization, c.needed, client, status, text, answer.Header())
		}
		if strings.Contains(text, "secret") || strings.Contains(text, hash("secret")) {
			t.Errorf("the answer contains a token: %s", text)
		}
	}
}

func TestAnonymous(t *testing.T) {
	g := guard(t, "anonymous: [read]\nclients: [{name: a, token_sha256: "+hash("a")+", rights: [write]}]")
	if client, _, err := admit(t, g, "", httpapi.Read); client != "" || err != nil {
		t.Errorf("%q, %v", client, err)
	}
	if _, _, err := admit(t, g, "", httpapi.Write); err == nil {
		t.Error("anyone may write")
	}
	// A wrong token is not anonymous: its owner learns of the mistake.
	if _, _, err := admit(t, g, "Bearer b", httpapi.Read); err == nil {
		t.Error("a wrong token may read")
	}
	if _, _, err := admit(t, guard(t, ""), "", httpapi.Read); err == nil {
		t.Error("an empty file lets anyone read")
	}
}

func TestFileErrors(t *testing.T) {
	good := "token_sha256: " + hash("a")
	for text, says := range map[string]string{
		"clients: [{name: a, token_sha256: 12, rights: [read]}]":                                           `client 1 ("a"): token_sha256 must be a SHA-256`,
		"clients: [{name: a, " + good + "}]":                                                               "rights must name at least one of",
		"clients: [{" + good + ", rights: [read]}]":                                                        "name must be given",
		"clients: [{name: a b, " + good + ", rights: [read]}]":                                             "without spaces",
		"clients: [{name: a, " + good + ", rights: [raed]}]":                                               `there is no right "raed"; the rights are read, write and delete`,
		"clients: [{name: a, " + good + ", rights: [read], expires: 1.2.2027}]":                            "expires must be a day",
		"clients: [{name: a, rights: [read]}]":                                                             "give either token_sha256 or certificate",
		"clients: [{name: a, certificate: b, " + good + ", rights: [read]}]":                               "give either token_sha256 or certificate",
		"clients: [{name: a, " + good + ", rights: [read]}, {name: a, certificate: b, rights: [read]}]":    "another client has this name",
		"clients: [{name: a, " + good + ", rights: [read]}, {name: b, " + good + ", rights: [read]}]":      "another client has this token",
		"clients: [{name: a, certificate: c, rights: [read]}, {name: b, certificate: c, rights: [write]}]": "another client has this certificate",
		"anonymous: [all]": `anonymous: there is no right "all"`,
		"clients:\n  - name: a\n    token: my-own-secret\n": `line 3: unknown key "token"`,
		"clients:\n  - name: [my-own-secret]\n":             "line 2: wrong type of value",
		"clients: [{name: *my-own-secret }]":                `unknown anchor "…" referenced`,
		"clients: [{name: a, rights: !!int my-own-secret}]": `cannot decode !!str "…" as a !!int`,
		"clients: my-own-secret":                            "line 1: wrong type of value",
		"clients: [":                                        "line 1: did not find expected node content",
		"clients: []\n---\nanonymous: [read]":               "more than one YAML document",
	} {
		path := accessFile(t, text)
		_, err := access.NewGuard(path)
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want %s", text, err, says)
		}
		if err != nil && strings.Contains(err.Error(), "my-own-secret") {
			t.Errorf("the error contains a value: %v", err)
		}
	}
	if _, err := access.NewGuard("/nonexistent/access.yml"); err == nil || !strings.Contains(err.Error(), "/nonexistent/access.yml") {
		t.Error(err)
	}
}

func TestReload(t *testing.T) {
	path := accessFile(t, "clients: [{name: a, token_sha256: "+hash("old")+", rights: [read]}]")
	g, err := access.NewGuard(path)
	expect.NoError(t, err)
	expect.NoError(t, os.WriteFile(path, []byte("clients: ["), 0o600))
	if err := g.Reload(); err == nil {
		t.Error("a broken file was loaded")
	}
	if _, _, err := admit(t, g, "Bearer old", httpapi.Read); err != nil {
		t.Errorf("after a broken file: %v", err)
	}
	expect.NoError(t, os.WriteFile(path, []byte("clients: [{name: a, token_sha256: "+hash("new")+", rights: [read]}]"), 0o600))
	expect.NoError(t, g.Reload())
	if _, _, err := admit(t, g, "Bearer old", httpapi.Read); err == nil {
		t.Error("a token that was removed still counts")
	}
	if _, _, err := admit(t, g, "Bearer new", httpapi.Read); err != nil {
		t.Error(err)
	}
}
