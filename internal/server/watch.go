// SPDX-License-Identifier: GPL-3.0-or-later

package server

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"
)

// watch asks the server for an answer now and then, until ctx ends.
func watch(ctx context.Context, address net.Addr, o Options) {
	client := http.Client{
		Timeout: 10 * time.Second,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, address.Network(), address.String())
			},
		},
	}
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		if err := ask(ctx, &client); err == nil {
			o.Alive()
		} else if ctx.Err() == nil {
			o.Log.Warn("no answer to a request of its own", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
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
