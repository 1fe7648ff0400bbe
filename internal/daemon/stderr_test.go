// SPDX-License-Identifier: GPL-3.0-or-later

package daemon_test

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"
)

// lineBuffer collects what a process writes and lets a test wait for a part.
type lineBuffer struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	added chan struct{} // holds a token when something came
}

func (b *lineBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buf.Write(p)
	select {
	case b.added <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (b *lineBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// wait returns once part was written.
func (b *lineBuffer) wait(t *testing.T, part string) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for !strings.Contains(b.String(), part) {
		select {
		case <-b.added:
		case <-deadline:
			t.Fatalf("no %q in\n%s", part, b.String())
		}
	}
}
