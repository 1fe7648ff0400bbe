// SPDX-License-Identifier: GPL-3.0-or-later

package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"go/scanner"
	"go/token"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"winery/internal/httpapi"
	"winery/internal/httpapi/rpc/wire"
	"winery/internal/metrics"
)

// TestProblems has each kind of error and what both APIs make of it.
func TestProblems(t *testing.T) {
	secret := errors.New("connect to user=winery host=10.1.2.3 port=5432: SELECT content FROM shard_x in /srv/winery")
	with := func(kind error) error { return fmt.Errorf("reading: %w: %w", kind, secret) }
	for name, c := range map[string]struct {
		err        error
		kind       string
		rpc, plain int
		text       string
	}{
		"not found":   {with(httpapi.ErrNotFound), "ObjNotFoundError", 400, 404, "object not found"},
		"corrupted":   {with(httpapi.ErrCorrupted), "ObjCorruptedError", 400, 500, "the stored object is damaged; request id ID"},
		"read-only":   {with(httpapi.ErrReadOnly), "ReadOnlyObjStorageError", 400, 405, "this object storage is read-only"},
		"forbidden":   {with(httpapi.ErrForbidden), "PermissionError", 403, 403, "deleting is not allowed: set allow_delete in the server's configuration"},
		"no sha256":   {with(wire.ErrNoSHA256), "KeyError", 400, 400, wire.ErrNoSHA256.Error()},
		"unavailable": {with(httpapi.ErrUnavailable), "ObjStorageAPIError", 503, 503, "the object storage is unavailable; try again; request id ID"},
		"database":    {httpapi.Unavailable("the database is unavailable", secret), "ObjStorageAPIError", 503, 503, "the database is unavailable; try again; request id ID"},
		"timeout":     {with(context.DeadlineExceeded), "ObjStorageAPIError", 503, 503, "the object storage did not answer in time; try again; request id ID"},
		"cancelled":   {with(context.Canceled), "ObjStorageAPIError", 503, 503, "the request was cancelled; try again; request id ID"},
		"internal":    {secret, "ObjStorageAPIError", 500, 500, "internal error; request id ID"},
		"request":     {fmt.Errorf("wrapped: %w", httpapi.Refuse(413, "too large")), "Error", 413, 413, "too large"},
		"of a type":   {&httpapi.RequestError{Status: 400, Type: "ObjCorruptedError", Text: "other"}, "ObjCorruptedError", 400, 400, "other"},
		// A permanent error is not taken for a passing one that caused it, nor a passing one for one that it caused.
		"damage found late":       {fmt.Errorf("%w: %w", httpapi.ErrCorrupted, context.DeadlineExceeded), "ObjCorruptedError", 400, 500, "the stored object is damaged; request id ID"},
		"refused while out of it": {fmt.Errorf("%w: %w", httpapi.ErrUnavailable, httpapi.Refuse(400, "wrong")), "Error", 400, 400, "wrong"},
	} {
		w := httptest.NewRecorder()
		w.Header().Set(httpapi.RequestID, "ID")
		got := httpapi.Describe(w, c.err)
		if got.Type != c.kind || got.RPC != c.rpc || got.Plain != c.plain || got.Text != c.text {
			t.Errorf("%s: %+v", name, got)
		}
		passing := c.rpc == http.StatusServiceUnavailable
		if (w.Header().Get("Retry-After") != "") != passing {
			t.Errorf("%s: passing is %v, Retry-After %q", name, passing, w.Header().Get("Retry-After"))
		}
	}
}

// TestResultOf: what the plain API answers with 4xx is no failure of the server,
// whatever the RPC answers.
func TestResultOf(t *testing.T) {
	for err, want := range map[error]metrics.Result{
		nil:                              metrics.Success,
		httpapi.ErrNotFound:              metrics.ClientError,
		httpapi.ErrReadOnly:              metrics.ClientError,
		httpapi.ErrForbidden:             metrics.ClientError,
		httpapi.Refuse(413, "too large"): metrics.ClientError,
		httpapi.ErrCorrupted:             metrics.ServerError, // the RPC answers 400
		httpapi.ErrUnavailable:           metrics.ServerError,
		context.DeadlineExceeded:         metrics.ServerError,
		errors.New("a bug"):              metrics.ServerError,
	} {
		if got := httpapi.ResultOf(err); got != want {
			t.Errorf("%v is a %s, want %s", err, got, want)
		}
	}
}

// TestNever429 holds that no handler can answer 429, which Python's client takes
// for final: the number is not in the source.
func TestNever429(t *testing.T) {
	files := 0
	err := filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		files++
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var s scanner.Scanner
		set := token.NewFileSet()
		s.Init(set.AddFile(path, -1, len(source)), source, nil, 0) // passes over comments
		for {
			at, kind, text := s.Scan()
			switch {
			case kind == token.EOF:
				return nil
			case text == "429", text == "StatusTooManyRequests":
				t.Errorf("%s: %s", set.Position(at), text)
			}
		}
	})
	if err != nil || files < 50 {
		t.Errorf("%d files, %v", files, err)
	}
}
