// SPDX-License-Identifier: GPL-3.0-or-later

package objects

import (
	"context"
	"encoding/hex"
	"log/slog"
	"net/http"
	"strings"

	"winery/internal/httpapi"
	"winery/internal/httpapi/rpc"
	"winery/internal/metrics"
)

// Store is what the handler serves. All methods are called concurrently, and
// fail with the errors of package httpapi.
type Store interface {
	// Contains reports whether the object is there.
	Contains(ctx context.Context, id [32]byte) (bool, error)
	// Size is the size of the object's content, which is not read.
	Size(ctx context.Context, id [32]byte) (int64, error)
	// Get is the object's content. The handler does not change it.
	Get(ctx context.Context, id [32]byte, admit rpc.Admit) ([]byte, error)
	// Add stores the objects that are not there yet, counts them and their
	// bytes, and returns once they are durable.
	Add(ctx context.Context, objects []rpc.Object) (added int, bytes int64, err error)
	// List has up to limit ids in ascending order, beginning after the given one.
	List(ctx context.Context, after [32]byte, limit int) ([][32]byte, error)
}

// Options are a handler's settings. All but Metrics and Access must be set.
type Options struct {
	ReadOnly      bool  // refuse to store
	MaxObjectSize int64 // bytes of the largest object that is accepted
	Limits        *httpapi.Limits
	Metrics       *metrics.Client
	Access        httpapi.Access // as httpapi.Options has it
	Log           *slog.Logger   // as rpc.Options has it
}

type handler struct {
	Options
	store    Store
	verified *verified
}

// NewHandler serves store at /objects and below.
func NewHandler(store Store, o Options) http.Handler {
	h := &handler{o, store, newVerified(o.Limits.Answers, store)}
	return httpapi.Handler(h, httpapi.Options{Limits: o.Limits, Log: o.Log, Metrics: o.Metrics, Access: o.Access})
}

const root = "/objects"

func (h *handler) Endpoint(r *http.Request) string {
	switch {
	case r.URL.Path == root:
		return "objects_list"
	case r.Method == http.MethodPut:
		return "objects_put"
	}
	return "objects_get"
}

// Needs returns the right for the method.
func (h *handler) Needs(r *http.Request) httpapi.Right {
	switch r.Method {
	case http.MethodPut:
		return httpapi.Write
	case http.MethodDelete:
		return httpapi.Delete
	}
	return httpapi.Read
}

func (h *handler) Serve(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	if r.URL.Path == root {
		if !reads {
			return disallow(w, r, "GET, HEAD")
		}
		return h.list(w, r)
	}
	name, ok := strings.CutPrefix(r.URL.Path, root+"/")
	if !ok || strings.Contains(name, "/") {
		return httpapi.Refuse(http.StatusNotFound, "there is nothing at %s; objects are at %s/SHA256", r.URL.Path, root)
	}
	id, err := parseID(name)
	switch {
	case err != nil:
		return err
	case reads:
		return h.get(w, r, id)
	case h.ReadOnly:
		return disallow(w, r, "GET, HEAD")
	case r.Method == http.MethodPut:
		return h.put(w, r, id)
	}
	return disallow(w, r, "GET, HEAD, PUT")
}

func disallow(w http.ResponseWriter, r *http.Request, allowed string) error {
	w.Header().Set("Allow", allowed)
	return httpapi.Refuse(http.StatusMethodNotAllowed, "%s takes %s here, not %s", r.URL.Path, allowed, r.Method)
}

func parseID(text string) (id [32]byte, err error) {
	if n, err := hex.Decode(id[:], []byte(text)[:min(len(text), 64)]); err != nil || n != len(id) || len(text) != 64 {
		return id, httpapi.Refuse(http.StatusBadRequest, "%q is not a SHA-256: send 64 hex digits", text)
	}
	return id, nil
}

func (h *handler) Fail(w http.ResponseWriter, _ *http.Request, err error) (kind string) {
	p := httpapi.Describe(w, err)
	w.Header().Set("Cache-Control", "no-store")
	httpapi.Text(w, p.Plain, p.Text)
	return p.Type
}
