// SPDX-License-Identifier: GPL-3.0-or-later

package writer

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"winery/test/expect"
)

// TestDrain: a server that ends accepts connections for as long as a client has one that it
// may use again, and no answer leaves a connection open.
func TestDrain(t *testing.T) {
	f := &front{drain: &drain{}, ready: make(chan struct{})}
	f.serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "served") }))
	server := httptest.NewUnstartedServer(f)
	server.Config.ConnState = func(net.Conn, http.ConnState) {}
	f.drain.count(server.Config)
	server.Start()
	defer server.Close()
	// get asks by a client's connection, and tells whether the answer closes it.
	get := func(c *http.Client) (closes bool) {
		t.Helper()
		answer, err := c.Get(server.URL) //nolint:noctx // the client of a test
		expect.NoError(t, err)
		defer answer.Body.Close()
		if text, err := io.ReadAll(answer.Body); err != nil || string(text) != "served" {
			t.Errorf("answered %q, %v", text, err)
		}
		return answer.Close
	}
	kept := &http.Client{Transport: &http.Transport{}}
	if get(kept) {
		t.Error("the server that does not end closes a connection")
	}

	drained := make(chan struct{})
	go func() {
		defer close(drained)
		f.drain.wait(time.Hour)
	}()
	expect.Eventually(t, "the server to end", func() bool {
		other := &http.Client{Transport: &http.Transport{}}
		defer other.CloseIdleConnections()
		return get(other)
	})
	select {
	case <-drained:
		t.Error("the server does not wait for a connection that its client may use again")
	default:
	}
	if !get(kept) {
		t.Error("the answer leaves a connection open")
	}
	<-drained
}
