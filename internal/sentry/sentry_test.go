// SPDX-License-Identifier: GPL-3.0-or-later

package sentry_test

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"winery/internal/sentry"
	"winery/test/expect"
)

// TestEvents: an error is sent with its attributes, once a minute for each message;
// warnings are not sent.
func TestEvents(t *testing.T) {
	received := make(chan map[string]any, 10)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		for line := range strings.Lines(string(body)) { // an envelope: headers, then the event
			var event map[string]any
			if json.Unmarshal([]byte(line), &event) == nil && event["message"] != nil {
				received <- event
			}
		}
	}))
	defer server.Close()
	t.Setenv("SENTRY_DSN", strings.Replace(server.URL, "http://", "http://key@", 1)+"/1")
	t.Setenv("SWH_SENTRY_ENVIRONMENT", "staging")
	h, flush, err := sentry.NewHandler("winery-packer", "1.2.3")
	expect.NoError(t, err)
	log := slog.New(h).With("role", "packer")
	log.Warn("slow")
	for range 3 {
		log.Error("cannot pack", "shard", "i3f", "err", errors.New("disk full"))
	}
	log.Error("cannot erase")
	flush()
	close(received)
	messages := map[any]int{}
	for event := range received {
		messages[event["message"]]++
		if event["message"] != "cannot pack" {
			continue
		}
		text, err := json.Marshal(event)
		expect.NoError(t, err)
		for _, want := range []string{`"shard":"i3f"`, `"role":"packer"`, `"err":"disk full"`, `"program":"winery-packer"`, `"release":"winery@1.2.3"`, `"level":"error"`, `"environment":"staging"`} {
			if !strings.Contains(string(text), want) {
				t.Errorf("no %s in %s", want, text)
			}
		}
	}
	if len(messages) != 2 || messages["cannot pack"] != 1 || messages["cannot erase"] != 1 {
		t.Errorf("events %v", messages)
	}
}

// TestDSN: none is no error; a wrong one is, which does not repeat its key.
func TestDSN(t *testing.T) {
	t.Setenv("SENTRY_DSN", "")
	t.Setenv("SWH_SENTRY_DSN", "")
	if h, _, err := sentry.NewHandler("x", "1"); h != nil || err != nil {
		t.Errorf("without a DSN: %v, %v", h, err)
	}
	t.Setenv("SWH_SENTRY_DSN", "secret@nonsense")
	if _, _, err := sentry.NewHandler("x", "1"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("with a wrong one: %v", err)
	}
}
