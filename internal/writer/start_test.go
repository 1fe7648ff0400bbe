// SPDX-License-Identifier: GPL-3.0-or-later

package writer_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"net"
	"net/http"
	"testing"
	"time"

	"winery/internal/config"
	"winery/internal/httpapi/rpc/client"
	"winery/internal/writer"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/harness/relay"
	"winery/test/pgtest"
)

// A port that is taken ends the writer before anything is opened.
func TestListensFirst(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	server := writer.Settings{Winery: config.Winery{Listen: taken.Addr().String()}, Version: "1.2.3", Log: quiet}
	err = writer.Run(t.Context(), server, func(context.Context) (writer.Options, error) {
		t.Error("opened the database")
		return writer.Options{}, nil
	})
	if err == nil {
		t.Error("no error")
	}
}

// Requests are answered with 503 while the database is being opened, and a
// failure to open it ends the writer.
func TestAnswersWhileItOpens(t *testing.T) {
	address := "unix:" + t.TempDir() + "/socket"
	opening, fails := make(chan struct{}), errors.New("schema version 4")
	ended := make(chan error, 1)
	go func() {
		server := writer.Settings{Winery: config.Winery{Listen: address}, Version: "1.2.3", Log: quiet}
		ended <- writer.Run(t.Context(), server, func(ctx context.Context) (writer.Options, error) {
			select {
			case <-opening:
			case <-ctx.Done():
			}
			return writer.Options{}, fails
		})
	}()
	c := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", address[len("unix:"):])
		},
	}}
	expect.Eventually(t, "an answer", func() bool {
		answer, err := c.Get("http://winery/objects") //nolint:noctx // the client of a test
		if err != nil {
			return false
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
			t.Errorf("answered %s", answer.Status)
		}
		if server := answer.Header.Get("Server"); server != "winery/1.2.3" {
			t.Errorf("Server: %q", server)
		}
		return true
	})
	close(opening)
	if err := <-ended; !errors.Is(err, fails) {
		t.Errorf("Run: %v", err)
	}
}

// Objects are read where no shard can be claimed.
func TestReadsWithoutAClaim(t *testing.T) {
	o := options(t)
	content := []byte("a fig")
	id := sha256.Sum256(content)
	claim, err := o.Base.LockWritingShard(t.Context(), "shards")
	if err == nil {
		_, err = o.Base.Add(t.Context(), claim, []sharedbase.Object{{ID: id, Content: content}})
	}
	if err = errors.Join(err, claim.Release(t.Context())); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, o.Config.Database.DSN, "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$")
	readOnly, err := sharedbase.New(o.Config.Database.DSN, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer readOnly.Close()
	o.Base = readOnly
	s := start(t, o)
	c, err := client.New("http://"+s.address, client.RetryFor(0))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := c.Get(t.Context(), id); err != nil || string(got) != string(content) {
		t.Errorf("got %q, %v", got, err)
	}
	if err := c.Add(t.Context(), sha256.Sum256(nil), nil); !errors.Is(err, client.ErrUnavailable) {
		t.Errorf("adding: %v", err)
	}
	s.end()
}

// A writer that is stopped while the database is unavailable ends within the
// limits that the package documents, although an add is in flight.
func TestStopsWithoutTheDatabase(t *testing.T) {
	for what, breaks := range map[string]func(*relay.Relay){
		"refused": (*relay.Relay).Cut,
		"silent":  (*relay.Relay).Hold,
	} { // each lasts as long as the limits allow
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			o := options(t)
			r, dsn, err := relay.Database(o.Config.Database.DSN)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			base, err := sharedbase.New(dsn, "test")
			if err != nil {
				t.Fatal(err)
			}
			defer base.Close()
			o.Base = base
			s := start(t, o)
			c := connect(t, "http://"+s.address)
			content := []byte("a date")
			if err := c.Add(t.Context(), sha256.Sum256(content), content); err != nil {
				t.Fatal(err)
			}
			breaks(r)
			adding := make(chan error, 1)
			go func() { adding <- c.Add(t.Context(), sha256.Sum256(nil), nil) }()
			for r.Refused() == 0 && r.Held() == 0 {
				time.Sleep(time.Millisecond) // until a lane has the add
			}
			began := time.Now()
			s.stop()
			select {
			case err := <-s.ended:
				if err != nil && what == "refused" {
					t.Errorf("Run: %v", err)
				}
			case <-time.After(2 * time.Minute):
				t.Fatal("does not end")
			}
			t.Logf("ended after %v", time.Since(began))
			if took := time.Since(began); took > 55*time.Second {
				t.Errorf("ended after %v", took)
			}
			if err := <-adding; err == nil {
				t.Error("an add was acknowledged without the database")
			}
		})
	}
}
