// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import "time"

// lastWords is how long a process that ends at once may take to log the reason. The
// log may block: standard error may be a pipe whose reader hangs. It is longer than
// sentry's flush takes.
const lastWords = 5 * time.Second

// aside logs for a goroutine that must never wait for the log: its functions are
// called one after the other, in another goroutine. While the log blocks, a few of
// them wait, and further ones are dropped.
type aside struct {
	queue chan func()
	ended chan struct{}
}

func newAside() *aside {
	a := &aside{make(chan func(), 8), make(chan struct{})}
	go func() {
		defer close(a.ended)
		for f := range a.queue {
			f()
		}
	}()
	return a
}

// do must not be called after end.
func (a *aside) do(f func()) {
	select {
	case a.queue <- f:
	default:
	}
}

// end waits until the functions have returned.
func (a *aside) end() {
	close(a.queue)
	<-a.ended
}

// exitAfter calls exit once say has returned, and after lastWords at the latest.
func exitAfter(say, exit func()) {
	time.AfterFunc(lastWords, exit)
	say()
	exit()
}
