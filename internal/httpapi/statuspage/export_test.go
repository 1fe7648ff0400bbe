// SPDX-License-Identifier: GPL-3.0-or-later

package statuspage

import (
	"log/slog"
	"net/http"

	"winery/internal/httpapi"
	"winery/internal/status"
)

// Of serves the page of what read returns.
func Of(read func() status.Report) http.Handler {
	return httpapi.Handler(&page{read: read}, httpapi.Options{Limits: httpapi.LimitsFor(1<<20, 1<<40), Log: slog.New(slog.DiscardHandler)})
}

// Kept is for how long a page is given to all clients.
const Kept = kept
