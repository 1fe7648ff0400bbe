// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// signals catches SIGINT and SIGTERM until stop is called, and gives them the
// meaning of the package comment.
func signals(parent context.Context, log *slog.Logger) (ctx context.Context, finish <-chan struct{}, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	finishing, quit, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	received := make(chan os.Signal, 2)
	signal.Notify(received, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				return
			case s := <-received:
				if s == syscall.SIGINT && !closed(finishing) {
					log.Info("SIGINT: finishing the work in hand; once more to give it up")
					close(finishing)
					continue
				}
				log.Info("giving up the work in hand", "signal", s.String())
				cancel()
			}
		}
	}()
	return ctx, finishing, func() {
		signal.Stop(received)
		close(quit)
		<-done
		cancel()
	}
}
