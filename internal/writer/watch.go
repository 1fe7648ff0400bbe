// SPDX-License-Identifier: GPL-3.0-or-later

package writer

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"winery/internal/ingest"
	"winery/internal/telemetry"
)

// patience is how long a step of a lane may take. All that it asks of the
// database is limited to less together.
const patience = 4 * time.Minute

// watch asks the server for an answer now and then, until ctx ends. w is nil
// where it only reads.
func watch(ctx context.Context, address net.Addr, p Protection, self *selfCheck, o Options, log *slog.Logger, w *ingest.Writer) {
	client := http.Client{
		Timeout: 10 * time.Second,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				conn, err := self.dial(ctx, address)
				if err != nil {
					return nil, err
				}
				return p.wrapOwn(conn), nil
			},
		},
	}
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		err := ask(ctx, &client)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			log.Warn("self-check failed", "err", err)
		case w != nil && w.Busy() > patience:
			log.Warn("writes stalled", "duration", w.Busy())
		default:
			o.Alive()
		}
		if o.Serving != nil {
			o.Serving(address.String(), addsFailure(w))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// addsFailure is why objects cannot be added, nil if they can, or if w is nil.
func addsFailure(w *ingest.Writer) error {
	if w == nil {
		return nil
	}
	if busy := w.Busy(); busy > patience {
		return telemetry.Reason(fmt.Sprintf("no commit has ended for %v", busy.Round(time.Second)))
	}
	return w.Failure()
}

func ask(ctx context.Context, client *http.Client) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/", nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", answer.Status)
	}
	return nil
}
