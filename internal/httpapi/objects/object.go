// SPDX-License-Identifier: GPL-3.0-or-later

package objects

import (
	"crypto/sha256"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strconv"

	"winery/internal/httpapi"
	"winery/internal/httpapi/rpc"
)

const octets = "application/octet-stream"

func etagOf(id [32]byte) string { return fmt.Sprintf(`"%x"`, id) }

// describe sets what is said of every object. A cache that clients share does not keep
// what a client could read by its token or certificate only.
func describe(w http.ResponseWriter, r *http.Request, etag string) {
	scope := "public"
	if httpapi.OriginOf(r.Context()).Client != "" {
		scope = "private"
	}
	w.Header().Set("Etag", etag)
	w.Header().Set("Cache-Control", scope+", max-age=31536000, immutable")
	w.Header().Set("Accept-Ranges", "bytes")
}

// get answers GET and HEAD.
func (h *handler) get(w http.ResponseWriter, r *http.Request, id [32]byte) error {
	etag, asked := etagOf(id), conditionsOf(r.Header)
	ranges := rangeOf(r, etag)
	if asked.ifMatch.given || asked.ifNoneMatch.given || ranges != "" {
		switch there, err := h.store.Contains(r.Context(), id); {
		case err != nil:
			return err
		case !there:
			return httpapi.ErrNotFound
		case asked.matchFails(etag, true):
			return errPrecondition
		case asked.noneMatchFails(etag, true):
			describe(w, r, etag)
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
	}
	if r.Method == http.MethodHead {
		size, err := h.store.Size(r.Context(), id)
		if err != nil {
			return err
		}
		h.writeWholeHeader(w, r, etag, size)
		return nil
	}
	if ranges != "" {
		return h.getParts(w, r, id, ranges)
	}
	charge := h.Limits.Answers.NewCharge()
	defer charge.Release()
	content, err := h.store.Get(r.Context(), id, func(bytes int64) error { return charge.Reach(r.Context(), bytes) })
	if err != nil {
		return err
	}
	h.writeWholeHeader(w, r, etag, int64(len(content)))
	h.write(w, r, content)
	return nil
}

// writeWholeHeader begins the answer of a whole object.
func (h *handler) writeWholeHeader(w http.ResponseWriter, r *http.Request, etag string, size int64) {
	describe(w, r, etag)
	w.Header().Set("Content-Type", octets)
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	w.WriteHeader(http.StatusOK)
}

func (h *handler) write(w http.ResponseWriter, r *http.Request, content []byte) {
	h.Metrics.Out(h.Endpoint(r), len(content))
	_, _ = w.Write(content) // httpapi's handler records the outcome
}

// getParts answers a GET with a Range.
func (h *handler) getParts(w http.ResponseWriter, r *http.Request, id [32]byte, ranges string) error {
	content, release, err := h.verified.get(r.Context(), id)
	if err != nil {
		return err
	}
	defer release()
	size, etag := int64(len(content)), etagOf(id)
	parts, err := parseRange(ranges, size)
	if err != nil {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", size))
		return httpapi.Refuse(http.StatusRequestedRangeNotSatisfiable, "the object has %d bytes, and none in the ranges %q", size, ranges)
	}
	switch len(parts) {
	case 0:
		h.writeWholeHeader(w, r, etag, size)
		h.write(w, r, content)
	case 1:
		p := parts[0]
		describe(w, r, etag)
		w.Header().Set("Content-Type", octets)
		w.Header().Set("Content-Range", p.contentRange(size))
		w.Header().Set("Content-Length", strconv.FormatInt(p.length, 10))
		w.WriteHeader(http.StatusPartialContent)
		h.write(w, r, p.of(content))
	default:
		h.multipart(w, r, etag, content, parts)
	}
	return nil
}

func (s span) contentRange(size int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", s.from, s.from+s.length-1, size)
}

func (s span) of(content []byte) []byte { return content[s.from : s.from+s.length] }

// multipart answers several parts. Their total is no more than the object's size.
func (h *handler) multipart(w http.ResponseWriter, r *http.Request, etag string, content []byte, parts []span) {
	describe(w, r, etag)
	body := multipart.NewWriter(w)
	w.Header().Set("Content-Type", "multipart/byteranges; boundary="+body.Boundary())
	w.WriteHeader(http.StatusPartialContent)
	for _, p := range parts {
		part, err := body.CreatePart(textproto.MIMEHeader{
			"Content-Type": {octets}, "Content-Range": {p.contentRange(int64(len(content)))},
		})
		if err != nil {
			return
		}
		h.Metrics.Out(h.Endpoint(r), int(p.length))
		if _, err := part.Write(p.of(content)); err != nil {
			return
		}
	}
	_ = body.Close()
}

var errPrecondition = httpapi.Refuse(http.StatusPreconditionFailed, "the condition in the request's header does not hold")

func (h *handler) put(w http.ResponseWriter, r *http.Request, id [32]byte) error {
	etag, asked := etagOf(id), conditionsOf(r.Header)
	if asked.ifMatch.given || asked.ifNoneMatch.given {
		there, err := h.store.Contains(r.Context(), id)
		if err != nil {
			return err
		}
		if asked.matchFails(etag, there) || asked.noneMatchFails(etag, there) {
			return errPrecondition
		}
	}
	content, charge, err := httpapi.ReadBody(r, h.Limits, h.MaxObjectSize, 1)
	if err != nil {
		return err
	}
	defer charge.Release()
	h.Metrics.In(h.Endpoint(r), len(content))
	if sum := sha256.Sum256(content); sum != id {
		return httpapi.Refuse(http.StatusUnprocessableEntity, "the content has sha256 %x, the address says %x", sum, id)
	}
	added, _, err := h.store.Add(r.Context(), []rpc.Object{{ID: id, Content: content}})
	if err != nil {
		return err
	}
	if added == 0 && asked.noneMatchFails(etag, true) { // another client was faster
		return errPrecondition
	}
	w.Header().Set("Etag", etag)
	if added == 0 {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	address := fmt.Sprintf("%s/%x", root, id)
	w.Header().Set("Location", address)
	httpapi.Text(w, http.StatusCreated, address)
	return nil
}
