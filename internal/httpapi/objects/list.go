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
	after, limit, err := parseList(r.URL.Query())
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
	w.Header().Set("Trailer", "Link")
	var lines []byte
	for {
		lines = lines[:0]
		for _, after = range ids {
			lines = append(hex.AppendEncode(lines, after[:]), '\n')
		}
		if _, err := w.Write(lines); err != nil { //nolint:gosec // G705: hex digits, as text/plain
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

func parseList(query url.Values) (after [32]byte, limit int, err error) {
	for name := range query {
		if name != "after" && name != "limit" {
			return after, 0, httpapi.Refuse(http.StatusBadRequest, "a list takes after and limit, not %q", name)
		}
	}
	if text := query.Get("after"); text != "" {
		if after, err = parseID(text); err != nil {
			return after, 0, err
		}
	}
	limit = defaultLimit
	if text := query.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxLimit {
			return after, 0, httpapi.Refuse(http.StatusBadRequest, "limit is %q: send a number from 1 to %d", text, maxLimit)
		}
	}
	return after, limit, nil
}
