// SPDX-License-Identifier: GPL-3.0-or-later

package writer_test

import (
	"log/slog"
	"regexp"
	"strings"
	"sync"
)

// lockedBuffer is a log.
type lockedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// line is the first line that contains part.
func (l *lockedBuffer) line(part string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		if strings.Contains(line, part) {
			return line
		}
	}
	return ""
}

var requestID = regexp.MustCompile(`request id ([0-9a-z]+)`)

func requestIDIn(text string) string {
	if found := requestID.FindStringSubmatch(text); found != nil {
		return found[1]
	}
	return ""
}
