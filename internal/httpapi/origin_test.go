// SPDX-License-Identifier: GPL-3.0-or-later

package httpapi_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"winery/internal/httpapi"
	"winery/test/logtest"
)

// onlyLoader admits requests with a header Client.
type onlyLoader struct{}

func (onlyLoader) Admit(_ http.ResponseWriter, r *http.Request, _ httpapi.Right) (string, error) {
	if name := r.Header.Get("Client"); name != "" {
		return name, nil
	}
	return "", httpapi.Refuse(http.StatusUnauthorized, "who are you?")
}

// TestOrigin: the API and the log learn who sent a request, and where the request
// belongs.
func TestOrigin(t *testing.T) {
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	for header, want := range map[string]string{
		"00-" + trace + "-00f067aa0ba902b7-01":                   trace,
		"cc-" + trace + "-00f067aa0ba902b7-01-later":             trace,
		"00-" + strings.ToUpper(trace) + "-00f067aa0ba902b7-01":  "",
		"00-" + strings.Repeat("0", 32) + "-00f067aa0ba902b7-01": "",
		"00-" + trace + "-00f067aa0ba902b7-01x":                  "",
		"00-" + trace:                                            "",
		"":                                                       "",
	} {
		var log logtest.Log
		var got httpapi.Origin
		var serve api = func(w http.ResponseWriter, r *http.Request) error {
			got = httpapi.OriginOf(r.Context())
			w.WriteHeader(http.StatusNoContent)
			return nil
		}
		h := httpapi.Handler(serve, httpapi.Options{
			Limits: httpapi.DefaultLimits(), Log: log.Logger(slog.LevelDebug), Access: onlyLoader{},
		})
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.Header.Set("Traceparent", header)
		r.Header.Set("Client", "loader")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got.Client != "loader" || got.Address != r.RemoteAddr || got.RequestID != w.Header().Get(httpapi.RequestID) || got.TraceID != want {
			t.Errorf("%q: %+v", header, got)
		}
		if line := log.String(); !strings.Contains(line, " client=loader") || strings.Contains(line, "trace=") != (want != "") {
			t.Errorf("%q: logged %s", header, line)
		}
	}
}

// TestRefused: a client without the right does not reach the API.
func TestRefused(t *testing.T) {
	var serve api = func(http.ResponseWriter, *http.Request) error {
		t.Error("the API was called")
		return nil
	}
	h := httpapi.Handler(serve, httpapi.Options{
		Limits: httpapi.DefaultLimits(), Log: slog.New(slog.DiscardHandler), Access: onlyLoader{},
	})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPut, "/", nil))
	if !strings.Contains(w.Body.String(), "who are you?") {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
}
