// SPDX-License-Identifier: GPL-3.0-or-later

package writer_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"winery/internal/writer"
	"winery/sharedbase"
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
	var page string
	expect.Eventually(t, "a page", func() bool { // 503 where reading takes longer than 5 s
		page = curl(t, "--include", "http://"+s.address+"/status")
		return !strings.HasPrefix(page, "HTTP/1.1 503 ")
	})
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
		var got string
		expect.Eventually(t, "an answer", func() bool { got = curl(t, args...); return got != "503" })
		if got != want {
			t.Errorf("token %q: status %s, want %s", token, got, want)
		}
	}
}

// behindRelay returns the options of a writer that only reads, with a new database behind
// a relay, and the database's DSN there.
func behindRelay(t *testing.T) (r *relay.Relay, dsn string, o writer.Options) {
	t.Helper()
	r, dsn, err := relay.Database(pgtest.New(t))
	expect.NoError(t, err)
	t.Cleanup(r.Close)
	o = configured(t, dsn, t.TempDir())
	t.Cleanup(o.Base.Close)
	_, err = o.Base.Init(t.Context())
	expect.NoError(t, err)
	o.Config.ReadOnly = true
	return r, dsn, o
}

// TestStatusPageOfFrozenDatabase: while the database does not answer, the page says so.
func TestStatusPageOfFrozenDatabase(t *testing.T) {
	r, _, o := behindRelay(t)
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

// TestStatusPageHidesDatabase: the page says what kind of error there is, and not where the
// database is.
func TestStatusPageHidesDatabase(t *testing.T) {
	r, dsn, o := behindRelay(t)
	const secret = "failed to connect to `user=winery database=winery`: 10.1.2.3:5432"
	for i, status := range []string{
		"failed: " + secret, "waiting for the database since 19:43 CET: " + secret, "waiting for the database since 2026-11-26 19:43 -03: " + secret,
		"failing since 19:43 CET, retry in 1m0s: " + secret, "adds on 127.0.0.1:5003 fail since 19:43 CET: " + secret,
		"tables: waiting for packed shards; objects: failing since 19:43, retry in 2s: " + secret, // of an older version
	} {
		base, err := sharedbase.New(dsn, "test", sharedbase.WithHolder(fmt.Sprint("role", i), "1"))
		expect.NoError(t, err)
		expect.NoError(t, base.Attach(t.Context()))
		expect.NoError(t, base.Heartbeat(t.Context(), status, true))
		base.Close()
	}
	s := start(t, o)
	defer s.end()
	hides := func(page string, wanted ...string) {
		t.Helper()
		for _, want := range wanted {
			if !strings.Contains(page, want) {
				t.Errorf("no %q in\n%s", want, page)
			}
		}
		for _, hidden := range []string{"user=", "10.1.2.3", r.Address()} {
			if strings.Contains(page, hidden) {
				t.Errorf("%q in\n%s", hidden, page)
			}
		}
	}
	address := "http://" + s.address + "/status"
	hides(curl(t, address), "objects: failing since 19:43, retry in 2s", "waiting for the database since 2026-11-26 19:43 -03", "adds on 127.0.0.1:5003 fail since 19:43 CET")
	r.Cut()
	expect.Eventually(t, "a page without the database", func() bool { return strings.Contains(curl(t, address), "U001") })
	hides(curl(t, address), "the database is unavailable", "start PostgreSQL")
}
