// SPDX-License-Identifier: GPL-3.0-or-later

package writer

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"winery/test/expect"
)

// TestCheckConfigOfStartingServer: a client that asks a server that cannot be used yet finds
// none, instead of one that refuses it for good.
func TestCheckConfigOfStartingServer(t *testing.T) {
	server := httptest.NewServer(&front{drain: &drain{}, ready: make(chan struct{})})
	defer server.Close()
	if answer, err := http.Post(server.URL+"/check_config", "application/json", nil); err == nil { //nolint:noctx // the client of a test
		t.Errorf("answered with %s", answer.Status)
	}
	answer, err := http.Get(server.URL + "/objects") //nolint:noctx // the client of a test
	expect.NoError(t, err)
	if answer.Body.Close(); answer.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("another request: %s", answer.Status)
	}
}

// TestDrain: a server that ends accepts connections for as long as a client has one that it
// may use again, waits for all that it has accepted, and no answer leaves a connection open.
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

	drained, refuses := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(drained)
		f.drain.wait(time.Hour, func() { close(refuses) })
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
	slow, err := net.Dial("tcp", server.Listener.Addr().String())
	expect.NoError(t, err)
	defer slow.Close()
	expect.Eventually(t, "a connection to be accepted", func() bool { return f.drain.newer.Load() > 0 })
	if !get(kept) {
		t.Error("the answer leaves a connection open")
	}
	<-refuses
	select {
	case <-drained:
		t.Error("the server does not wait for a connection that it has accepted")
	case <-time.After(50 * time.Millisecond):
	}
	_, err = io.WriteString(slow, "GET / HTTP/1.1\r\nHost: winery\r\n\r\n")
	expect.NoError(t, err)
	if text, err := io.ReadAll(slow); err != nil || !strings.Contains(string(text), "served") {
		t.Errorf("answered %q, %v", text, err)
	}
	<-drained
}
