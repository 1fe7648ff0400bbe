// SPDX-License-Identifier: GPL-3.0-or-later

package writer_test

import (
	"strings"
	"testing"
	"time"

	"winery/test/expect"
	"winery/test/harness/relay"
	"winery/test/pgtest"
)

// TestStatusPage: the page tells of this server's database and pool. Python's clients get the
// same answer as before at /.
func TestStatusPage(t *testing.T) {
	o := options(t)
	s := start(t, o)
	defer s.end()
	page := curl(t, "--include", "http://"+s.address+"/status")
	for _, want := range []string{"HTTP/1.1 200 OK\r\n", "Refresh: 15\r\n", `<html lang="en">`, " W008</h3>", `<th scope="row">shards <span class="detail">directory</span></th>`} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in\n%s", want, page)
		}
	}
	if index := curl(t, "http://"+s.address+"/"); index != "SWH Objstorage API server: winery winery\n" {
		t.Errorf("/ has %q", index)
	}
}

// TestStatusPageNeedsTheRightToRead: where there is an access file, only clients that may read
// see the page.
func TestStatusPageNeedsTheRightToRead(t *testing.T) {
	p := startProtected(t)
	for token, want := range map[string]string{"": "401", "cleaner's token": "403", "loader's token": "200"} {
		args := []string{"--cacert", p.ca.Path, "--output", "/dev/null", "--write-out", "%{http_code}", "https://" + p.address + "/status"}
		if token != "" {
			args = append(args, "--header", "Authorization: Bearer "+token)
		}
		if got := curl(t, args...); got != want {
			t.Errorf("token %q: status %s, want %s", token, got, want)
		}
	}
}

// TestStatusPageOfFrozenDatabase: while the database does not answer, the page says so.
func TestStatusPageOfFrozenDatabase(t *testing.T) {
	r, dsn, err := relay.Database(pgtest.New(t))
	expect.NoError(t, err)
	defer r.Close()
	o := configured(t, dsn, t.TempDir())
	defer o.Base.Close()
	_, err = o.Base.Init(t.Context())
	expect.NoError(t, err)
	o.Config.ReadOnly = true
	s := start(t, o)
	defer s.end()
	defer r.Resume()
	r.Hold()
	began := time.Now()
	page := curl(t, "--include", "http://"+s.address+"/status")
	if !strings.Contains(page, "HTTP/1.1 503 ") || !strings.Contains(page, "the database has not answered within 5s") || !strings.Contains(page, "start PostgreSQL") {
		t.Errorf("after %v:\n%s", time.Since(began), page)
	}
	if index := curl(t, "http://"+s.address+"/"); !strings.HasPrefix(index, "SWH Objstorage API server") {
		t.Errorf("/ has %q", index)
	}
}
