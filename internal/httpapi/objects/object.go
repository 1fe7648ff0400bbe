// SPDX-License-Identifier: GPL-3.0-or-later

package objects

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
	"time"

	"winery/internal/httpapi"
	"winery/internal/httpapi/rpc"
)

// describe sets what is said of every object.
func describe(header http.Header, etag string) {
	header.Set("Etag", etag)
	header.Set("Cache-Control", "public, max-age=31536000, immutable")
}

func (h *handler) get(w http.ResponseWriter, r *http.Request, id [32]byte) error {
	etag := fmt.Sprintf(`"%x"`, id)
	if has := r.Header.Get("If-None-Match"); has == "*" || strings.Contains(has, etag) {
		switch there, err := h.store.Contains(r.Context(), id); {
		case err != nil:
			return err
		case !there:
			return notFound(id)
		}
		describe(w.Header(), etag)
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	content, err := h.store.Get(r.Context(), id)
	if err != nil {
		return fmt.Errorf("object %x: %w", id, err)
	}
	if r.Method == http.MethodGet {
		h.Metrics.Out(h.Endpoint(r), len(content))
	}
	describe(w.Header(), etag)
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	return nil
}

func notFound(id [32]byte) error { return fmt.Errorf("object %x: %w", id, rpc.ErrNotFound) }

func (h *handler) put(w http.ResponseWriter, r *http.Request, id [32]byte) error {
	content, release, err := h.Bodies.Read(w, r, h.MaxObjectSize, r.ContentLength)
	if err != nil {
		return err
	}
	defer release()
	h.Metrics.In(h.Endpoint(r), len(content))
	if sum := sha256.Sum256(content); sum != id {
		return httpapi.Refuse(http.StatusUnprocessableEntity, "the content has sha256 %x, the address says %x", sum, id)
	}
	added, _, err := h.store.Add(r.Context(), []rpc.Object{{ID: id, Content: content}}, true)
	if err != nil {
		return err
	}
	w.Header().Set("Etag", fmt.Sprintf(`"%x"`, id))
	if added == 0 {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	address := fmt.Sprintf("%s/%x", root, id)
	w.Header().Set("Location", address)
	httpapi.Text(w, http.StatusCreated, address)
	return nil
}
