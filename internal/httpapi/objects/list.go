// SPDX-License-Identifier: GPL-3.0-or-later

package objects

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"winery/internal/httpapi"
)

const (
	defaultLimit = 1000
	maxLimit     = 1_000_000
	// page is how many ids are in memory at once.
	page = 4096
)

func (h *handler) list(w http.ResponseWriter, r *http.Request) error {
	if !r.ProtoAtLeast(1, 1) { // its end is the end of the connection, which is also that of a list that fails
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "HTTP/1.1")
		return httpapi.Refuse(http.StatusUpgradeRequired, "a list needs HTTP/1.1: in nginx, set proxy_http_version 1.1")
	}
	after, limit, err := parseList(r.URL.RawQuery)
	if err != nil {
		return err
	}
	left := limit
	ids, err := h.store.List(r.Context(), after, min(left, page))
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	w.Header().Set("Trailer", "Link")
	var lines []byte
	for {
		lines = lines[:0]
		for _, after = range ids {
			lines = append(hex.AppendEncode(lines, after[:]), '\n')
		}
		if _, err := w.Write(lines); err != nil {
			return err
		}
		left -= len(ids)
		if left == 0 || len(ids) < page {
			break
		}
		if ids, err = h.store.List(r.Context(), after, min(left, page)); err != nil {
			return err
		}
	}
	if left == 0 {
		w.Header().Set("Link", fmt.Sprintf(`<%s?after=%x&limit=%d>; rel="next"`, root, after, limit))
	}
	return nil
}

// parseList reads the query of a list. What it does not understand is refused:
// an after that is passed over would have a client begin at the first id again
// and again.
func parseList(query string) (after [32]byte, limit int, err error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return after, 0, httpapi.Refuse(http.StatusBadRequest, "the query %q cannot be read: %v", query, err)
	}
	for name, all := range values {
		if name != "after" && name != "limit" {
			return after, 0, httpapi.Refuse(http.StatusBadRequest, "a list takes after and limit, not %q", name)
		}
		if len(all) > 1 {
			return after, 0, httpapi.Refuse(http.StatusBadRequest, "%s is given %d times: send it once", name, len(all))
		}
	}
	// An empty after is that of a loop's first turn.
	if text := values.Get("after"); text != "" {
		if after, err = parseID(text); err != nil {
			return after, 0, err
		}
	}
	limit = defaultLimit
	if values.Has("limit") {
		text := values.Get("limit")
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil || n < 1 || n > maxLimit {
			return after, 0, httpapi.Refuse(http.StatusBadRequest, "limit is %q: send a number from 1 to %d", text, maxLimit)
		}
		limit = int(n)
	}
	return after, limit, nil
}
