// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// surviveClosedPipes makes a write to a pipe without a reader fail like a write
// to any other file. By default Go ends a process whose standard output or error
// is such a pipe.
func surviveClosedPipes() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
}

// signals catches SIGINT, SIGTERM and SIGHUP until stop is called, and does
// what the package comment says: SIGINT ends finishing, SIGTERM or a second
// SIGINT ends ctx and with it finishing, and one more ends the process, once flush has
// returned. Neither a log that blocks nor a reload that hangs delays what a signal does.
func signals(parent context.Context, log *slog.Logger, flush func(), hangup *reloads) (ctx, finishing context.Context, stop func()) {
	ctx, abort := context.WithCancel(parent)
	finishing, finish := context.WithCancel(ctx)
	received := make(chan os.Signal, 2)
	quit, done := make(chan struct{}), make(chan struct{})
	signal.Notify(received, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	reload, aside := hangup.begin(log), newAside()
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				return
			case s := <-received:
				switch {
				case s == syscall.SIGHUP:
					select {
					case reload <- struct{}{}:
					default: // one that waits does for both
					}
				case ctx.Err() != nil:
					exitAfter(func() {
						log.Error("exiting at once; a shard stays locked until its lease expires", "signal", s.String())
						flush()
					}, func() { exitBy(s) })
				case s == syscall.SIGINT && finishing.Err() == nil:
					finish()
					aside.do(func() {
						log.Info("finishing the current step; send SIGINT again to abort it", "signal", s.String())
					})
				default:
					abort()
					aside.do(func() {
						log.Info("aborting the current step; send the signal again to exit at once", "signal", s.String())
					})
				}
			}
		}
	}()
	return ctx, finishing, func() {
		signal.Stop(received)
		close(quit)
		<-done
		abort()
		close(reload)
		aside.end()
	}
}

// commandLimit is how long a command may take to end after the first signal.
const commandLimit = 30 * time.Second

// UntilSignal returns the context of a command, which SIGINT and SIGTERM end.
// Even if a call hangs then, the process exits at once on a second signal, and
// commandLimit after the first signal; messages about this go to log, which may
// block.
func UntilSignal(log io.Writer) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	received := make(chan os.Signal, 2)
	signal.Notify(received, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		var first os.Signal
		select {
		case first = <-received:
			cancel()
		case <-ctx.Done():
			return
		}
		go func() { _, _ = fmt.Fprintf(log, "%v: stopping; send the signal again to exit at once\n", first) }()
		select {
		case s := <-received:
			exitBy(s)
		case <-time.After(commandLimit):
			exitAfter(func() { _, _ = fmt.Fprintf(log, "not stopped after %v: exiting\n", commandLimit) }, func() { exitBy(first) })
		}
	}()
	return ctx, cancel
}

// exitBy ends the process with the exit status of the signal.
func exitBy(s os.Signal) {
	number, _ := s.(syscall.Signal)
	os.Exit(statusSignal + int(number))
}
