// SPDX-License-Identifier: GPL-3.0-or-later

package httpapi_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"winery/internal/httpapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// api serves by a function.
type api func(w http.ResponseWriter, r *http.Request) error

func (a api) Endpoint(*http.Request) string                      { return "" }
func (a api) Serve(w http.ResponseWriter, r *http.Request) error { return a(w, r) }

func (a api) Fail(w http.ResponseWriter, _ *http.Request, err error) string {
	httpapi.Text(w, http.StatusTeapot, err.Error())
	return "Error"
}

// TestCutOff holds that an answer that fails after it has begun does not look whole, and that the log has why.
func TestCutOff(t *testing.T) {
	for name, serve := range map[string]api{
		"error": func(w http.ResponseWriter, _ *http.Request) error {
			_, _ = io.WriteString(w, "begun")
			return errors.New("the reason")
		},
		"panic": func(w http.ResponseWriter, _ *http.Request) error {
			_, _ = io.WriteString(w, "begun")
			panic("the reason")
		},
	} {
		var log bytes.Buffer
		server := httptest.NewServer(httpapi.Handler(serve, slog.New(slog.NewTextHandler(&log, nil)), nil))
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := server.Client().Do(request)
		if err == nil {
			_, err = io.ReadAll(response.Body)
			_ = response.Body.Close()
		}
		if err == nil {
			t.Errorf("%s: a whole answer", name)
		}
		server.Close()
		if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), "the reason") {
			t.Errorf("%s: the log is %s", name, log.String())
		}
	}
}

// limited notes the deadlines that are set, as a connection would.
type limited struct {
	http.ResponseWriter
	deadlines []time.Time
}

func (l *limited) SetWriteDeadline(at time.Time) error {
	l.deadlines = append(l.deadlines, at)
	return nil
}

// TestPatience holds that a client has a time for each piece, by its size, and that it does not count for the next request.
func TestPatience(t *testing.T) {
	w := &limited{ResponseWriter: httptest.NewRecorder()}
	start := time.Now()
	httpapi.Handler(api(func(w http.ResponseWriter, _ *http.Request) error {
		_, _ = w.Write([]byte("a"))
		_, _ = w.Write(make([]byte, 60<<20))
		return nil
	}), slog.New(slog.DiscardHandler), nil).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	if len(w.deadlines) != 3 || !w.deadlines[2].IsZero() {
		t.Fatalf("deadlines %v", w.deadlines)
	}
	for i, want := range []time.Duration{30 * time.Second, 90 * time.Second} {
		if got := w.deadlines[i].Sub(start); got < want || got > want+10*time.Second {
			t.Errorf("piece %d has %v, want %v", i, got, want)
		}
	}
}
