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

func (a api) Endpoint(*http.Request) string { return "" }
func (a api) Needs(r *http.Request) httpapi.Right {
	if r.Method == http.MethodPut {
		return httpapi.Write
	}
	return httpapi.Read
}

func (a api) Serve(w http.ResponseWriter, r *http.Request) error { return a(w, r) }

func (a api) Fail(w http.ResponseWriter, _ *http.Request, err error) string {
	httpapi.Text(w, http.StatusTeapot, err.Error())
	return "Error"
}

// options have the default limits.
func options(log *slog.Logger) httpapi.Options {
	return httpapi.Options{Limits: httpapi.DefaultLimits(), Log: log}
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
		server := httptest.NewServer(httpapi.Handler(serve, options(slog.New(slog.NewTextHandler(&log, nil)))))
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

// TestAnswerDeadlines holds that a client has a time for each piece of an
// answer, and that all of it has a time by its size.
func TestAnswerDeadlines(t *testing.T) {
	w := &limited{ResponseWriter: httptest.NewRecorder()}
	o := options(slog.New(slog.DiscardHandler))
	o.Limits.AnswerStall, o.Limits.Patience, o.Limits.MinRate = time.Hour, time.Minute, 1<<20
	start := time.Now()
	httpapi.Handler(api(func(w http.ResponseWriter, _ *http.Request) error {
		_, _ = w.Write([]byte("a"))
		_, _ = w.Write(make([]byte, 60<<20))
		return nil
	}), o).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	last := len(w.deadlines) - 2 // before the one for what net/http does afterwards
	for i, want := range map[int]time.Duration{0: time.Minute, last: 2 * time.Minute} {
		if got := w.deadlines[i].Sub(start); got < want-time.Second || got > want+10*time.Second {
			t.Errorf("deadline %d of %d is in %v, want %v", i, len(w.deadlines), got, want)
		}
	}
}
