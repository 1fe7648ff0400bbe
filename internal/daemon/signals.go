// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// signals catches SIGINT and SIGTERM until stop is called: SIGINT ends
// finishing, SIGTERM or a further signal ends ctx and with it finishing.
func signals(parent context.Context, log *slog.Logger) (ctx, finishing context.Context, stop func()) {
	ctx, abort := context.WithCancel(parent)
	finishing, finish := context.WithCancel(ctx)
	received := make(chan os.Signal, 2)
	quit, done := make(chan struct{}), make(chan struct{})
	signal.Notify(received, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				return
			case s := <-received:
				if s == syscall.SIGINT && finishing.Err() == nil {
					log.Info("SIGINT: finishing the work in hand; once more to give it up")
					finish()
					continue
				}
				log.Info("giving up the work in hand", "signal", s.String())
				abort()
			}
		}
	}()
	return ctx, finishing, func() {
		signal.Stop(received)
		close(quit)
		<-done
		abort()
	}
}
